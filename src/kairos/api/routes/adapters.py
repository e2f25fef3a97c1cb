"""Endpoints for the adapters of the active project: state, gate report, promotion and rollback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from kairos.api.access.auth import Body, Member, needs, right_of
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.live.event_feed import EventFeed
from kairos.api.live.watched_download import WatchedDownload
from kairos.api.problems import responses
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, AdapterState
from kairos.db.repositories import adapters
from kairos.db.repositories.adapters import IN_SERVICE
from kairos.errors import NotFound
from kairos.fine_tuning.adapters.adapters import AdapterFiles, AdapterMissing, StoredAdapter, safe_name
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.dataset.split import Part
from kairos.fine_tuning.gate.evaluation import GateOutcome
from kairos.fine_tuning.gate.general_ability import PromptContext
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.tenancy import ProjectId
from kairos.text import Text

routes = APIRouter(prefix="/api/adapters", tags=["learning"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class AdapterServices:
    settings: Settings
    database: Database
    events: EventFeed
    promotions: Promotions
    deployments: AdapterDeployments
    adapter_files: AdapterFiles


ServicesDep = Annotated[AdapterServices, depends_on(AdapterServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.TRAINING_READ))]
WriterDep = Annotated[Member, Depends(needs(Permission.TRAINING_WRITE))]

GGUF_FILE = "application/octet-stream"


class ServingState(StrEnum):
    """Whether an adapter can be called now on the responding daemon."""

    SERVED = "served"
    WAITING = "waiting"
    """It should be served, but cannot be at the moment."""
    NOT_SERVED = "not_served"


class ServingOut(BaseModel):
    state: ServingState
    problem: str | None


class AdapterOut(BaseModel):
    id: UUID
    name: str = Field(description="Its model name for the router.")
    base: str
    version: int
    state: AdapterState
    reason: str | None = Field(description="The reason for its state.")
    ruling: GateOutcome | None = Field(description="The outcome of the gate; null before it.")
    share: float = Field(description="Share of the requests for which it is a candidate.")
    serving: ServingOut
    bytes: int
    sha256: str = Field(description="SHA-256 of the GGUF file.")
    run_id: UUID
    created_at: datetime
    changed_at: datetime = Field(description="Time of the last change of its state.")


class AdapterList(BaseModel):
    items: list[AdapterOut]


class PairOut(BaseModel):
    id: str
    prompt: str
    wanted: str
    base: str
    candidate: str
    base_quality: float
    candidate_quality: float


class ComparisonOut(BaseModel):
    pairs: list[PairOut]
    base: float | None = Field(description="Mean quality.")
    candidate: float | None
    difference: float | None
    low: float | None = Field(description="Lower bound of the difference's 95 % interval; null with too few pairs.")
    high: float | None
    prompts: int = Field(0, description="Number of prompts compared; 0 for a report without it, which has all pairs.")


class ContextOut(BaseModel):
    context: PromptContext
    base: float
    candidate: float


class ReportOut(BaseModel):
    held_out: ComparisonOut
    control: ComparisonOut
    margin: float
    ruling: GateOutcome
    reason: str
    measured_on: str = Field(
        "", description="Set if the adapter was evaluated on another server than the one that serves it."
    )
    contexts: list[ContextOut] = Field([], description="Mean quality on control prompts by what surrounds them.")


class AdapterSampleOut(BaseModel):
    sample_id: UUID
    version: int
    part: Part
    erased: bool


class AdapterDetail(AdapterOut):
    manifest: dict[str, Any]
    report: ReportOut | None
    rows: list[AdapterSampleOut] = Field(description="All samples used for its training or evaluation.")


class RollBackBody(Body):
    base: Text = Field(min_length=1, max_length=200)


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_adapters(services: ServicesDep, member: ReaderDep) -> AdapterList:
    """All adapters except deleted ones, by base, newest first."""
    async with services.database.project(member.project_id) as session:
        rows = await adapters.page(session)
    return AdapterList(items=[AdapterOut(**_response(services, row)) for row in rows])


@routes.post("/roll-back", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def roll_back(services: ServicesDep, member: WriterDep, body: RollBackBody) -> AdapterOut:
    """Retire the canary of the base model or, without one, its live adapter; the previous adapter is served again."""
    row = await services.promotions.roll_back(member.project_id, body.base, member.user_id)
    return AdapterOut(**_response(services, row))


@routes.get("/{adapter_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def show_adapter(services: ServicesDep, member: ReaderDep, adapter_id: UUID) -> AdapterDetail:
    """One adapter with its manifest, the gate's report, and the samples used for it."""
    async with services.database.project(member.project_id) as session:
        row = await adapters.get(session, adapter_id)
        if row is None:
            raise NotFound(what="adapter", id=adapter_id)
        seen = await adapters.rows_of(session, adapter_id)
    return AdapterDetail(
        **_response(services, row),
        manifest=row.manifest,
        report=ReportOut.model_validate(row.report) if row.report else None,
        rows=[AdapterSampleOut.model_validate(one, from_attributes=True) for one in seen],
    )


