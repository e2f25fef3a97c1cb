"""Shares the router's statistics between replicas through PostgreSQL.

A judgement is first written to PostgreSQL, which determines its order (`repositories/routing/statistics.py`), and then
read back like those of other replicas, so that nothing is counted twice or in different orders. For models with few
judgements this happens immediately, with a notification to the others; later every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from kairos import redis_keys
from kairos.background_tasks import NO_JITTER, every, run_together
from kairos.config import RouterSettings
from kairos.db.engine import Database, ProjectGone, Session
from kairos.db.repositories.routing import statistics
from kairos.db.repositories.routing.statistics import Fading, Judgement, TaskTypeStatistics
from kairos.errors import EngineUnavailable
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId, new_id

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Maximum number of unwritten judgements while PostgreSQL is unavailable; the oldest are dropped first."""
MAX_TRIES = 5
TASK_TYPES_READ = 1000
"""The number that a process keeps per project."""


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """The measured quality of an answer."""

    judgement: Judgement
    urgent: bool
    """Whether it is shared with other replicas at once, because little is known about the model."""


StoreQualities = Callable[[Session], Awaitable[None]]
OnLearned = Callable[[ProjectId, TaskTypeStatistics], None]


async def store_nothing(session: Session) -> None:
    """The `StoreQualities` of a router without statistics."""


class SharedStatistics:
    """Writes judgements to PostgreSQL and loads the resulting statistics."""

    def __init__(
        self, database: Database, pubsub: PubSub, fading: Fading, settings: RouterSettings, learned: OnLearned
    ) -> None:
        self._database = database
        self._pubsub = pubsub
        self._fading = fading
        self._settings = settings
        self._learned = learned
        self._name = str(new_id())
        """Marks the notices of this process, which it ignores itself."""
        self._waiting: defaultdict[ProjectId, dict[UUID, Judgement]] = defaultdict(dict)
        self._versions: dict[ProjectId, dict[str, int]] = {}
        """For each loaded project, the known version of each task type."""
        self._locks: defaultdict[ProjectId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, project_id: ProjectId) -> None:
        """Load a project's statistics before its first call. Later calls return immediately."""
        if project_id in self._versions:
            return
        async with self._locks[project_id]:
            if project_id not in self._versions:
                await self._read(project_id)

    async def record(self, project_id: ProjectId, judgement: Judgement, *, at_once: bool) -> None:
        """Add a judgement. A later one on the same decision replaces one that is not written yet."""
        waiting = self._waiting[project_id]
        before = waiting.get(judgement.decision_id)
        if before is None or before.quality is None or judgement.source.overrules(before.source):
            waiting[judgement.decision_id] = judgement
        while len(waiting) > MAX_WAITING:
            waiting.pop(next(iter(waiting)))
        if at_once:
            with suppress(EngineUnavailable):  # the next flush writes it
                await self.flush(project_id)

    async def record_all(self, project_id: ProjectId, measured: Iterable[MeasuredAnswer]) -> None:
        for each in measured:
            await self.record(project_id, each.judgement, at_once=each.urgent)

    @asynccontextmanager
    async def storing(self, project_id: ProjectId, measured: Sequence[MeasuredAnswer]) -> AsyncIterator[StoreQualities]:
        """Record qualities with a result that the block stores.

        The yielded function, called at the end of the result's transaction, writes those that are urgent and loads the
        statistics that they change. The others are recorded when the block has ended.
        """
        urgent = [each.judgement for each in measured if each.urgent]

        async def store(session: Session) -> None:
            if urgent:
                await statistics.observe(session, project_id, urgent, self._fading)
                await self._load_changes(session, project_id)

        try:
            yield store
        except BaseException:
            if urgent:  # the loaded values may have been rolled back
                self._versions.pop(project_id, None)
            raise
        await self.record_all(project_id, [each for each in measured if not each.urgent])
        if urgent:
            await self.announce(project_id)

    async def announce(self, project_id: ProjectId) -> None:
        """Notify the other replicas that statistics have changed."""
        with suppress(EngineUnavailable):  # the others find it when they poll
            payload = f"{project_id} {self._name}".encode()
            await self._pubsub.publish(redis_keys.statistics_channel(), payload)

    async def flush(self, project_id: ProjectId) -> None:
        """Write pending judgements, read back what changed, and notify the other replicas. Raises
        `EngineUnavailable`."""
        async with self._locks[project_id]:
            batch = dict(self._waiting[project_id])
            if not batch:
                return
            try:
                await self._write(project_id, list(batch.values()))
            except ProjectGone:
                del self._waiting[project_id]
                self._versions.pop(project_id, None)
                return
            waiting = self._waiting[project_id]
            for decision_id, judgement in batch.items():
                if waiting.get(decision_id) is judgement:
                    del waiting[decision_id]
            await self._read(project_id)
        await self.announce(project_id)

    async def run(self) -> None:
        """Flush, poll and listen until cancelled. Runs as a background task of the daemon, which then calls `close`."""
        await run_together(
            every(lambda: self._settings.flush_s, self._flush_all, jitter=NO_JITTER, at_once=False),
            self._pubsub.follow(
                redis_keys.statistics_channel(), lambda: self._settings.poll_s, self._read_changed, at_once=False
            ),
        )

    async def close(self) -> None:
        """Write the pending judgements."""
        for project_id in list(self._waiting):
            try:
                await self.flush(project_id)
            except EngineUnavailable as error:
                log.warning("%d judgements were lost: %s", len(self._waiting[project_id]), error)

    async def _flush_all(self) -> None:
        for project_id in [project for project, waiting in self._waiting.items() if waiting]:
            try:
                await self.flush(project_id)
            except EngineUnavailable as error:
                log.warning("judgements cannot be written to PostgreSQL yet: %s", error)

    async def _read_changed(self, notices: frozenset[bytes] | None) -> None:
        """Read the statistics of the loaded projects that other processes changed, or of all."""
        changed = None if notices is None else self._changed_by_others(notices)
        for project_id in list(self._versions):
            if changed is None or str(project_id) in changed:
                await self._read_back(project_id)

    def _changed_by_others(self, notices: frozenset[bytes]) -> set[str]:
        parts = [notice.decode(errors="replace").partition(" ") for notice in notices]
        return {project_id for project_id, _, sender in parts if sender != self._name}

    async def _read_back(self, project_id: ProjectId) -> None:
        try:
            async with self._locks[project_id]:
                await self._read(project_id)
        except EngineUnavailable as error:
            log.warning("statistics of other replicas cannot be read: %s", error)

    async def _write(self, project_id: ProjectId, batch: list[Judgement]) -> None:
        for left in reversed(range(MAX_TRIES)):
            try:
                async with self._database.project(project_id) as session:
                    await statistics.observe(session, project_id, batch, self._fading)
                return
            except EngineUnavailable as error:
                if not left or not statistics.clashed(error):
                    raise
                await asyncio.sleep(random.uniform(0, 0.05))

    async def _read(self, project_id: ProjectId) -> None:
        async with self._database.project(project_id) as session:
            await self._load_changes(session, project_id)

    async def _load_changes(self, session: Session, project_id: ProjectId) -> None:
        known = self._versions.get(project_id, {})
        changed = await statistics.changed(session, project_id, self._fading, known, TASK_TYPES_READ)
        for task_type in changed:
            self._learned(project_id, task_type)
        self._versions[project_id] = {**known, **{task_type.task_type: task_type.version for task_type in changed}}
