"""What the sweeper reads over all projects, through functions that give ids and nothing of the content."""

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
"""Audit entries that `kairos_prune` removes in one call."""


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A running task whose lease ran out."""

    project_id: ProjectId
    task_id: TaskId
    lane: Lane
    epoch: int


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task with what the queue needs to place it."""

    project_id: ProjectId
    task_id: TaskId
    lane: Lane
    priority: int
    created_at: datetime
    not_before: datetime


async def try_to_lead(connection: AsyncConnection) -> bool:
    """Whether this transaction may sweep; the lock goes with it."""
    return bool(await connection.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": SWEEPER_LOCK}))


async def wait_to_lead(connection: AsyncConnection) -> None:
    """As `try_to_lead`, once the present sweep has ended; no other begins while this transaction lasts."""
    await connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": SWEEPER_LOCK})


async def prune(connection: AsyncConnection, audit_days: int) -> int:
    """Remove what has run out. Returns the number of audit entries that went."""
    return int(await connection.scalar(text("select kairos_prune(:days)"), {"days": audit_days}) or 0)


async def expired(connection: AsyncConnection, lease: timedelta, most: int) -> list[ExpiredLease]:
    query = text("select * from kairos_expired_leases(:lease, :most)")
    rows = await connection.execute(query, {"lease": lease, "most": most})
    return [ExpiredLease(ProjectId(r.project_id), TaskId(r.id), Lane(r.lane), r.epoch) for r in rows]


async def page(connection: AsyncConnection, state: TaskState, after: UUID, most: int) -> list[QueuedTask]:
    """Tasks in a state by id, all projects together; `after` is the id that the last page ended with."""
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
    """Make the partitions of this and the coming months. Returns how many were missing."""
    return int(await connection.scalar(text("select kairos_make_partitions(:months)"), {"months": months}) or 0)
