"""History of a task: its events, verdicts, decisions and dataset rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DecisionRow, EventKind, SampleRow, TaskEventRow, TaskRow, VerdictRow
from kairos.tenancy import ProjectId, new_id

COMMIT_CHECKS, COMMIT_CHECK_S = 20, 0.1


async def add_event(
    session: AsyncSession,
    project_id: ProjectId,
    task_id: UUID,
    attempt: int,
    kind: EventKind,
    data: Mapping[str, Any],
    *,
    age_s: float = 0,
) -> int:
    """Append an event that happened `age_s` seconds ago and return its id. Ids order the events of a task."""
    values = {"project_id": project_id, "task_id": task_id, "attempt": attempt, "kind": kind, "data": dict(data)}
    if age_s:
        values["at"] = func.clock_timestamp() - timedelta(seconds=age_s)
    return (await session.execute(insert(TaskEventRow).values(values).returning(TaskEventRow.id))).scalar_one()


async def transaction_id(session: AsyncSession) -> int:
    """The id of the current transaction, for `was_committed`."""
    return int((await session.execute(text("select pg_current_xact_id()::text::bigint"))).scalar_one())


async def was_committed(session: AsyncSession, transaction: int) -> bool:
    """Whether an earlier transaction was committed. Waits for a moment for one that is still being committed."""
    query = text("select pg_xact_status(cast(cast(:transaction as text) as xid8))")
    for _ in range(COMMIT_CHECKS):
        status = (await session.execute(query, {"transaction": str(transaction)})).scalar_one()
        if status != "in progress":
            return status == "committed"
        await asyncio.sleep(COMMIT_CHECK_S)
    return False


async def events(session: AsyncSession, task_id: UUID, after: int = 0, limit: int | None = None) -> list[TaskEventRow]:
    statement = select(TaskEventRow).where(TaskEventRow.task_id == task_id, TaskEventRow.id > after)
    return list((await session.execute(statement.order_by(TaskEventRow.id).limit(limit))).scalars())


async def verdicts(session: AsyncSession, task_id: UUID) -> list[VerdictRow]:
    statement = select(VerdictRow).where(VerdictRow.task_id == task_id).order_by(VerdictRow.id)
    return list((await session.execute(statement)).scalars())


async def decisions(session: AsyncSession, task_id: UUID) -> list[DecisionRow]:
    statement = select(DecisionRow).where(DecisionRow.task_id == task_id).order_by(DecisionRow.id)
    return list((await session.execute(statement)).scalars())


async def samples(session: AsyncSession, task_id: UUID) -> list[SampleRow]:
    statement = select(SampleRow).where(SampleRow.task_id == task_id).order_by(SampleRow.id)
    return list((await session.execute(statement)).scalars())


async def decision(session: AsyncSession, decision_id: UUID) -> DecisionRow | None:
    return (await session.execute(select(DecisionRow).where(DecisionRow.id == decision_id))).scalar_one_or_none()


async def add_decision(session: AsyncSession, row: DecisionRow, *, age_s: float = 0) -> None:
    """Add a decision that was made `age_s` seconds ago."""
    values = {c.name: getattr(row, c.name) for c in DecisionRow.__table__.columns if getattr(row, c.name) is not None}
    at = func.clock_timestamp() - timedelta(seconds=age_s)
    await session.execute(insert(DecisionRow).values(**values, at=at))


async def close_decision(session: AsyncSession, decision_id: UUID, answered: str | None, calls: list[Any]) -> None:
    """Record the model that answered and all calls made for the decision."""
    await session.execute(
        update(DecisionRow).where(DecisionRow.id == decision_id).values(answered=answered, calls=calls)
    )


def unanswered(row: TaskRow, reason: str) -> SampleRow:
    """The dataset row of a task that ended without an output. It is not trained on until it is labelled."""
    return SampleRow(
        project_id=row.project_id,
        id=new_id(),
        task_id=row.id,
        attempt=row.attempts,
        task_type=row.task_type,
        prompt=[{"role": "user", "content": row.prompt}],
        faulty_output=None,
        reason=reason,
        model=None,
    )
