"""Compose the areas of a daemon: storage, models, learning, agents, orchestration and API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from kairos.api.components import ApiComponents
from kairos.api.readiness import Readiness
from kairos.assembly.agents import Agents, build_agents, stop_checks_at_end
from kairos.assembly.api import Api, build_api
from kairos.assembly.configuration import apply_changes, begin_configuration
from kairos.assembly.learning import Learning, build_learning
from kairos.assembly.llm import Llm, build_catalog, build_llm, load_stored_models, open_http
from kairos.assembly.orchestration import Orchestration, build_orchestration
from kairos.assembly.storage import DataStores, open_storage
from kairos.background_tasks import BackgroundTask
from kairos.config import Settings
from kairos.db.models import DaemonRole
from kairos.embedded import Addresses, EmbeddedEngines
from kairos.orchestration.configuration.configuration import Configuration
from kairos.plugins.plugin_loader import Scan
from kairos.proxies import DIRECT, Proxies


@dataclass(frozen=True, slots=True)
class Components:
    """Everything a daemon runs, by area."""

    settings: Settings
    configuration: Configuration
    storage: DataStores
    llm: Llm
    learning: Learning
    agents: Agents
    orchestration: Orchestration
    api: Api
    engines: EmbeddedEngines | None

    @property
    def background(self) -> tuple[BackgroundTask, ...]:
        """Tasks that run until the daemon stops."""
        return (*self.llm.background, *self.orchestration.background, *self.api.background)

    @property
    def endpoint_components(self) -> ApiComponents:
        """The components from which endpoints declare the ones they use."""
        return _api_components(self)


@asynccontextmanager
async def assemble(
    settings: Settings,
    addresses: Addresses,
    engines: EmbeddedEngines | None = None,
    role: DaemonRole = DaemonRole.ALL,
    scan: Scan | None = None,
    proxies: Proxies = DIRECT,
) -> AsyncIterator[Components]:
    """Migrate the database, build every component on the engines at these addresses, and close all of them at the end.

    Components are closed in the reverse order. `scan` is the plugin scan, if it has been started already.
    """
    async with AsyncExitStack() as stack:
        stop_checks_at_end(stack)
        storage = await open_storage(stack, settings, addresses)
        catalog = build_catalog(settings, addresses)
        stored = await load_stored_models(settings, storage, catalog)
        configuration = await begin_configuration(storage, settings, catalog, stored)
        settings = configuration.live.view
        http = await open_http(stack, proxies, settings)
        llm = await build_llm(stack, settings, storage, catalog, stored, http)
        learning = build_learning(settings, storage, llm, engines)
        agents = await build_agents(stack, settings, storage, llm, learning)
        orchestration = await build_orchestration(stack, role, configuration, storage, llm, agents, learning)
        readiness = Readiness(storage.database, storage.redis, llm.router, stored, engines)
        api = await build_api(stack, settings, storage, readiness)
        apply_changes(configuration, llm, agents, orchestration)
        await agents.plugins.reload(scan)
        yield Components(settings, configuration, storage, llm, learning, agents, orchestration, api, engines)


def _api_components(parts: Components) -> ApiComponents:
    learning, agents, orchestration, api = parts.learning, parts.agents, parts.orchestration, parts.api
    return ApiComponents(
        parts.settings,
        (
            parts.configuration,
            parts.storage.database,
            parts.llm.router,
            parts.llm.preview,
            learning.promotions,
            learning.deployments,
            learning.files,
            agents.registry,
            agents.plugins,
            agents.judge,
            agents.isolation,
            orchestration.coordinator,
            orchestration.submissions,
            orchestration.labels,
            orchestration.trainings,
            orchestration.training_advice,
            orchestration.limits,
            orchestration.config_changes,
            orchestration.exports,
            orchestration.providers,
            orchestration.provider_test,
            orchestration.local_servers,
            orchestration.ollama_models,
            orchestration.ollama_pulls,
            orchestration.master_keys,
            api.keys,
            api.accounts,
            api.events,
            api.refusals,
            api.readiness,
            api.local_secret,
        ),
    )
