"""Leases of the tasks that run in this daemon: renewed together; a run is stopped when its lease is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial

from kairos.background_tasks import NO_JITTER, every
from kairos.db.engine import Database
from kairos.db.repositories.tasks import tasks
from kairos.orchestration.queue.claim import Claim
from kairos.tenancy import ProjectId, TaskId

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 5


class StopReason(StrEnum):
    """Why a run was stopped before its end."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    DRAINED = "drained"


@dataclass(slots=True)
class RunningClaim:
    """A claim with the asyncio task that runs it."""

    claim: Claim
    task: asyncio.Task[object]
    stopped: StopReason | None = None
    concluding: bool = False
    """Whether its result is being stored. A stop now comes too late, and a lease that is gone has been given up by the
    result itself."""

    def stop(self, reason: StopReason) -> None:
        """Cancel the run and record the reason for the coordinator.

        Repeated at each renewal while it still runs: a library may swallow a cancellation (asyncio.wait_for does before
        Python 3.12).
        """
        self.stopped = self.stopped or reason
        self.task.cancel()


class Leases:
    """Renews all leases of this daemon every fifth of the lease time, until the last run has ended, also while
    draining."""

    def __init__(self, database: Database, lease_s: float) -> None:
        self._database = database
        self._runs: dict[TaskId, RunningClaim] = {}
        self.lease = timedelta(seconds=lease_s)

    def __len__(self) -> int:
        return len(self._runs)

    def claims(self) -> list[Claim]:
        """The claims that run in this daemon now."""
        return [run.claim for run in self._runs.values()]

    @contextmanager
    def renewing(self, claim: Claim) -> Iterator[RunningClaim]:
        """Renew the claim's lease while the block runs. Must be entered in the asyncio task that does the work."""
        task = asyncio.current_task()
        assert task is not None
        run = RunningClaim(claim, task)
        self._runs[claim.task_id] = run
        try:
            yield run
        finally:
            del self._runs[claim.task_id]

    def stop(self, task_id: TaskId, reason: StopReason) -> None:
        """Stop a run, if this daemon has it."""
        if run := self._runs.get(task_id):
            run.stop(reason)

    def stop_all(self, reason: StopReason) -> None:
        for run in list(self._runs.values()):
            run.stop(reason)

    async def renew_forever(self) -> None:
        """Renew periodically until cancelled."""
        # During an outage no other worker can take the tasks over: the sweeper counts leases from PostgreSQL's start.
        outage = partial(log.warning, "leases not renewed: %s")
        await every(
            self.lease.total_seconds() / RENEWALS_PER_LEASE, self.renew, outage, jitter=NO_JITTER, at_once=False
        )

    async def renew(self) -> None:
        """Renew all leases once, and stop runs whose lease is lost or whose cancel was requested."""
        by_project: dict[ProjectId, list[RunningClaim]] = defaultdict(list)
        for run in self._runs.values():
            by_project[run.claim.project_id].append(run)
        for project_id, runs in by_project.items():
            claims = [(run.claim.task_id, run.claim.epoch) for run in runs]
            async with self._database.project(project_id) as session:
                renewed = {row.id: row for row in await tasks.renew(session, claims, self.lease)}
            for run in runs:
                self._apply(run, renewed.get(run.claim.task_id))

    def _apply(self, run: RunningClaim, renewed: tasks.RenewedLease | None) -> None:
        if self._runs.get(run.claim.task_id) is not run or run.concluding:
            return
        if renewed is None:
            log.warning("task %s lost its lease and is stopped here", run.claim.task_id)
            run.stop(StopReason.LEASE_LOST)
        elif renewed.cancel_requested:
            run.stop(StopReason.CANCELLED)
