"""Dataset rows: deduplicated by fault, claimed by people for labelling, and exported.

Every function runs in the project's scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, cast, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import AdapterRow, AdapterSampleRow, SampleRow, SampleSource, SampleState
from kairos.db.repositories import excerpts

CLAIM = timedelta(minutes=10)
"""Time for which a row is reserved for a person."""


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Number of rows by state and task type."""

    state: str
    task_type: str | None
    rows: int
    seen: int
    """Total number of occurrences of these faults."""
    with_secrets: int
    """Rows with possible secrets, excluded until a person clears them."""


async def join(session: AsyncSession, row: SampleRow) -> UUID:
    """Add a row, or increase `seen` of the row with the same fault. Returns the id of the row.

    A fault without a correct answer is counted at an imported row with that fault, if there is one.
    """
    if row.corrected_output is None and (known := await _counted_at_import(session, row)):
        return known
    columns = SampleRow.__table__.columns
    values = {c.name: getattr(row, c.name) for c in columns if getattr(row, c.name) is not None}
    statement = insert(SampleRow).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["project_id", "fingerprint"],
        index_where=text("source <> 'import'"),
        set_={"seen": SampleRow.seen + 1},
    )
    return (await session.execute(statement.returning(SampleRow.id))).scalar_one()


async def _counted_at_import(session: AsyncSession, row: SampleRow) -> UUID | None:
    first = (
        select(SampleRow.id)
        .where(SampleRow.fingerprint == row.fingerprint, SampleRow.source == SampleSource.IMPORT)
        .order_by(SampleRow.id)
        .limit(1)
        .scalar_subquery()
    )
    counted = update(SampleRow).where(SampleRow.id == first).values(seen=SampleRow.seen + 1)
    return (await session.execute(counted.returning(SampleRow.id))).scalar_one_or_none()


LISTED = (
    SampleRow.id,
    SampleRow.version,
    SampleRow.state,
    SampleRow.source,
    SampleRow.task_id,
    SampleRow.task_type,
    excerpts.messages(SampleRow.prompt),
    excerpts.text(SampleRow.faulty_output),
    excerpts.text(SampleRow.corrected_output),
    excerpts.text(SampleRow.reason),
    SampleRow.model,
    SampleRow.adapter,
    SampleRow.seen,
    excerpts.array(SampleRow.secrets),
    SampleRow.cleared_by,
    SampleRow.labelled_at,
    SampleRow.created_at,
)
"""Columns of a row in lists; texts are cut to `excerpts.EXCERPT` characters."""


async def page(
    session: AsyncSession,
    *,
    before: UUID | None,
    limit: int,
    states: Sequence[SampleState] = (),
    task_type: str | None = None,
    search: str | None = None,
) -> Sequence[Any]:
    """Rows with `LISTED` columns, newest first."""
    statement = select(*LISTED).order_by(SampleRow.id.desc()).limit(limit)
    if before:
        statement = statement.where(SampleRow.id < before)
    if states:
        statement = statement.where(SampleRow.state.in_(states))
    if task_type:
        statement = statement.where(SampleRow.task_type == task_type)
    if search:
        columns = (SampleRow.faulty_output, SampleRow.corrected_output, SampleRow.reason)
        found = (column.icontains(search, autoescape=True) for column in columns)
        statement = statement.where(or_(*found, _in_prompt(search)))
    return (await session.execute(statement)).all()


def _in_prompt(search: str) -> ColumnElement[bool]:
    """Whether a message of the prompt contains the text. Scans the project's rows, newest first, up to the page size
    and
    the statement timeout: the embedded PostgreSQL has no pg_trgm."""
    message = func.jsonb_array_elements(SampleRow.prompt).table_valued("value", joins_implicitly=True)
    content = cast(message.c.value, JSONB)["content"].astext
    return exists(select(1).select_from(message).where(content.icontains(search, autoescape=True)))


async def get(session: AsyncSession, sample_id: UUID, *, locked: bool = False) -> SampleRow | None:
    statement = select(SampleRow).where(SampleRow.id == sample_id)
    if locked:
        statement = statement.with_for_update()
    return (await session.execute(statement)).scalar_one_or_none()


