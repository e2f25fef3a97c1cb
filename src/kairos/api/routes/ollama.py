"""Endpoints for the models on the Ollama servers of providers, shared ones and those of the active project.

Ollama pulls from any host that a model's name contains, so only those who may choose an address may pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from kairos.api.components import depends_on
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
from kairos.api.routes.provider_routes import OwnerDep, ProviderRoutes
from kairos.llm.calls.server_problems import ServerProblem
from kairos.orchestration.providers.ollama.ollama_models import OllamaModels
from kairos.orchestration.providers.ollama.pulls import OllamaPulls

both = ProviderRoutes("/{provider_id}/ollama")
shared, project = both.shared, both.project


@dataclass(frozen=True, slots=True)
class OllamaServices:
    models: OllamaModels
    pulls: OllamaPulls


ServicesDep = Annotated[OllamaServices, depends_on(OllamaServices)]


@both.route("GET", "/models", 404, 409, 422)
async def list_ollama_models(services: ServicesDep, owner: OwnerDep, provider_id: UUID) -> OllamaOut:
    """The models that are installed and loaded on an Ollama server, or the problem with it, within 20 seconds."""
    try:
        return ollama_out(await services.models.list(owner, provider_id))
    except ServerProblem as problem:
        return ollama_problem_out(problem)


@both.route("DELETE", "/models/{name:path}", 404, 409, 422, status_code=204)
async def delete_ollama_model(services: ServicesDep, owner: OwnerDep, provider_id: UUID, name: OllamaModelName) -> None:
    """Delete a model from the server's disk. 409 while the catalogue has it."""
    await services.models.delete(owner, provider_id, name)


@both.route("GET", "/pulls", 404, 409, 422)
async def list_pulls(services: ServicesDep, owner: OwnerDep, provider_id: UUID) -> PullList:
    """The pulls of the last day, newest first, on whichever daemon they run."""
    return pulls_out(await services.pulls.list(owner, provider_id))


@both.route("POST", "/pulls", 404, 409, 413, 422, status_code=202)
async def start_pull(services: ServicesDep, owner: OwnerDep, provider_id: UUID, body: PullBody) -> PullOut:
    """Let the server download a model. 409 if two of its pulls are running, or one of the same model.

    The pull runs for at most 12 hours. A repeated one continues where the last one stopped.
    """
    return pull_out(await services.pulls.start(owner, provider_id, body.model, insecure=body.insecure))


@both.route("POST", "/pulls/{pull_id}/cancel", 404, 409, 422)
async def cancel_pull(services: ServicesDep, owner: OwnerDep, provider_id: UUID, pull_id: UUID) -> PullOut:
    """Ask for the end of a pull, which takes about a second. Returns it as it is now."""
    return pull_out(await services.pulls.cancel(owner, provider_id, pull_id))
