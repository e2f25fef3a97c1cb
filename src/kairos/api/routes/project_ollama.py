"""Endpoints for the owners of a project: the models on the Ollama servers of its own providers."""

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
from kairos.api.routes.ollama_bodies import (
    OllamaModelName,
    OllamaOut,
    PullBody,
    PullList,
    PullOut,
    ollama_out,
    ollama_problem_out,
    pull_out,
    pulls_out,
)
from kairos.llm.calls.server_problems import ServerProblem
from kairos.orchestration.providers.ollama.ollama_models import OllamaModels
from kairos.orchestration.providers.ollama.pulls import OllamaPulls
from kairos.orchestration.providers.provider_store import ProviderOwner

routes = APIRouter(prefix="/api/project/providers/{provider_id}/ollama", tags=["providers"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ProjectOllamaServices:
    models: OllamaModels
    pulls: OllamaPulls


ServicesDep = Annotated[ProjectOllamaServices, depends_on(ProjectOllamaServices)]
OwnerDep = Annotated[Member, Depends(needs(Permission.PROVIDERS_MANAGE))]


@routes.get("/models", responses=responses(401, 403, 404, 409, 422, 503))
async def list_project_ollama_models(services: ServicesDep, who: OwnerDep, provider_id: UUID) -> OllamaOut:
    """The models that are installed and loaded on an Ollama server, or the problem with it, within 20 seconds."""
    try:
        return ollama_out(await services.models.list(_owner(who), provider_id))
    except ServerProblem as problem:
        return ollama_problem_out(problem)


@routes.delete("/models/{name:path}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def delete_project_ollama_model(
    services: ServicesDep, who: OwnerDep, provider_id: UUID, name: OllamaModelName
) -> None:
    """Delete a model from the server's disk. 409 while the catalogue has it."""
    await services.models.delete(_owner(who), provider_id, name)


@routes.get("/pulls", responses=responses(401, 403, 404, 409, 422, 503))
async def list_project_pulls(services: ServicesDep, who: OwnerDep, provider_id: UUID) -> PullList:
    """The pulls of the last day, newest first, on whichever daemon they run."""
    return pulls_out(await services.pulls.list(_owner(who), provider_id))


@routes.post("/pulls", status_code=202, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def start_project_pull(services: ServicesDep, who: OwnerDep, provider_id: UUID, body: PullBody) -> PullOut:
    """Let the server download a model. 409 if two of its pulls are running, or one of the same model.

    The pull runs for at most 12 hours. A repeated one continues where the last one stopped.
    """
    return pull_out(await services.pulls.start(_owner(who), provider_id, body.model, insecure=body.insecure))


@routes.post("/pulls/{pull_id}/cancel", responses=responses(401, 403, 404, 409, 422, 503))
async def cancel_project_pull(services: ServicesDep, who: OwnerDep, provider_id: UUID, pull_id: UUID) -> PullOut:
    """Ask for the end of a pull, which takes about a second. Returns it as it is now."""
    return pull_out(await services.pulls.cancel(_owner(who), provider_id, pull_id))


def _owner(who: Member) -> ProviderOwner:
    return ProviderOwner(who.user_id, who.project_id)