@routes.get(
    "/{adapter_id}/gguf",
    response_class=FileResponse,
    responses={**responses(401, 403, 404, 409, 422, 503), 200: {"content": {GGUF_FILE: {}}}},
)
async def download(services: ServicesDep, member: WriterDep, adapter_id: UUID) -> Response:
    """Download the adapter as a GGUF file for llama.cpp and Ollama."""
    async with services.database.project(member.project_id) as session:
        row = await adapters.get(session, adapter_id)
    if row is None:
        raise NotFound(what="adapter", id=adapter_id)
    if row.state == AdapterState.DELETED:
        raise AdapterMissing(path=row.path)
    file = services.adapter_files.file(StoredAdapter(row.path, row.sha256, row.bytes))
    sent = FileResponse(file, media_type=GGUF_FILE, filename=f"{safe_name(row.base)}-v{row.version}.gguf")
    return WatchedDownload(sent, services.events, right_of(member))


@routes.post("/{adapter_id}/promote", responses=responses(401, 403, 404, 409, 422, 503))
async def promote(services: ServicesDep, member: WriterDep, adapter_id: UUID) -> AdapterOut:
    """Promote an adapter: one that needs approval becomes a canary; a canary or a retired adapter becomes live."""
    return AdapterOut(
        **_response(services, await services.promotions.promote(member.project_id, adapter_id, member.user_id))
    )


@routes.post("/{adapter_id}/refuse", responses=responses(401, 403, 404, 409, 422, 503))
async def refuse(services: ServicesDep, member: WriterDep, adapter_id: UUID) -> AdapterOut:
    """Refuse an adapter that needs approval."""
    return AdapterOut(
        **_response(services, await services.promotions.refuse(member.project_id, adapter_id, member.user_id))
    )


@routes.delete("/{adapter_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def delete(services: ServicesDep, member: WriterDep, adapter_id: UUID) -> AdapterOut:
    """Delete the adapter's files. Its metadata and its list of samples are kept."""
    return AdapterOut(
        **_response(services, await services.promotions.delete(member.project_id, adapter_id, member.user_id))
    )


def _response(services: AdapterServices, row: AdapterRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": served_name(row.base, ProjectId(row.project_id), row.version),
        "base": row.base,
        "version": row.version,
        "state": AdapterState(row.state),
        "reason": row.changed_why,
        "ruling": row.report["ruling"] if row.report else None,
        "share": _share(services, row),
        "serving": _serving(services, row),
        "bytes": row.bytes,
        "sha256": row.sha256,
        "run_id": row.run_id,
        "created_at": row.created_at,
        "changed_at": row.changed_at,
    }


def _share(services: AdapterServices, row: AdapterRow) -> float:
    if row.state == AdapterState.CANARY:
        return services.settings.fine_tuning.canary_share
    return 1.0 if row.state == AdapterState.LIVE else 0.0


def _serving(services: AdapterServices, row: AdapterRow) -> ServingOut:
    if row.state not in IN_SERVICE:
        return ServingOut(state=ServingState.NOT_SERVED, problem=None)
    problem = services.deployments.problem(row.id)
    return ServingOut(state=ServingState.WAITING if problem else ServingState.SERVED, problem=problem)
