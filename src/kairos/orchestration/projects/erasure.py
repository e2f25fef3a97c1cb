"""Erases what deleted projects leave behind: rows, keys in Redis, files, and their entries of the audit log.

One replica at a time does it, by advisory lock. The project's row goes last, so that another replica goes on where one
was killed: every step may be repeated. From the deletion on nothing new comes in (submission and claim refuse), and
running tasks are asked to stop and waited for, so that none writes behind the eraser's back. What has gone is recorded
as `project.erased`: the id and counts, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter

from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.repositories import erasure, people, projects, sweep
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
"""Running tasks are waited for as many leases long; then their rows go, and their next renewal stops them."""
LOOK_S = 0.2
SETTLE_S = 0.5
"""What daemons still send of tasks that have ended: the counters of the cache come a fifth of a second late."""


class Erasure:
    """Every replica has one."""

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
        """Owned by the daemon; ends with its cancellation."""
        while True:
            try:
                await self.erase_all()
            except EngineUnavailable as error:
                log.warning("the erasure of deleted projects goes on later: %s", error)
            await asyncio.sleep(self._settings.queue.sweep_s * random.uniform(0.8, 1.2))

    async def erase_all(self) -> int:
        """Every deleted project. Returns how many; none where another replica is at it."""
        erased = 0
        # The lock's transaction writes nothing itself: one that did would hold up the order of live events.
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
        except Exception:  # what stops one project must not stop the daemon, nor the erasure of the others
            log.exception("project %s could not be erased; it is tried again", project_id)
            return False

    async def _erase(self, project_id: ProjectId) -> bool:
        await self._stop(project_id)
        await asyncio.sleep(SETTLE_S)
        await self._adapters.erase(project_id)
        gone = await self._delete_rows(project_id)
        gone["audit_log"] += await self._delete_audit(project_id)
        async with self._database.system() as connection:
            await sweep.wait_to_lead(connection)  # a sweep under way may be putting its tasks back
            gone["redis_keys"] += await self._delete_keys(project_id)
            gone["audit_log"] += await self._delete_audit(project_id)
            done = await self._close(project_id, gone)
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
            await asyncio.sleep(LOOK_S)
        log.warning("tasks of the deleted project %s did not stop in time; their leases end", project_id)

    async def _delete_rows(self, project_id: ProjectId) -> Counter[str]:
        gone: Counter[str] = Counter()
        for table in erasure.CHILDREN_FIRST:
            count = BATCH
            while count == BATCH:
                async with self._database.project(project_id) as session:
                    count = await erasure.delete_some(session, table, project_id, BATCH)
                gone[str(table.name)] += count
        return gone

    async def _delete_audit(self, project_id: ProjectId) -> int:
        gone, count = 0, BATCH
        while count == BATCH:
            async with self._database.system() as connection:
                count = await projects.erase_audit(connection, project_id, BATCH)
            gone += count
        return gone

    async def _delete_keys(self, project_id: ProjectId) -> int:
        """Everything that Redis holds under the project's id."""
        await self._cache.erase(project_id)
        for lane in Lane:
            await self._queue.delete_project(lane, project_id)
        return await self._keys.delete(project_id)

    async def _close(self, project_id: ProjectId, gone: Counter[str]) -> bool:
        counts = {name: count for name, count in sorted(gone.items()) if count}
        async with self._database.scope(Scope(project_id)) as session:
            if not await projects.erase(session, project_id):
                return False
            await people.audit(session, "project.erased", target=str(project_id), data={"deleted": counts})
        log.info("project %s is erased: %s", project_id, counts)
        return True
