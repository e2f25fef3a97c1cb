"""History of a task: its events, verdicts, decisions and dataset rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Text, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DecisionRow, EventKind, SampleRow, TaskEventRow, TaskRow, TaskState, VerdictRow
from kairos.tenancy import ProjectId, new_id


async def add_event(
    session: AsyncSession, project_id: ProjectId, task_id: UUID, attempt: int, kind: EventKind, data: Mapping[str, Any]
) -> int:
    """Append an event and return its id. Ids order the events of a task."""
    statement = (
        insert(TaskEventRow)
        .values(project_id=project_id, task_id=task_id, attempt=attempt, kind=kind, data=dict(data))
        .returning(TaskEventRow.id)
    )
    return (await session.execute(statement)).scalar_one()


async def add_fenced_event(
    session: AsyncSession, task_id: UUID, epoch: int, kind: EventKind, data: Mapping[str, Any]
) -> int | None:
    """Append an event of a running attempt and return its id; None, without writing, if the lease was lost."""
    held = (
        select(
            TaskRow.project_id,
            TaskRow.id,
            TaskRow.attempts,
            literal(kind, Text),
            literal(dict(data), JSONB),
        )
        .where(TaskRow.id == task_id, TaskRow.epoch == epoch, TaskRow.state == TaskState.RUNNING)
        .with_for_update(key_share=True)
    )
    columns = ["project_id", "task_id", "attempt", "kind", "data"]
    statement = insert(TaskEventRow).from_select(columns, held).returning(TaskEventRow.id)
    return (await session.execute(statement)).scalar_one_or_none()


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


async def add_decision(session: AsyncSession, row: DecisionRow) -> None:
    session.add(row)
    await session.flush()


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
