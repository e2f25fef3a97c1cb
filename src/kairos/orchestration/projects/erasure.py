"""Erases the data of deleted projects: rows, Redis keys, files and audit log entries.

One replica at a time erases, by advisory lock. Every step may be repeated and the project's row is deleted last, so
another replica can resume after a crash. A deleted project accepts no submissions and claims; running tasks are
cancelled and waited for, so that they write nothing during the erasure. The audit log records `project.erased` with the
project's id and the counts, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import partial

from kairos.background_tasks import every
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories.access import people
from kairos.db.repositories.projects import erasure, projects
from kairos.db.repositories.workers import sweep
from kairos.errors import EngineUnavailable
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.lanes import Lane
from kairos.llm.cache.response_cache import ResponseCache
from kairos.orchestration.projects.project_keys import ProjectKeys
from kairos.orchestration.queue.queue import FairQueue
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId, Scope

log = logging.getLogger(__name__)

BATCH = 1000
LEASES = 2
"""Number of lease times to wait for running tasks; then their rows are deleted, and their next renewal stops them."""
POLL_S = 0.2
GRACE_S = 0.5
"""Time for daemons to write late data of ended tasks: cache counters are written with a delay of 0.2 s."""


class Erasure:
    """Erases deleted projects. Runs in every replica; an advisory lock lets one work at a time."""

    def __init__(
        self,
        database: Database,
        queue: FairQueue,
        pubsub: PubSub,
        keys: ProjectKeys,
        cache: ResponseCache,
        settings: Settings,
        adapters: AdapterDeployments,
    ) -> None:
        self._database = database
        self._queue = queue
        self._pubsub = pubsub
        self._keys = keys
        self._cache = cache
        self._settings = settings
        self._adapters = adapters

    async def run(self) -> None:
        """Erase deleted projects periodically until cancelled."""
        await every(
            lambda: self._settings.queue.sweep_s,
            self.erase_all,
            partial(log.warning, "the erasure of deleted projects is postponed: %s"),
        )

    async def erase_all(self) -> int:
        """Erase every deleted project. Returns their number; 0 if another replica holds the lock."""
        erased = 0
        # The transaction that holds the lock must not write: an open writing transaction delays live events.
        async with self._database.system() as lock:
            if not await projects.try_to_erase(lock):
                return 0
            for project_id in await projects.to_erase(lock):
                erased += await self._erase_or_log(project_id)
        return erased

    async def _erase_or_log(self, project_id: ProjectId) -> bool:
        try:
            return await self._erase(project_id)
        except EngineUnavailable:
            raise
        except Exception:  # an error in one project must stop neither the daemon nor the erasure of the others
            log.exception("project %s could not be erased; it will be retried", project_id)
            return False

    async def _erase(self, project_id: ProjectId) -> bool:
        await self._stop(project_id)
        await asyncio.sleep(GRACE_S)
        await self._adapters.erase(project_id)
        deleted = await self._delete_rows(project_id)
        deleted["audit_log"] += await self._delete_audit(project_id)
        async with self._database.system() as connection:
            await sweep.wait_to_lead(connection)  # a running sweep may put its tasks back into Redis
            deleted["redis_keys"] += await self._delete_keys(project_id)
            deleted["audit_log"] += await self._delete_audit(project_id)
            done = await self._close(project_id, deleted)
            await self._delete_keys(project_id)
        return done

    async def _stop(self, project_id: ProjectId) -> None:
        for lane in Lane:
            await self._queue.set_cap(lane, project_id, 0)
        end = time.monotonic() + LEASES * self._settings.queue.lease_s
        notified: set[object] = set()
        while time.monotonic() < end:
            async with self._database.project(project_id) as session:
                running = await erasure.stop_running(session)
            if not running:
                return
            for task_id, owner in running:
                if task_id not in notified:
                    await self._pubsub.cancel(owner, task_id)
                    notified.add(task_id)
            await asyncio.sleep(POLL_S)
        log.warning("tasks of the deleted project %s did not stop in time; their leases will expire", project_id)

    async def _delete_rows(self, project_id: ProjectId) -> Counter[str]:
        deleted: Counter[str] = Counter()
        for table in erasure.CHILDREN_FIRST:
            count = BATCH
            while count == BATCH:
                async with self._database.project(project_id) as session:
                    count = await erasure.delete_some(session, table, project_id, BATCH)
                deleted[str(table.name)] += count
        return deleted

    async def _delete_audit(self, project_id: ProjectId) -> int:
        deleted, count = 0, BATCH
        while count == BATCH:
            async with self._database.system() as connection:
                count = await projects.erase_audit(connection, project_id, BATCH)
            deleted += count
        return deleted

    async def _delete_keys(self, project_id: ProjectId) -> int:
        """Delete the project's keys in Redis: cache, queue and all others. Returns their number."""
        await self._cache.erase(project_id)
        for lane in Lane:
            await self._queue.delete_project(lane, project_id)
        return await self._keys.delete(project_id)

    async def _close(self, project_id: ProjectId, deleted: Counter[str]) -> bool:
        counts = {name: count for name, count in sorted(deleted.items()) if count}
        async with self._database.scope(Scope(project_id)) as session:
            if not await projects.erase(session, project_id):
                return False
            await people.audit(session, AuditAction.PROJECT_ERASED, target=str(project_id), data={"deleted": counts})
        log.info("project %s is erased: %s", project_id, counts)
        return True
