"""Tasks: submission, claims with fencing tokens, lease renewal, conclusion, and lists.

A claim increases `epoch`, and every later write of the worker must match it, so a worker whose lease expired writes
nothing. All functions take a session in the project's scope and return None or an empty list if nothing matched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Double, case, cast, column, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DecisionRow, LabelRow, ProjectRow, TaskRow, TaskState
from kairos.db.repositories import excerpts
from kairos.lanes import Lane

WAITING = TaskRow.state == TaskState.QUEUED
PROJECT_OPEN = exists().where(
    ProjectRow.id == TaskRow.project_id, ProjectRow.archived_at.is_(None), ProjectRow.deleted_at.is_(None)
)
CALLS = func.jsonb_array_elements(DecisionRow.calls).table_valued(
    column("value", JSONB), name="calls", joins_implicitly=True
)
KNOWN_COST = (
    select(func.sum(cast(CALLS.c.value["cost_usd"].astext, Double)))
    .select_from(DecisionRow, CALLS)
    .where(DecisionRow.project_id == TaskRow.project_id, DecisionRow.task_id == TaskRow.id)
    .correlate(TaskRow)
    .scalar_subquery()
)
"""Sum of the known costs of a task's calls. A task has few decisions: attempts times drafts."""
LISTED = (
    TaskRow.id,
    TaskRow.state,
    excerpts.text(TaskRow.prompt),
    TaskRow.agent,
    TaskRow.task_type,
    TaskRow.lane,
    TaskRow.priority,
    TaskRow.model,
    excerpts.text(TaskRow.output),
    excerpts.document(TaskRow.error, "code", "message"),
    TaskRow.attempts,
    TaskRow.max_attempts,
    TaskRow.cancel_requested,
    TaskRow.created_at,
    TaskRow.not_before,
    TaskRow.started_at,
    TaskRow.finished_at,
    KNOWN_COST.label("cost_usd"),
)
"""Columns of a `ListedTask`, in its order."""
LIVE = TaskRow.state.in_((TaskState.QUEUED, TaskState.RUNNING))


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task in lists and in live events; texts are cut to `excerpts.EXCERPT` characters."""

    id: UUID
    state: TaskState
    prompt: str
    agent: str
    task_type: str | None
    lane: Lane
    priority: int
    model: str | None
    output: str | None
    error: dict[str, Any] | None
    attempts: int
    max_attempts: int
    cancel_requested: bool
    created_at: datetime
    not_before: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cost_usd: float | None
    """Sum of the known costs of its calls; None if none is known."""

    @classmethod
    def of(cls, columns: Sequence[Any]) -> Self:
        """The task with these `LISTED` columns."""
        task_id, state, prompt, agent, task_type, lane, *rest = columns
        return cls(task_id, TaskState(state), prompt, agent, task_type, Lane(lane), *rest)


@dataclass(frozen=True, slots=True)
class RenewedLease:
    """A renewed lease, and if a cancel of the task was requested."""

    id: UUID
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end of an attempt, as stored in the task's row."""

    state: TaskState
    error: Mapping[str, Any] | None
    retry_in_s: float = 0
    """Seconds before the next attempt, if `state` is `queued`."""
    refund: bool = False
    """Do not count the attempt, because its daemon stopped."""
    answer: TaskAnswer | None = None


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The last output of an attempt, with its model and decision."""

    output: str
    model: str | None
    decision_id: UUID | None


async def add(session: AsyncSession, row: TaskRow) -> TaskRow | None:
    """Insert a task. Returns None if its idempotency key is in use; see `by_idempotency_key`."""
    values = {c.name: getattr(row, c.name) for c in TaskRow.__table__.columns if getattr(row, c.name) is not None}
    statement = (
        insert(TaskRow)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=["project_id", "idempotency_key"], index_where=TaskRow.idempotency_key.is_not(None)
        )
        .returning(TaskRow)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def by_idempotency_key(session: AsyncSession, key: str) -> TaskRow | None:
    return (await session.execute(select(TaskRow).where(TaskRow.idempotency_key == key))).scalar_one_or_none()


async def get(session: AsyncSession, task_id: UUID) -> TaskRow | None:
    return (await session.execute(select(TaskRow).where(TaskRow.id == task_id))).scalar_one_or_none()


async def checks_of(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """The checks of these tasks, by task id."""
    found = await session.execute(select(TaskRow.id, TaskRow.checks).where(TaskRow.id.in_(ids)))
    return {row.id: row.checks for row in found}


async def page(
    session: AsyncSession,
    *,
    before: UUID | None,
    limit: int,
    states: Sequence[TaskState] = (),
    agent: str | None = None,
    model: str | None = None,
    task_type: str | None = None,
    search: str | None = None,
    ended_since: datetime | None = None,
    labelled: bool | None = None,
) -> list[ListedTask]:
    """Tasks, newest first. `before` is the last id of the page before (ids sort by time),
    `search`
    a text in the prompt, `labelled` selects tasks with or without a label."""
    statement = select(*LISTED).order_by(TaskRow.id.desc()).limit(limit)
    if before:
        statement = statement.where(TaskRow.id < before)
    if states:
        statement = statement.where(TaskRow.state.in_(states))
    for field, wanted in ((TaskRow.agent, agent), (TaskRow.model, model), (TaskRow.task_type, task_type)):
        if wanted:
            statement = statement.where(field == wanted)
    if search:
        statement = statement.where(TaskRow.prompt.icontains(search, autoescape=True))
    if ended_since:
        statement = statement.where(TaskRow.finished_at >= ended_since)
    if labelled is not None:
        has_label = exists().where(LabelRow.project_id == TaskRow.project_id, LabelRow.task_id == TaskRow.id)
        statement = statement.where(has_label if labelled else ~has_label)
    return [ListedTask.of(row) for row in await session.execute(statement)]


async def claim(session: AsyncSession, task_id: UUID, owner: str, lease: timedelta) -> TaskRow | None:
    """Claim a queued task that is due. Returns None if another worker was first, the task is no longer queued, or its
    project is archived or deleted."""
    statement = (
        update(TaskRow)
        .where(
            TaskRow.id == task_id, WAITING, TaskRow.not_before <= func.now(), ~TaskRow.cancel_requested, PROJECT_OPEN
        )
        .values(
            state=TaskState.RUNNING,
            epoch=TaskRow.epoch + 1,
            attempts=TaskRow.attempts + 1,
            owner=owner,
            lease_until=func.now() + lease,
            started_at=func.coalesce(TaskRow.started_at, func.now()),
        )
        .returning(TaskRow)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def renew(session: AsyncSession, claims: Sequence[tuple[UUID, int]], lease: timedelta) -> list[RenewedLease]:
    """Renew the leases of (id, epoch) pairs. A pair missing from the result has lost its lease."""
    statement = (
        update(TaskRow)
        .where(tuple_(TaskRow.id, TaskRow.epoch).in_(claims), TaskRow.state == TaskState.RUNNING)
        .values(lease_until=func.now() + lease)
        .returning(TaskRow.id, TaskRow.cancel_requested)
    )
    return [RenewedLease(row.id, row.cancel_requested) for row in await session.execute(statement)]


async def holds(session: AsyncSession, task_id: UUID, epoch: int) -> bool:
    """Whether a claim still has its lease. If so, the row is locked against a new claim until the transaction ends."""
    statement = select(TaskRow.id).where(
        TaskRow.id == task_id, TaskRow.epoch == epoch, TaskRow.state == TaskState.RUNNING
    )
    return (await session.execute(statement.with_for_update(read=True))).first() is not None


async def conclude(session: AsyncSession, task_id: UUID, epoch: int, end: Conclusion) -> TaskState | None:
    """Store the end of an attempt and return the stored state. None if the lease was lost: the caller must then write
    nothing else of the attempt.

    If a cancel was requested, a task that would be queued again is cancelled instead.
    """
    values: dict[str, Any] = {"state": end.state, "error": end.error, "owner": None, "lease_until": None}
    if end.state.final:
        values["finished_at"] = func.now()
    else:
        values["not_before"] = func.now() + timedelta(seconds=end.retry_in_s)
        values["state"] = case((TaskRow.cancel_requested, TaskState.CANCELLED), else_=end.state)
        values["finished_at"] = case((TaskRow.cancel_requested, func.now()), else_=None)
    if end.refund:
        values["attempts"] = TaskRow.attempts - 1
    if end.answer:
        values |= {"output": end.answer.output, "model": end.answer.model, "decision_id": end.answer.decision_id}
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.epoch == epoch, TaskRow.state == TaskState.RUNNING)
        .values(values)
        .returning(TaskRow.state)
    )
    written = (await session.execute(statement)).scalar_one_or_none()
    return TaskState(written) if written else None


async def expire(session: AsyncSession, task_id: UUID, epoch: int, error: dict[str, Any]) -> TaskRow | None:
    """End the attempt of a task whose lease expired: the task is queued again, dead if no attempts are left, or
    cancelled
    if a cancel was requested."""
    spent = TaskRow.attempts >= TaskRow.max_attempts
    statement = (
        update(TaskRow)
        .where(
            TaskRow.id == task_id,
            TaskRow.epoch == epoch,
            TaskRow.state == TaskState.RUNNING,
            TaskRow.lease_until < func.now(),
        )
        .values(
            state=case(
                (TaskRow.cancel_requested, TaskState.CANCELLED), (spent, TaskState.DEAD), else_=TaskState.QUEUED
            ),
            finished_at=case((or_(spent, TaskRow.cancel_requested), func.now()), else_=None),
            error=error,
            owner=None,
            lease_until=None,
        )
        .returning(TaskRow)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def request_cancel(session: AsyncSession, task_id: UUID) -> TaskRow | None:
    """Cancel a queued task, or request a cancel of a running one. Returns None if it has ended."""
    waiting = TaskRow.state == TaskState.QUEUED
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task_id, LIVE)
        .values(
            cancel_requested=True,
            state=case((waiting, TaskState.CANCELLED), else_=TaskRow.state),
            finished_at=case((waiting, func.now()), else_=TaskRow.finished_at),
        )
        .returning(TaskRow)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def retry(session: AsyncSession, task_id: UUID) -> TaskRow | None:
    """Queue an ended task again, with its full number of attempts. Returns None if it has not ended."""
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task_id, ~LIVE)
        .values(
            state=TaskState.QUEUED,
            not_before=func.now(),
            max_attempts=TaskRow.attempts + TaskRow.max_attempts,
            cancel_requested=False,
            finished_at=None,
            error=None,
        )
        .returning(TaskRow)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def counts(session: AsyncSession) -> dict[str, int]:
    """Number of tasks by state."""
    statement = select(TaskRow.state, func.count().label("n")).group_by(TaskRow.state)
    return {row.state: row.n for row in await session.execute(statement)}
