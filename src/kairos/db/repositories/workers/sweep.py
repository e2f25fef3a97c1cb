"""Queries of the sweeper over all projects, by database functions that return ids and no content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kairos.db.models import TaskState
from kairos.lanes import Lane
from kairos.tenancy import ProjectId, TaskId

SWEEPER_LOCK = 0x7377_6565_70
PRUNED_AT_ONCE = 50_000
"""Audit entries that one call of `kairos_prune` deletes."""


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A running task whose lease has expired."""

    project_id: ProjectId
    task_id: TaskId
    lane: Lane
    epoch: int


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task with its queue parameters."""

    project_id: ProjectId
    task_id: TaskId
    lane: Lane
    priority: int
    created_at: datetime
    not_before: datetime


async def try_to_lead(connection: AsyncConnection) -> bool:
    """Try to take the sweeper lock for this transaction. Returns False if another replica holds it."""
    return bool(await connection.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": SWEEPER_LOCK}))


async def wait_to_lead(connection: AsyncConnection) -> None:
    """Wait for the sweeper lock: the running sweep has ended, and no other starts during this transaction."""
    await connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": SWEEPER_LOCK})


async def prune(connection: AsyncConnection, audit_days: int) -> int:
    """Delete expired rows. Returns the number of deleted audit entries."""
    return int(await connection.scalar(text("select kairos_prune(:days)"), {"days": audit_days}) or 0)


async def expired(connection: AsyncConnection, lease: timedelta, most: int) -> list[ExpiredLease]:
    query = text("select * from kairos_expired_leases(:lease, :most)")
    rows = await connection.execute(query, {"lease": lease, "most": most})
    return [ExpiredLease(ProjectId(r.project_id), TaskId(r.id), Lane(r.lane), r.epoch) for r in rows]


async def page(connection: AsyncConnection, state: TaskState, after: UUID, most: int) -> list[QueuedTask]:
    """Tasks in a state over all projects, ordered by id; `after` is the last id of the page before."""
    query = text("select * from kairos_tasks_page(:state, :after, :most)")
    rows = await connection.execute(query, {"state": state, "after": after, "most": most})
    return [
        QueuedTask(ProjectId(r.project_id), TaskId(r.id), Lane(r.lane), r.priority, r.created_at, r.not_before)
        for r in rows
    ]


async def still_running(connection: AsyncConnection, ids: Sequence[UUID]) -> set[TaskId]:
    query = text("select id from kairos_still_running(cast(:ids as uuid[]))")
    return {TaskId(row.id) for row in await connection.execute(query, {"ids": list(ids)})}


async def make_partitions(connection: AsyncConnection, months: int) -> int:
    """Create the partitions of this and the next months. Returns the number of created ones."""
    return int(await connection.scalar(text("select kairos_make_partitions(:months)"), {"months": months}) or 0)
