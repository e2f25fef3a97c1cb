"""Endpoints for the owners of a project: its own providers, with its own keys. Only this project uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.provider_bodies import (
    ModelPatch,
    ModelsBody,
    ProviderBody,
    ProviderList,
    ProviderOut,
    ProviderPatch,
    TestBody,
    TestOut,
    listing_out,
    problem_out,
    provider_out,
)
from kairos.llm.calls.server_problems import ServerProblem
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore
from kairos.orchestration.providers.provider_test import ProviderTest
from kairos.text import Text

routes = APIRouter(prefix="/api/project/providers", tags=["providers"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ProjectProviderServices:
    providers: ProviderStore
    test: ProviderTest


ServicesDep = Annotated[ProjectProviderServices, depends_on(ProjectProviderServices)]
OwnerDep = Annotated[Member, Depends(needs(Permission.PROVIDERS_MANAGE))]


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_project_providers(services: ServicesDep, who: OwnerDep) -> ProviderList:
    """The project's own providers with their models, by name."""
    return ProviderList(items=[provider_out(found) for found in await services.providers.list(_owner(who))])


@routes.post("", status_code=201, responses=responses(401, 403, 409, 413, 422, 503))
async def create_project_provider(services: ServicesDep, who: OwnerDep, body: ProviderBody) -> ProviderOut:
    """Add a provider. Every daemon knows it within two seconds. It is not called: see `test`."""
    return provider_out(await services.providers.create(_owner(who), body.draft(body.name, body.local)))


@routes.post("/test", responses=responses(401, 403, 409, 413, 422, 503))
async def test_project_server(services: ServicesDep, who: OwnerDep, body: TestBody) -> TestOut:
    """Try an address and a key without storing them, and list the models there. Takes at most 20 seconds."""
    try:
        models = await services.test.of_draft(_owner(who), body.draft())
    except ServerProblem as problem:
        return problem_out(problem)
    return listing_out(models, body.kind, False, body.search)


@routes.get("/{provider_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def show_project_provider(services: ServicesDep, who: OwnerDep, provider_id: UUID) -> ProviderOut:
    """A provider with its models."""
    return provider_out(await services.providers.get(_owner(who), provider_id))


@routes.patch("/{provider_id}", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_project_provider(
    services: ServicesDep, who: OwnerDep, provider_id: UUID, body: ProviderPatch
) -> ProviderOut:
    """Change a provider. 409 with the current version if someone else has changed it meanwhile.

    Two seconds after a change of the key, no daemon begins a call with the old one.
    """
    return provider_out(await services.providers.change(_owner(who), provider_id, body.version, body.given()))


@routes.delete("/{provider_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def delete_project_provider(services: ServicesDep, who: OwnerDep, provider_id: UUID) -> None:
    """Remove a provider with its models. Running calls continue; two seconds later no daemon begins another one."""
    await services.providers.remove(_owner(who), provider_id)


@routes.get("/{provider_id}/models", responses=responses(401, 403, 404, 409, 422, 503))
async def list_project_upstream_models(
    services: ServicesDep, who: OwnerDep, provider_id: UUID, search: Text | None = None
) -> TestOut:
    """The models that the provider's server lists now, or the problem with it."""
    try:
        found, models = await services.test.of_stored(_owner(who), provider_id)
    except ServerProblem as problem:
        return problem_out(problem)
    return listing_out(models, found.row.kind, found.row.local, search, found)


@routes.post("/{provider_id}/models", status_code=201, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def add_project_models(services: ServicesDep, who: OwnerDep, provider_id: UUID, body: ModelsBody) -> ProviderOut:
    """Add models of a provider to the catalogue, all or none."""
    drafts = [model.draft() for model in body.models]
    return provider_out(await services.providers.add_models(_owner(who), provider_id, drafts))


@routes.patch("/{provider_id}/models/{model_id}", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_project_model(
    services: ServicesDep, who: OwnerDep, provider_id: UUID, model_id: UUID, body: ModelPatch
) -> ProviderOut:
    """Change a model's limits, capabilities, price or state. Its names stay."""
    return provider_out(await services.providers.change_model(_owner(who), provider_id, model_id, body.given()))


@routes.delete("/{provider_id}/models/{model_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_project_model(services: ServicesDep, who: OwnerDep, provider_id: UUID, model_id: UUID) -> None:
    """Remove a model from the catalogue."""
    await services.providers.remove_model(_owner(who), provider_id, model_id)


def _owner(who: Member) -> ProviderOwner:
    return ProviderOwner(who.user_id, who.project_id)
