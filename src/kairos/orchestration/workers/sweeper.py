"""The sweeper: one replica at a time repairs the effects of crashes and lost messages (docs/queue.md).

It requeues or ends running tasks whose lease expired, restores queued tasks missing in Redis, frees Redis entries
without a running task, creates the next partitions, and deletes data past its retention.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from kairos.background_tasks import every
from kairos.config import Settings
from kairos.db.engine import Database, SystemConnection
from kairos.db.models import EventKind, SampleSource, TaskState
from kairos.db.repositories.monitoring import metrics
from kairos.db.repositories.tasks import history, tasks
from kairos.db.repositories.workers import sweep
from kairos.lanes import Lane
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.dataset.samples import record
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.queue import FairQueue, QueueEntry
from kairos.orchestration.tasks.submission import as_order
from kairos.tenancy import ProjectId, TaskId

log = logging.getLogger(__name__)

PAGE = 500
CLAIM_GRACE_S = 5
"""If a taken task is not claimed within this time, its worker is considered dead."""
PARTITIONS_EVERY_S = 6 * 3600
PARTITIONS_AHEAD = 2
PRUNINGS = 20
"""Batches in one sweep; the rest is pruned in the next one."""
FIRST_ID = UUID(int=0)
LEASE_EXPIRED = {"code": "lease_expired", "message": "Its worker stopped renewing the lease, and the lease expired."}


class Sweeper:
    """Runs in every replica; an advisory lock lets one work at a time."""

    def __init__(
        self,
        database: Database,
        queue: FairQueue,
        notices: EventNotices,
        settings: Settings,
    ) -> None:
        self._database = database
        self._queue = queue
        self._notices = notices
        self._settings = settings
        self._asked = asyncio.Event()
        self._limits = ProjectLimits(database, queue, settings.queue)
        self._cursors: dict[TaskState, UUID] = {}
        self._partitions_at = 0.0

    def wake(self) -> None:
        """Sweep now, after a change of limits or times."""
        self._partitions_at = 0.0
        self._asked.set()

    async def run(self) -> None:
        """Sweep periodically until cancelled."""
        await every(
            lambda: self._settings.queue.sweep_s,
            self.sweep,
            partial(log.warning, "the sweep failed: %s"),
            wake=self._asked,
        )

    async def sweep(self) -> None:
        """Sweep once. Does nothing if another replica holds the lock."""
        async with self._database.system() as connection:
            if not await sweep.try_to_lead(connection):
                return
            await self._keep_partitions(connection)
            await self._expire(connection)
            if await self._queue.generation() is None:
                await self._refill(connection)
            else:
                await self._compare(connection)
            await self._free_unclaimed(connection)

    async def _keep_partitions(self, connection: SystemConnection) -> None:
        if time.monotonic() >= self._partitions_at:
            await sweep.make_partitions(connection, PARTITIONS_AHEAD)
            async with self._database.system() as own:  # its locks must be released before the next step
                await metrics.drop_old_partitions(own, self._settings.router.metrics_months)
            await self._prune()
            self._partitions_at = time.monotonic() + PARTITIONS_EVERY_S

    async def _prune(self) -> None:
        """Delete expired data: old audit entries and credentials."""
        for _ in range(PRUNINGS):
            async with self._database.system() as own:
                if await sweep.prune(own, self._settings.retention.audit_days) < sweep.PRUNED_AT_ONCE:
                    return

    async def _expire(self, connection: SystemConnection) -> None:
        for found in await sweep.expired(connection, timedelta(seconds=self._settings.queue.lease_s), PAGE):
            async with self._database.project(found.project_id) as session:
                row = await tasks.expire(session, found.task_id, found.epoch, LEASE_EXPIRED)
                if row is None:
                    continue
                data = {"error": LEASE_EXPIRED}
                await history.add_event(session, found.project_id, row.id, row.attempts, EventKind(row.state), data)
                if row.state == TaskState.DEAD:
                    await record(session, history.unanswered(row, LEASE_EXPIRED["message"]), SampleSource.FAILURE)
            self._notices.notify(found.project_id)
            log.warning("the lease of task %s expired: it is now %s", row.id, row.state)
            await self._queue.done(found.lane, found.project_id, found.task_id)
            if row.state == TaskState.QUEUED:
                await self._queue.put(
                    found.lane, found.project_id, found.task_id, priority=row.priority, order=as_order(row.created_at)
                )

    async def _refill(self, connection: SystemConnection) -> None:
        """Restore the queue after Redis lost all data: first running tasks, then queued ones, page by page."""
        running = waiting = 0
        async for page in self._pages(connection, TaskState.RUNNING):
            await self._adopt(page)
            running += len(page)
        limited: set[ProjectId] = set()
        async for page in self._pages(connection, TaskState.QUEUED):
            for project_id in {found.project_id for found in page} - limited:
                await self._limits.refresh(project_id)
                limited.add(project_id)
            await self._put(page)
            waiting += len(page)
        await self._queue.start_generation()
        if running or waiting:
            log.warning("Redis had lost the queue: restored %d running and %d waiting tasks", running, waiting)

    async def _compare(self, connection: SystemConnection) -> None:
        """Compare one page of queued and one of running tasks with Redis, and repair Redis. Pages advance with each
        sweep."""
        await self._adopt(await self._next_page(connection, TaskState.RUNNING))
        # Tasks submitted just now may not have reached the queue yet.
        settled = datetime.now(UTC) - timedelta(seconds=CLAIM_GRACE_S)
        page = [found for found in await self._next_page(connection, TaskState.QUEUED) if found.created_at < settled]
        for (lane, project_id), group in _grouped(page).items():
            await self._limits.refresh(project_id, [lane])
            known = {found.task_id: found for found in group}
            missing = await self._queue.missing(lane, project_id, known)
            if missing:
                log.warning("%d waiting tasks were missing from the queue and were restored", len(missing))
                await self._put([known[task_id] for task_id in missing])

    async def _next_page(self, connection: SystemConnection, state: TaskState) -> list[sweep.QueuedTask]:
        page = await sweep.page(connection, state, self._cursors.get(state, FIRST_ID), PAGE)
        self._cursors[state] = page[-1].task_id if len(page) == PAGE else FIRST_ID
        return page

    async def _pages(self, connection: SystemConnection, state: TaskState) -> AsyncIterator[list[sweep.QueuedTask]]:
        cursor = FIRST_ID
        while page := await sweep.page(connection, state, cursor, PAGE):
            yield page
            cursor = page[-1].task_id

    async def _adopt(self, page: list[sweep.QueuedTask]) -> None:
        for (lane, project_id), group in _grouped(page).items():
            await self._queue.adopt(lane, project_id, [found.task_id for found in group])

    async def _put(self, page: list[sweep.QueuedTask]) -> None:
        now = datetime.now(UTC)
        for (lane, project_id), group in _grouped(page).items():
            entries = [
                QueueEntry(
                    found.task_id,
                    as_order(found.created_at),
                    found.priority,
                    max(0.0, (found.not_before - now).total_seconds()),
                )
                for found in group
            ]
            await self._queue.put_many(lane, project_id, entries)

    async def _free_unclaimed(self, connection: SystemConnection) -> None:
        """Free tasks that run in Redis only: their worker died between take and claim, or before `done`."""
        for lane in Lane:
            stale = await self._queue.stale_runs(lane, CLAIM_GRACE_S)
            if not stale:
                continue
            running = await sweep.still_running(connection, [taken.task_id for taken in stale])
            for taken in stale:
                if taken.task_id not in running:
                    await self._queue.done(taken.lane, taken.project_id, taken.task_id)
                    await self._put_if_waiting(taken.lane, taken.project_id, taken.task_id)

    async def _put_if_waiting(self, lane: Lane, project_id: ProjectId, task_id: TaskId) -> None:
        async with self._database.project(project_id) as session:
            row = await tasks.get(session, task_id)
        if row is not None and row.state == TaskState.QUEUED:
            found = sweep.QueuedTask(project_id, task_id, lane, row.priority, row.created_at, row.not_before)
            await self._put([found])


def _grouped(page: list[sweep.QueuedTask]) -> dict[tuple[Lane, ProjectId], list[sweep.QueuedTask]]:
    groups: dict[tuple[Lane, ProjectId], list[sweep.QueuedTask]] = defaultdict(list)
    for found in page:
        groups[found.lane, found.project_id].append(found)
    return groups
