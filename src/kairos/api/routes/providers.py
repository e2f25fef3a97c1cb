"""Endpoints for providers and their models: the shared ones, which all projects use, and those of the active project,
which bring its own keys. Operators also find local servers and rotate the master key of all secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from kairos.api.access.auth import OperatorDep, PrincipalDep
from kairos.api.components import depends_on
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
from kairos.api.routes.provider_routes import OwnerDep, ProviderRoutes
from kairos.llm.calls.server_problems import ServerProblem
from kairos.orchestration.providers.local_servers import LocalServers
from kairos.orchestration.providers.master_key_rotation import MasterKeyRotation
from kairos.orchestration.providers.provider_input import clean_address
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore
from kairos.orchestration.providers.provider_test import ProviderTest
from kairos.text import Text

both = ProviderRoutes()
shared, project = both.shared, both.project


@dataclass(frozen=True, slots=True)
class ProviderServices:
    providers: ProviderStore
    test: ProviderTest


@dataclass(frozen=True, slots=True)
class OperatorServices:
    local_servers: LocalServers
    master_keys: MasterKeyRotation


ServicesDep = Annotated[ProviderServices, depends_on(ProviderServices)]
OperatorServicesDep = Annotated[OperatorServices, depends_on(OperatorServices)]


@shared.get("/kinds", responses=responses(401, 503))
async def list_kinds(who: PrincipalDep) -> KindList:
    """The kinds of providers, with their usual addresses."""
    del who
    return kinds()


@shared.get("/local", responses=responses(401, 403, 503))
async def list_local_servers(services: OperatorServicesDep, who: OperatorDep) -> LocalServersOut:
    """Model servers on the usual ports of this machine and of the container's host. Takes at most 4 seconds."""
    found = await services.local_servers.search(ProviderOwner(who.user_id))
    return LocalServersOut.model_validate(found, from_attributes=True)


@shared.post("/rotate-master-key", responses=responses(401, 403, 409, 503))
async def rotate_master_key(services: OperatorServicesDep, who: OperatorDep) -> RotationOut:
    """Encrypt all stored keys with the newest master key. Kairos makes a new one if it keeps the master keys itself."""
    return RotationOut.model_validate(await services.master_keys.rotate(who.user_id), from_attributes=True)


@both.route("GET", "")
async def list_providers(services: ServicesDep, owner: OwnerDep) -> ProviderList:
    """{providers} with their models, by name."""
    return ProviderList(items=[provider_out(found) for found in await services.providers.list(owner)])


@both.route("POST", "", 409, 413, 422, status_code=201)
async def create_provider(services: ServicesDep, owner: OwnerDep, body: ProviderBody) -> ProviderOut:
    """Add a provider. Every daemon knows it within two seconds. It is not called: see `test`."""
    return provider_out(await services.providers.create(owner, body.draft(body.name, body.local)))


@both.route("POST", "/test", 413, 422)
async def test_server(services: ServicesDep, owner: OwnerDep, body: TestBody) -> TestOut:
    """Try an address and a key without storing them, and list the models there. Takes at most 20 seconds."""
    try:
        models = await services.test.of_draft(owner, body.draft())
    except ServerProblem as problem:
        return problem_out(problem)
    local = services.providers.is_local(owner, body.kind, clean_address(body.kind, body.address), wanted=None)
    return listing_out(models, body.kind, local, body.search)


@both.route("GET", "/{provider_id}", 404, 422)
async def show_provider(services: ServicesDep, owner: OwnerDep, provider_id: UUID) -> ProviderOut:
    """A provider with its models."""
    return provider_out(await services.providers.get(owner, provider_id))


@both.route("PATCH", "/{provider_id}", 404, 409, 413, 422)
async def change_provider(
    services: ServicesDep, owner: OwnerDep, provider_id: UUID, body: ProviderPatch
) -> ProviderOut:
    """Change a provider. 409 with the current version if someone else has changed it meanwhile.

    Two seconds after a change of the key, no daemon begins a call with the old one.
    """
    return provider_out(await services.providers.change(owner, provider_id, body.version, body.given()))


@both.route("DELETE", "/{provider_id}", 404, 409, 422, status_code=204)
async def delete_provider(services: ServicesDep, owner: OwnerDep, provider_id: UUID) -> None:
    """Remove a provider with its models. Running calls continue; two seconds later no daemon begins another one."""
    await services.providers.remove(owner, provider_id)


@both.route("GET", "/{provider_id}/models", 404, 422)
async def list_upstream_models(
    services: ServicesDep, owner: OwnerDep, provider_id: UUID, search: Text | None = None
) -> TestOut:
    """The models that the provider's server lists now, or the problem with it."""
    try:
        found, models = await services.test.of_stored(owner, provider_id)
    except ServerProblem as problem:
        return problem_out(problem)
    return listing_out(models, found.row.kind, found.row.local, search, found)


@both.route("POST", "/{provider_id}/models", 404, 409, 413, 422, status_code=201)
async def add_models(services: ServicesDep, owner: OwnerDep, provider_id: UUID, body: ModelsBody) -> ProviderOut:
    """Add models of a provider to the catalogue, all or none."""
    drafts = [model.draft() for model in body.models]
    return provider_out(await services.providers.add_models(owner, provider_id, drafts))


@both.route("PATCH", "/{provider_id}/models/{model_id}", 404, 409, 413, 422)
async def change_model(
    services: ServicesDep, owner: OwnerDep, provider_id: UUID, model_id: UUID, body: ModelPatch
) -> ProviderOut:
    """Change a model's limits, capabilities, price or state. Its names stay."""
    return provider_out(await services.providers.change_model(owner, provider_id, model_id, body.given()))


@both.route("DELETE", "/{provider_id}/models/{model_id}", 404, 409, 422, status_code=204)
async def remove_model(services: ServicesDep, owner: OwnerDep, provider_id: UUID, model_id: UUID) -> None:
    """Remove a model from the catalogue."""
    await services.providers.remove_model(owner, provider_id, model_id)
