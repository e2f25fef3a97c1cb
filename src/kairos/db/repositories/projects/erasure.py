"""Deletes the rows of an erased project in small batches that block no other work. In the project's scope."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, Table, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import PROJECT_OWNED, Base, TaskRow, TaskState
from kairos.tenancy import ProjectId, TaskId

_OWNED = {row.__tablename__ for row in PROJECT_OWNED}
CHILDREN_FIRST: tuple[Table, ...] = tuple(
    table for table in reversed(Base.metadata.sorted_tables) if table.name in _OWNED
)
"""Project-owned tables, each before the tables that it references."""


async def delete_some(session: AsyncSession, table: Table, project_id: ProjectId, most: int) -> int:
    """Delete up to `most` rows of the project. By primary key, because ctid is not unique in a partitioned table."""
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(table.c.project_id == project_id).limit(most)
    result = await session.execute(delete(table).where(table.c.project_id == project_id, key.in_(some)))
    return cast(CursorResult[Any], result).rowcount


async def stop_running(session: AsyncSession) -> list[tuple[TaskId, str]]:
    """Request a cancel of all running tasks. Returns those with a valid lease, each with its daemon."""
    running = (TaskRow.state == TaskState.RUNNING, TaskRow.lease_until > func.now())
    await session.execute(update(TaskRow).where(*running, ~TaskRow.cancel_requested).values(cancel_requested=True))
    rows = await session.execute(select(TaskRow.id, TaskRow.owner).where(*running))
    return [(TaskId(row.id), row.owner) for row in rows]
