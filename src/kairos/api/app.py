"""Build the HTTP application from routes, middleware and error handlers."""

from __future__ import annotations

from fastapi import FastAPI

from kairos import __version__
from kairos.api import dashboard, openapi, problems
from kairos.api.access.public_address import HostCheck, Hosts
from kairos.api.components import ApiComponents
from kairos.api.json_route import StorableAddress
from kairos.api.response_headers import ResponseHeaders
from kairos.api.routes import (
    adapters,
    agents,
    audit,
    cache,
    checks,
    config,
    daemons,
    dataset,
    events,
    health,
    joining,
    keys,
    members,
    model_history,
    model_routing,
    models,
    ollama,
    overview,
    plugins,
    projects,
    providers,
    router,
    sign_in,
    tasks,
    training,
    training_plan,
    users,
)
from kairos.config import Settings

DESCRIPTION = """Tasks, projects and models of one Kairos installation.

Every request except health and sign-in needs `Authorization: Bearer …`; the token determines the project.
Errors are problem documents (RFC 9457); their `detail` contains the problem and its remedy."""

ROUTERS = (
    sign_in.routes,
    joining.routes,
    projects.routes,
    members.routes,
    keys.routes,
    users.routes,
    audit.routes,
    overview.routes,
    tasks.routes,
    checks.routes,
    events.routes,
    dataset.routes,
    training_plan.routes,
    training.routes,
    adapters.routes,
    agents.routes,
    plugins.routes,
    providers.shared,
    providers.project,
    ollama.shared,
    ollama.project,
    models.routes,
    model_history.routes,
    model_routing.routes,
    router.routes,
    cache.routes,
    config.routes,
    daemons.routes,
    health.routes,
)
"""All routers of the API; tests iterate over them."""


def create_app(components: ApiComponents) -> FastAPI:
    app = FastAPI(
        title="Kairos",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    settings = components.get(Settings)
    components.install(app)
    for routes in ROUTERS:
        # Not `include_router`, which analyses every endpoint a second time (0.2 s of CPU at the first request) and
        # matches each request twice. No router is included with a prefix or dependencies of its own.
        app.router.routes.extend(routes.routes)
    dashboard.install(app)
    app.add_middleware(StorableAddress)
    app.add_middleware(problems.BodyLimit, limit=settings.server.body_limit_bytes)
    app.add_middleware(HostCheck, hosts=Hosts(settings.server))
    app.add_middleware(ResponseHeaders)  # the last one added is the outermost
    problems.install(app)
    openapi.install(app)
    return app
