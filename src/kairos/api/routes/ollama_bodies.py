"""Requests and responses of the endpoints that manage the models of Ollama servers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from kairos.api.access.auth import Body
from kairos.api.routes.provider_bodies import ServerProblemOut
from kairos.fine_tuning.adapters.ollama_calls import full_name
from kairos.llm.calls.ollama_traits import OllamaTraits
from kairos.llm.calls.server_problems import ServerProblem
from kairos.llm.catalog.stored_models import catalog_name
from kairos.orchestration.providers.ollama.installed_models import InstalledModel, LoadedModel
from kairos.orchestration.providers.ollama.model_name import LONGEST
from kairos.orchestration.providers.ollama.ollama_models import OllamaListing
from kairos.orchestration.providers.ollama.pull_board import PullRecord, PullState
from kairos.orchestration.providers.ollama.pull_stream import PullPhase
from kairos.text import Text

OllamaModelName = Annotated[Text, Field(min_length=1, max_length=LONGEST)]


class PullBody(Body):
    model: OllamaModelName = Field(
        description="As in `ollama pull`: `model`, `model:tag`, or `registry.example.com/namespace/model:tag`."
    )
    insecure: bool = Field(False, description="Accept a registry without TLS.")


class InstalledOut(BaseModel):
    """A model on the server's disk. null is unknown."""

    name: str
    size: int | None = Field(description="Bytes on disk. Models may share files.")
    parameters: str | None = Field(description="Such as 3.2B.")
    quantization: str | None = Field(description="Such as Q4_K_M.")
    family: str | None
    modified_at: datetime | None
    context: int | None = Field(description="Tokens that it was trained for.")
    capabilities: list[str] | None = Field(description="In Ollama's terms, such as completion, tools, vision.")
    cloud: bool = Field(description="Whether Ollama forwards its requests to another host.")
    added: list[str] = Field(description="The names under which this provider has it in the catalogue.")


class LoadedOut(BaseModel):
    """A model in the server's memory. null is unknown."""

    name: str
    memory: int | None = Field(description="Bytes, GPU memory included.")
    vram: int | None = Field(description="Bytes in GPU memory.")
    context: int | None
    until: datetime | None = Field(description="When it is unloaded if nobody uses it; null if it stays.")


class NotInstalledOut(BaseModel):
    """A model of the catalogue that the server does not have: calls to it fail."""

    id: UUID
    name: str
    upstream: str


class OllamaOut(BaseModel):
    """The models of an Ollama server, or the problem with it."""

    ok: bool
    problem: ServerProblemOut | None
    installed: list[InstalledOut]
    loaded: list[LoadedOut]
    not_installed: list[NotInstalledOut]


class PullProblemOut(BaseModel):
    cause: str
    remedy: str


class PullOut(BaseModel):
    id: UUID
    model: str
    state: PullState
    phase: PullPhase
    completed: int | None = Field(description="Bytes of the files reported so far that are present; null is unknown.")
    total: int | None = Field(description="Bytes of the files reported so far; null is unknown.")
    problem: PullProblemOut | None
    started_at: datetime
    ended_at: datetime | None


class PullList(BaseModel):
    items: list[PullOut]


def ollama_out(listing: OllamaListing) -> OllamaOut:
    owner = getattr(listing.provider.row, "project_id", None)
    installed = {full_name(model.name) for model in listing.installed}
    added: dict[str, list[str]] = {}
    for row in listing.provider.models:
        added.setdefault(full_name(row.upstream), []).append(catalog_name(owner, row.name))
    return OllamaOut(
        ok=True,
        problem=None,
        installed=[
            _installed_out(model, listing.traits[model.name], added.get(full_name(model.name), []))
            for model in listing.installed
        ],
        loaded=[_loaded_out(model) for model in listing.loaded],
        not_installed=[
            NotInstalledOut(id=row.id, name=catalog_name(owner, row.name), upstream=row.upstream)
            for row in listing.provider.models
            if full_name(row.upstream) not in installed
        ],
    )


def ollama_problem_out(error: ServerProblem) -> OllamaOut:
    problem = ServerProblemOut(kind=error.kind, cause=error.cause, remedy=error.remedy)
    return OllamaOut(ok=False, problem=problem, installed=[], loaded=[], not_installed=[])


def pull_out(record: PullRecord) -> PullOut:
    problem = record.problem
    return PullOut(
        id=record.id,
        model=record.model,
        state=record.state,
        phase=record.progress.phase,
        completed=record.progress.completed,
        total=record.progress.total,
        problem=PullProblemOut(cause=problem.cause, remedy=problem.remedy) if problem else None,
        started_at=record.started_at,
        ended_at=record.ended_at,
    )


def pulls_out(records: Sequence[PullRecord]) -> PullList:
    return PullList(items=[pull_out(record) for record in records])


def _installed_out(model: InstalledModel, traits: OllamaTraits, added: list[str]) -> InstalledOut:
    return InstalledOut(
        name=model.name,
        size=model.size,
        parameters=model.parameters,
        quantization=model.quantization,
        family=model.family,
        modified_at=model.modified_at,
        context=traits.context,
        capabilities=None if traits.capabilities is None else list(traits.capabilities),
        cloud=model.cloud,
        added=added,
    )


def _loaded_out(model: LoadedModel) -> LoadedOut:
    return LoadedOut(name=model.name, memory=model.memory, vram=model.vram, context=model.context, until=model.until)
