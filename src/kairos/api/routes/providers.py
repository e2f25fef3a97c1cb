"""Endpoints for operators: the providers and models that all projects share, and the master key of their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from kairos.api.access.auth import OperatorDep, Principal, PrincipalDep
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.local_server_bodies import LocalServersOut
from kairos.api.routes.provider_bodies import (
    KindList,
    ModelPatch,
    ModelsBody,
    ProviderBody,
    ProviderList,
    ProviderOut,
    ProviderPatch,
    RotationOut,
    TestBody,
    TestOut,
    kinds,
    listing_out,
    problem_out,
    provider_out,
)
from kairos.llm.calls.server_problems import ServerProblem
from kairos.llm.catalog.provider_kinds import local_by_default
from kairos.orchestration.providers.local_servers import LocalServers
from kairos.orchestration.providers.master_key_rotation import MasterKeyRotation
from kairos.orchestration.providers.provider_input import clean_address
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore
from kairos.orchestration.providers.provider_test import ProviderTest
from kairos.text import Text

routes = APIRouter(prefix="/api/providers", tags=["providers"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ProviderServices:
    providers: ProviderStore
    test: ProviderTest
    local_servers: LocalServers
    master_keys: MasterKeyRotation


ServicesDep = Annotated[ProviderServices, depends_on(ProviderServices)]


@routes.get("/kinds", responses=responses(401, 503))
async def list_kinds(who: PrincipalDep) -> KindList:
    """The kinds of providers, with their usual addresses."""
    del who
    return kinds()


@routes.get("/local", responses=responses(401, 403, 503))
async def list_local_servers(services: ServicesDep, who: OperatorDep) -> LocalServersOut:
    """Model servers on the usual ports of this machine and of the container's host. Takes at most 4 seconds."""
    return LocalServersOut.model_validate(await services.local_servers.search(_owner(who)), from_attributes=True)


@routes.post("/rotate-master-key", responses=responses(401, 403, 409, 503))
async def rotate_master_key(services: ServicesDep, who: OperatorDep) -> RotationOut:
    """Encrypt all stored keys with the newest master key. Kairos makes a new one if it keeps the master keys itself."""
    return RotationOut.model_validate(await services.master_keys.rotate(who.user_id), from_attributes=True)


@routes.get("", responses=responses(401, 403, 503))
async def list_providers(services: ServicesDep, who: OperatorDep) -> ProviderList:
    """The shared providers with their models, by name."""
    return ProviderList(items=[provider_out(found) for found in await services.providers.list(_owner(who))])


@routes.post("", status_code=201, responses=responses(401, 403, 409, 413, 422, 503))
async def create_provider(services: ServicesDep, who: OperatorDep, body: ProviderBody) -> ProviderOut:
    """Add a provider. Every daemon knows it within two seconds. It is not called: see `test`."""
    return provider_out(await services.providers.create(_owner(who), body.draft(body.name, body.local)))


@routes.post("/test", responses=responses(401, 403, 413, 422, 503))
async def test_server(services: ServicesDep, who: OperatorDep, body: TestBody) -> TestOut:
    """Try an address and a key without storing them, and list the models there. Takes at most 20 seconds."""
    try:
        models = await services.test.of_draft(_owner(who), body.draft())
    except ServerProblem as problem:
        return problem_out(problem)
    local = local_by_default(body.kind, clean_address(body.kind, body.address))
    return listing_out(models, body.kind, local, body.search)


@routes.get("/{provider_id}", responses=responses(401, 403, 404, 422, 503))
async def show_provider(services: ServicesDep, who: OperatorDep, provider_id: UUID) -> ProviderOut:
    """A provider with its models."""
    return provider_out(await services.providers.get(_owner(who), provider_id))


@routes.patch("/{provider_id}", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_provider(
    services: ServicesDep, who: OperatorDep, provider_id: UUID, body: ProviderPatch
) -> ProviderOut:
    """Change a provider. 409 with the current version if someone else has changed it meanwhile.

    Two seconds after a change of the key, no daemon begins a call with the old one.
    """
    return provider_out(await services.providers.change(_owner(who), provider_id, body.version, body.given()))


@routes.delete("/{provider_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def delete_provider(services: ServicesDep, who: OperatorDep, provider_id: UUID) -> None:
    """Remove a provider with its models. Running calls continue; two seconds later no daemon begins another one."""
    await services.providers.remove(_owner(who), provider_id)


@routes.get("/{provider_id}/models", responses=responses(401, 403, 404, 422, 503))
async def list_upstream_models(
    services: ServicesDep, who: OperatorDep, provider_id: UUID, search: Text | None = None
) -> TestOut:
    """The models that the provider's server lists now, or the problem with it."""
    try:
        found, models = await services.test.of_stored(_owner(who), provider_id)
    except ServerProblem as problem:
        return problem_out(problem)
    return listing_out(models, found.row.kind, found.row.local, search, found)


@routes.post("/{provider_id}/models", status_code=201, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def add_models(services: ServicesDep, who: OperatorDep, provider_id: UUID, body: ModelsBody) -> ProviderOut:
    """Add models of a provider to the catalogue, all or none."""
    drafts = [model.draft() for model in body.models]
    return provider_out(await services.providers.add_models(_owner(who), provider_id, drafts))


@routes.patch("/{provider_id}/models/{model_id}", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_model(
    services: ServicesDep, who: OperatorDep, provider_id: UUID, model_id: UUID, body: ModelPatch
) -> ProviderOut:
    """Change a model's limits, capabilities, price or state. Its names stay."""
    return provider_out(await services.providers.change_model(_owner(who), provider_id, model_id, body.given()))


@routes.delete("/{provider_id}/models/{model_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_model(services: ServicesDep, who: OperatorDep, provider_id: UUID, model_id: UUID) -> None:
    """Remove a model from the catalogue."""
    await services.providers.remove_model(_owner(who), provider_id, model_id)


def _owner(who: Principal) -> ProviderOwner:
    return ProviderOwner(who.user_id)
