"""Labels of answers, and the dataset rows that they add or change. In the project's scope."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import LabelRow, SampleRow, VerdictRow


async def get(session: AsyncSession, task_id: UUID) -> LabelRow | None:
    return (await session.execute(select(LabelRow).where(LabelRow.task_id == task_id))).scalar_one_or_none()


async def put(session: AsyncSession, row: LabelRow) -> None:
    """Store a label in place of the task's previous one."""
    values = {c.name: getattr(row, c.name) for c in LabelRow.__table__.columns if c.name != "at"}
    changed = {name: value for name, value in values.items() if name not in ("project_id", "task_id")}
    statement = insert(LabelRow).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=["project_id", "task_id"], set_=changed))


async def last_verdict(session: AsyncSession, task_id: UUID) -> VerdictRow | None:
    """The guardian's verdict on the task's final answer."""
    statement = select(VerdictRow).where(VerdictRow.task_id == task_id).order_by(VerdictRow.id.desc()).limit(1)
    return (await session.execute(statement)).scalar_one_or_none()


async def sample_of(session: AsyncSession, task_id: UUID, faulty_output: str | None) -> SampleRow | None:
    """The newest dataset row for this answer of the task, locked."""
    statement = (
        select(SampleRow)
        .where(SampleRow.task_id == task_id, SampleRow.faulty_output.is_not_distinct_from(faulty_output))
        .order_by(SampleRow.id.desc())
        .limit(1)
        .with_for_update()
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def change_sample(
    session: AsyncSession, row: SampleRow, *, state: str, corrected: str | None, reason: str, secrets: list[Any]
) -> None:
    await session.execute(
        update(SampleRow)
        .where(SampleRow.id == row.id)
        .values(state=state, corrected_output=corrected, reason=reason, secrets=secrets, version=SampleRow.version + 1)
    )
