"""The worker of a daemon: takes tasks from the queue while it has free slots, claims and runs them."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any
from uuid import UUID

from kairos import redis_keys
from kairos.background_tasks import end, keep_running
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import EventKind, TaskState
from kairos.db.repositories.access import people
from kairos.db.repositories.tasks import history, tasks
from kairos.errors import EngineUnavailable, KairosError
from kairos.lanes import Lane
from kairos.orchestration.queue.claim import Claim, Outcome, claim_of
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.lease import Leases, StopReason
from kairos.orchestration.queue.queue import FairQueue, TakenTask
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator
from kairos.orchestration.tasks.submission import as_order
from kairos.pubsub import Notice, PubSub
from kairos.tenancy import TaskId

log = logging.getLogger(__name__)

SLEEP_S = 5
TRAININGS = 1
"""Concurrent trainings in one daemon: each uses all available memory and cores."""
PAUSE_S = 1


class Worker:
    """Runs up to `max_concurrent_tasks` tasks at once.

    Interactive tasks may use every slot, batch tasks all but `interactive_slots`, so that batches do not block
    interactive users. Trainings have a slot of their own: they run for hours in another process.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        queue: FairQueue,
        pubsub: PubSub,
        coordinator: AgentCoordinator,
        leases: Leases,
        settings: Settings,
        notices: EventNotices,
        lanes: tuple[Lane, ...] = (Lane.INTERACTIVE, Lane.BATCH),
    ) -> None:
        self.name = name
        self._database = database
        self._queue = queue
        self._pubsub = pubsub
        self._coordinator = coordinator
        self._leases = leases
        self._settings = settings
        self._notices = notices
        self._lanes = lanes
        self._running: dict[Lane, set[asyncio.Task[None]]] = {lane: set() for lane in lanes}
        self._freed = asyncio.Event()

    def wake(self) -> None:
        """Check the queue again, after a change of the number of slots."""
        self._freed.set()

    async def run(self, draining: asyncio.Event, hurry: asyncio.Event) -> None:
        """Work until `draining` is set; then let running tasks end until the drain limit, or until `hurry` is set, and
        requeue the rest."""
        keepers = [
            asyncio.create_task(keep_running("lease renewal", self._leases.renew_forever)),
            asyncio.create_task(keep_running("cancel notices", self._listen_for_cancels)),
        ]
        taking = asyncio.create_task(keep_running("taking of tasks", self._take_forever))
        stop = asyncio.create_task(draining.wait())
        try:
            await asyncio.wait([taking, stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
            for task in (taking, *keepers):
                if task.done():
                    task.result()
            await end(taking)
            await self._drain(hurry)
        finally:
            self._leases.stop_all(StopReason.DRAINED)
            await asyncio.gather(*self._all(), return_exceptions=True)
            for task in (taking, stop, *keepers):
                await end(task)

    async def _take_forever(self) -> None:
        while True:
            try:
                taken = await self._take()
                if not taken:
                    await self._wait()
            except EngineUnavailable as error:
                log.warning("no tasks can be taken: %s", error)
                await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))

    async def _take(self) -> int:
        count = 0
        for lane in self._lanes:
            if free := self._free(lane):
                for taken in await self._queue.take(lane, free):
                    self._start(taken)
                    count += 1
        return count

    def _free(self, lane: Lane) -> int:
        running = {lane: len(tasks) for lane, tasks in self._running.items()}
        if lane is Lane.TRAIN:
            return TRAININGS - running[lane]
        every, batch = self._settings.max_concurrent_tasks, running.get(Lane.BATCH, 0)
        free = every - batch - running.get(Lane.INTERACTIVE, 0)
        if lane is Lane.INTERACTIVE:
            return max(0, free)
        return max(0, min(free, max(1, every - self._settings.queue.interactive_slots) - batch))

    async def _wait(self) -> None:
        """Wait until a slot is free, or a lane with free slots may have a task."""
        self._freed.clear()
        lanes = [lane for lane in self._lanes if self._free(lane)]
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._freed.wait())]
        if lanes:
            waits.append(asyncio.create_task(self._queue.wait_for_work(lanes, SLEEP_S)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                await end(wait)

    def _start(self, taken: TakenTask) -> None:
        task = asyncio.create_task(self._run(taken), name=f"task {taken.task_id}")
        self._running[taken.lane].add(task)
        task.add_done_callback(lambda ended: self._end(taken.lane, ended))

    def _end(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._running[lane].discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("a run failed; its lease will expire and the task is retried", exc_info=error)

    async def _run(self, taken: TakenTask) -> None:
        outcome: Outcome | None = None
        claim: Claim | None = None
        try:
            claim = await self._claim(taken)
            if claim is not None:
                outcome = await self._coordinator.run(claim)
        finally:
            await self._give_back(taken, claim, outcome)

    async def _claim(self, taken: TakenTask) -> Claim | None:
        async with self._database.project(taken.project_id) as session:
            row = await tasks.claim(session, taken.task_id, self.name, self._leases.lease)
            if row is None:
                return None
            data = {"owner": self.name, "epoch": row.epoch}
            await history.add_event(session, taken.project_id, row.id, row.attempts, EventKind.RUNNING, data)
            project = await people.project(session, taken.project_id)
        self._notices.notify(taken.project_id)
        return claim_of(row, project.settings if project else {})

    async def _give_back(self, taken: TakenTask, claim: Claim | None, outcome: Outcome | None) -> None:
        """Mark the task as done in Redis, and requeue it if needed. If Redis is unreachable, the sweeper does it."""
        try:
            await self._queue.done(taken.lane, taken.project_id, taken.task_id)
            if claim and outcome and outcome.state is TaskState.QUEUED:
                await self._queue.put(
                    taken.lane,
                    taken.project_id,
                    taken.task_id,
                    priority=claim.priority,
                    order=as_order(claim.created_at),
                    due_in_s=outcome.retry_in_s or 0,
                )
        except EngineUnavailable as error:
            log.warning("the sweeper will update the queue for task %s: %s", taken.task_id, error)

    async def _listen_for_cancels(self) -> None:
        async for notice in self._pubsub.listen([redis_keys.cancel_channel(self.name)]):
            if isinstance(notice, Notice):
                with suppress(ValueError):  # not the id of a task
                    self._leases.stop(_task_id(notice.payload), StopReason.CANCELLED)
            else:
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Renew leases now, which reads cancel requests missed while the connection was lost."""
        try:
            await self._leases.renew()
        except KairosError as error:
            log.warning("missed cancels will be read at the next renewal: %s", error)

    async def _drain(self, hurry: asyncio.Event) -> None:
        for claim in self._leases.claims():
            if claim.lane is Lane.TRAIN:  # it resumes from its checkpoint, and would not end in time
                self._leases.stop(claim.task_id, StopReason.DRAINED)
        running = self._all()
        if not running:
            return
        limit = self._settings.queue.drain_s
        log.info("%d running tasks have %g s to end; send the signal again to requeue them now", len(running), limit)
        hurried = asyncio.create_task(hurry.wait())
        ended = asyncio.create_task(asyncio.wait(running, timeout=limit))
        await asyncio.wait([hurried, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in (hurried, ended):
            await end(task)

    def _all(self) -> list[asyncio.Task[None]]:
        return [task for tasks in self._running.values() for task in tasks]


def _task_id(payload: bytes) -> TaskId:
    return TaskId(UUID(payload.decode()))
