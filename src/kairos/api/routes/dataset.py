"""Endpoints for the dataset of the active project: list, correct, import, export and erase samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, JsonValue

from kairos.api.access.auth import Body, Member, needs, right_of
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.live.event_feed import EventFeed
from kairos.api.live.watched_download import WatchedDownload
from kairos.api.problems import responses
from kairos.db.engine import Database, Session
from kairos.db.models import AuditAction, SampleRow, SampleSource, SampleState
from kairos.db.repositories.access import people
from kairos.db.repositories.dataset import dataset
from kairos.db.repositories.excerpts import EXCERPT, ITEMS
from kairos.errors import InvalidInput, NotFound
from kairos.fine_tuning.dataset.dataset import RowChanged, check_move, line_of, secrets_of
from kairos.fine_tuning.dataset.formats.records import Record, WideText, records
from kairos.orchestration.dataset.dataset_import import MAX_REFUSALS, import_records, slot
from kairos.text import Text

routes = APIRouter(prefix="/api/dataset", tags=["dataset"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class DatasetServices:
    database: Database
    events: EventFeed


ServicesDep = Annotated[DatasetServices, depends_on(DatasetServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.DATASET_READ))]
WriterDep = Annotated[Member, Depends(needs(Permission.DATASET_WRITE))]
EXPORT_PAGE = 20
MOST_SKIPPED = 100
JSON_LINES = "application/jsonl"
LINES = {"schema": {"type": "string", "minLength": 1}}


class SecretOut(BaseModel):
    kind: str
    where: str


class SampleOut(BaseModel):
    id: UUID
    version: int
    state: SampleState
    source: SampleSource
    task_id: UUID | None
    task_type: str | None
    prompt: list[dict[str, JsonValue]] = Field(description="The messages sent to the model.")
    faulty_output: str | None = Field(description="Null if the task failed without an output.")
    corrected_output: str | None
    reason: str
    model: str | None
    adapter: str | None
    seen: int = Field(description="How often this fault occurred.")
    secrets: list[SecretOut] = Field(description="Possible secrets; the row is excluded until they are cleared.")
    cleared: bool
    labelled_at: datetime | None
    created_at: datetime


class SampleAdapterOut(BaseModel):
    """An adapter that was trained or evaluated with the row."""

    id: UUID
    base: str
    version: int


class SampleDetail(SampleOut):
    adapters: list[SampleAdapterOut] = Field(description="Adapters trained or evaluated with the row, newest first.")


class SamplePage(BaseModel):
    items: list[SampleOut] = Field(
        description=f"The first {EXCERPT} characters of messages, outputs and reason, and the first {ITEMS} messages "
        "and secrets; the row's own endpoint returns all."
    )
    next: str | None


class Stats(BaseModel):
    states: dict[SampleState, int]
    task_types: dict[str, int]
    waiting_for_clearing: int = Field(description="Rows excluded because they contain possible secrets.")
    joined: int = Field(description="Faults merged into an existing row.")


class SampleBody(Body):
    version: int = Field(
        ge=1, le=2**62, description="The version you saw; the change is refused if there is a newer one."
    )
    state: SampleState | None = None
    corrected_output: Text | None = Field(None, min_length=1, max_length=500_000)
    reason: Text | None = Field(None, min_length=1, max_length=2000)


class VersionBody(Body):
    version: int = Field(ge=1, le=2**62)


class RefusedRowOut(BaseModel):
    line: int = Field(description="The line of the body at which the row begins, from 1.")
    reason: str


class ImportedOut(BaseModel):
    """The result of an import."""

    rows: int
    new: int
    updated: int = Field(description="Existing samples, identified by id or content, that were changed.")
    unchanged: int = Field(description="Existing samples with the same answer.")
    refused: int
    refusals: list[RefusedRowOut] = Field(description=f"The first {MAX_REFUSALS:,} refused samples with the reasons.")


class Erased(BaseModel):
    adapters: list[str] = Field(description="Adapters that were trained with the row: `base v1`.")


@routes.get("", responses=responses(401, 403, 409, 422, 503))
async def list_samples(
    services: ServicesDep,
    member: ReaderDep,
    state: Annotated[list[SampleState] | None, Query(description="Only these states; may be repeated.")] = None,
    task_type: Annotated[Text | None, Query(max_length=100)] = None,
    q: Annotated[
        Text | None, Query(max_length=200, description="Text in the prompt, an output or the reason, case-insensitive.")
    ] = None,
    cursor: Annotated[UUID | None, Query(description="`next` of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> SamplePage:
    """The samples, newest first."""
    async with services.database.project(member.project_id) as session:
        rows = await dataset.page(
            session, before=cursor, limit=limit + 1, states=state or (), task_type=task_type, search=q
        )
    more = len(rows) > limit
    return SamplePage(items=[_response(row) for row in rows[:limit]], next=str(rows[limit - 1].id) if more else None)


@routes.get("/stats", responses=responses(401, 403, 409, 503))
async def stats(services: ServicesDep, member: ReaderDep) -> Stats:
    """The number of samples by state and task type."""
    async with services.database.project(member.project_id) as session:
        counted = await dataset.counts(session)
    states = dict.fromkeys(SampleState, 0)
    types: dict[str, int] = {}
    for one in counted:
        states[SampleState(one.state)] += one.rows
        types[one.task_type or ""] = types.get(one.task_type or "", 0) + one.rows
    return Stats(
        states=states,
        task_types=types,
        waiting_for_clearing=sum(one.with_secrets for one in counted),
        joined=sum(int(one.seen) - one.rows for one in counted),
    )


@routes.post("/next", responses={**responses(401, 403, 409, 422, 503), 204: {"description": "No row is waiting."}})
async def next_sample(
    services: ServicesDep,
    member: WriterDep,
    skip: Annotated[
        list[UUID] | None, Query(max_length=MOST_SKIPPED, description="Skip these samples, and release them to others.")
    ] = None,
) -> SampleOut | None:
    """Claim a row that waits for review. It is reserved for you for ten minutes."""
    async with services.database.project(member.project_id) as session:
        row = await dataset.claim_next(session, member.user_id, skip or ())
    return _response(row) if row else Response(status_code=204)  # type: ignore[return-value]


@routes.post(
    "/import",
    responses=responses(401, 403, 409, 413, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": {JSON_LINES: LINES, "text/plain": LINES}}},
)
async def import_rows(
    services: ServicesDep,
    member: WriterDep,
    request: Request,
    approve: Annotated[bool, Query(description="Import as approved instead of corrected.")] = False,
) -> ImportedOut:
    """Import samples from JSON lines or a JSON array. Every answer of a prompt is a sample; existing samples are kept.

    Formats, detected by their keys: OpenAI chat (`messages`, with `rejected` and `task_type` as in exports), preference
    pairs of OpenAI and TRL, Alpaca, ShareGPT, prompt and completion. An invalid row is refused with its line and the
    reason; the others are imported. An exported one updates its original. At most 50,000 samples per request, and one
    import at a time per project.
    """
    async with slot(services.database, member.project_id, member.user_id) as taken:
        # Read the raw body: FastAPI would parse one sent as JSON.
        body = await request.body()
        report = await import_records(taken, _records(body), approve=approve)
        if not report.rows:
            raise InvalidInput(where="body", problem="it has no row", remedy="Send one JSON object per line")
        counts = {str(outcome): count for outcome, count in report.counts.items()}
        async with taken.transaction() as session:
            await _audit(session, member, AuditAction.DATASET_IMPORTED, None, {"rows": report.rows, **counts})
    refusals = [RefusedRowOut(line=one.line, reason=one.reason) for one in report.refusals]
    return ImportedOut(rows=report.rows, refusals=refusals, **counts)


def _records(body: bytes) -> Iterator[Record]:
    try:
        return records(body)
    except WideText as error:
        raise InvalidInput(where="body", problem="it is UTF-16", remedy="Save the file as UTF-8") from error


@routes.get(
    "/export",
    response_class=StreamingResponse,
    responses={**responses(401, 403, 409, 422, 503), 200: {"content": {JSON_LINES: {}}}},
)
async def export_rows(services: ServicesDep, member: ReaderDep, state: SampleState = SampleState.APPROVED) -> Response:
    """Export samples with a correct answer as JSON lines in chat format, except those with possible secrets."""
    lines = StreamingResponse(_lines(services, member, state), media_type=JSON_LINES)
    return WatchedDownload(lines, services.events, right_of(member))


@routes.get("/{sample_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def show_sample(services: ServicesDep, member: ReaderDep, sample_id: UUID) -> SampleDetail:
    """One row, with the adapters that were trained or evaluated with it."""
    async with services.database.project(member.project_id) as session:
        row = await dataset.get(session, sample_id)
        if row is None:
            raise NotFound(what="row", id=sample_id)
        adapters = await dataset.adapters_of(session, sample_id)
    seen = [SampleAdapterOut(id=adapter.id, base=adapter.base, version=adapter.version) for adapter in adapters]
    return SampleDetail(**_response(row).model_dump(), adapters=seen)


@routes.patch("/{sample_id}", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_sample(services: ServicesDep, member: WriterDep, sample_id: UUID, body: SampleBody) -> SampleOut:
    """Correct, approve, reject or hold out a row. Refused with 409 if the row has a newer version."""
    async with services.database.project(member.project_id, member.user_id) as session:
        row = await _at_version(session, sample_id, body.version)
        corrected = body.corrected_output or row.corrected_output
        state = body.state or (SampleState.CORRECTED if body.corrected_output else SampleState(row.state))
        secrets = secrets_of(row.prompt, row.faulty_output, corrected)
        cleared = row.cleared_by is not None and secrets == row.secrets
        check_move(state, corrected_output=corrected, secrets=secrets, cleared=cleared)
        values: dict[str, Any] = {
            "state": state,
            "corrected_output": corrected,
            "reason": body.reason or row.reason,
            "secrets": secrets,
            "cleared_by": row.cleared_by if cleared else None,
        }
        return await _written(session, member, row, values)


@routes.post("/{sample_id}/clear-secrets", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def clear_secrets(services: ServicesDep, member: WriterDep, sample_id: UUID, body: VersionBody) -> SampleOut:
    """Mark the possible secrets of a row as harmless, so that the row can be used."""
    async with services.database.project(member.project_id, member.user_id) as session:
        row = await _at_version(session, sample_id, body.version)
        await _audit(
            session, member, AuditAction.DATASET_CLEARED, str(sample_id), {"kinds": [s["kind"] for s in row.secrets]}
        )
        return await _written(session, member, row, {"cleared_by": member.user_id})


@routes.post("/{sample_id}/undo", responses=responses(401, 403, 404, 409, 422, 503))
async def undo(services: ServicesDep, member: WriterDep, sample_id: UUID) -> SampleOut:
    """Undo your last change of a row."""
    async with services.database.project(member.project_id, member.user_id) as session:
        row = await dataset.get(session, sample_id, locked=True)
        if row is None:
            raise NotFound(what="row", id=sample_id)
        before = dict(row.previous or {})
        before.pop("import", None)
        if before.pop("by", None) != str(member.user_id):
            raise RowChanged(found=row.version, given="none of your changes")
        written = await dataset.write(session, sample_id, row.version, {**before, "previous": None})
        assert written is not None, "it is locked"
        return _response(written)


@routes.delete("/{sample_id}", responses=responses(401, 403, 404, 409, 422, 503))
async def erase_sample(services: ServicesDep, member: WriterDep, sample_id: UUID) -> Erased:
    """Erase a row permanently; returns the adapters that were trained or evaluated with it."""
    async with services.database.project(member.project_id, member.user_id) as session:
        adapters = await dataset.erase(session, sample_id)
        if adapters is None:
            raise NotFound(what="row", id=sample_id)
        names = [f"{adapter.base} v{adapter.version}" for adapter in adapters]
        await _audit(session, member, AuditAction.DATASET_ERASED, str(sample_id), {"adapters": names})
    return Erased(adapters=names)


async def _at_version(session: Session, sample_id: UUID, version: int) -> SampleRow:
    row = await dataset.get(session, sample_id, locked=True)
    if row is None:
        raise NotFound(what="row", id=sample_id)
    if row.version != version:
        raise RowChanged(found=row.version, given=version)
    return row


async def _written(session: Session, member: Member, row: SampleRow, values: dict[str, Any]) -> SampleOut:
    kept = ("state", "corrected_output", "reason", "secrets")
    before = {name: getattr(row, name) for name in kept} | {"by": str(member.user_id)}
    changed = {**values, "previous": before, "labelled_by": member.user_id}
    written = await dataset.write(session, row.id, row.version, changed)
    assert written is not None, "it is locked"
    return _response(written)


async def _lines(services: DatasetServices, member: Member, state: SampleState) -> AsyncIterator[bytes]:
    after: UUID | None = None
    while True:
        async with services.database.project(member.project_id) as session:
            rows = await dataset.usable(session, state, after, EXPORT_PAGE)
        if not rows:
            return
        yield b"".join(map(_line, rows))
        after = rows[-1].id


def _line(row: SampleRow) -> bytes:
    origin = {"project": row.project_id, "id": row.id, "version": row.version}
    return line_of(row.prompt, row.corrected_output or "", row.faulty_output, row.task_type, origin)


async def _audit(
    session: Session, member: Member, action: AuditAction, target: str | None, data: dict[str, Any]
) -> None:
    await people.audit(session, action, user_id=member.user_id, project_id=member.project_id, target=target, data=data)


def _response(row: Any) -> SampleOut:
    """The response for a row, or for the columns of one that lists read."""
    return SampleOut(
        id=row.id,
        version=row.version,
        state=SampleState(row.state),
        source=SampleSource(row.source),
        task_id=row.task_id,
        task_type=row.task_type,
        prompt=row.prompt,
        faulty_output=row.faulty_output,
        corrected_output=row.corrected_output,
        reason=row.reason,
        model=row.model,
        adapter=row.adapter,
        seen=row.seen,
        secrets=[SecretOut(**secret) for secret in row.secrets],
        cleared=row.cleared_by is not None,
        labelled_at=row.labelled_at,
        created_at=row.created_at,
    )