async def of_ids(session: AsyncSession, ids: Sequence[UUID]) -> list[SampleRow]:
    """Those that are still there, in the order of their ids."""
    statement = select(SampleRow).where(SampleRow.id.in_(ids)).order_by(SampleRow.id)
    return list((await session.execute(statement)).scalars())


async def counts(session: AsyncSession) -> list[SampleCounts]:
    guarded = (func.jsonb_array_length(SampleRow.secrets) > 0) & SampleRow.cleared_by.is_(None)
    statement = select(
        SampleRow.state,
        SampleRow.task_type,
        func.count(),
        func.sum(SampleRow.seen),
        func.count().filter(guarded),
    ).group_by(SampleRow.state, SampleRow.task_type)
    return [SampleCounts(*row) for row in await session.execute(statement)]


async def write(session: AsyncSession, sample_id: UUID, version: int, values: dict[str, Any]) -> SampleRow | None:
    """Change a row that is still at that version, and give it back to the queue. None where it is not."""
    statement = (
        update(SampleRow)
        .where(SampleRow.id == sample_id, SampleRow.version == version)
        .values(version=SampleRow.version + 1, claimed_until=None, labelled_at=func.now(), **values)
        .returning(SampleRow)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).scalar_one_or_none()


async def claim_next(session: AsyncSession, user_id: UUID, skip: Sequence[UUID] = ()) -> SampleRow | None:
    """Reserve the oldest unclaimed row that needs a label, or return the row that the user has already claimed.
    Claims on rows in `skip` are released, and these rows are skipped."""
    if skip:
        given_back = update(SampleRow).where(SampleRow.id.in_(skip), SampleRow.claimed_by == user_id)
        await session.execute(given_back.values(claimed_until=None))
    mine = func.coalesce((SampleRow.claimed_by == user_id) & (SampleRow.claimed_until > func.now()), False)
    free = or_(SampleRow.claimed_until.is_(None), SampleRow.claimed_until <= func.now())
    chosen = (
        select(SampleRow.project_id, SampleRow.id)
        .where(SampleRow.state.in_((SampleState.OPEN, SampleState.CORRECTED)), or_(mine, free))
        .order_by(mine.desc(), SampleRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if skip:
        chosen = chosen.where(SampleRow.id.not_in(skip))
    row = (await session.execute(chosen)).one_or_none()
    if row is None:
        return None
    statement = (
        update(SampleRow)
        .where(SampleRow.id == row.id)
        .values(claimed_by=user_id, claimed_until=func.now() + CLAIM)
        .returning(SampleRow)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).scalar_one()


async def usable(session: AsyncSession, state: SampleState, after: UUID | None, limit: int) -> list[SampleRow]:
    """Rows with a correct answer and without uncleared secrets, oldest first; `after` is the last id of the page
    before."""
    clear = or_(func.jsonb_array_length(SampleRow.secrets) == 0, SampleRow.cleared_by.is_not(None))
    statement = select(SampleRow).where(SampleRow.state == state, SampleRow.corrected_output.is_not(None), clear)
    if after:
        statement = statement.where(SampleRow.id > after)
    return list((await session.execute(statement.order_by(SampleRow.id).limit(limit))).scalars())


async def erase(session: AsyncSession, sample_id: UUID) -> list[AdapterRow] | None:
    """Delete a row. Returns the adapters that used it; None if the row does not exist."""
    adapters = await adapters_of(session, sample_id)
    deleted = await session.execute(delete(SampleRow).where(SampleRow.id == sample_id).returning(SampleRow.id))
    return adapters if deleted.first() else None


async def adapters_of(session: AsyncSession, sample_id: UUID) -> list[AdapterRow]:
    """Adapters trained or evaluated with the row, newest first."""
    saw = select(AdapterRow).join(AdapterSampleRow, AdapterSampleRow.adapter_id == AdapterRow.id)
    saw = saw.where(AdapterSampleRow.sample_id == sample_id).order_by(AdapterRow.id.desc())
    return list((await session.execute(saw)).scalars())
