"""What all replicas learned of the models: written together, and read back by each.

A judgement is first written to PostgreSQL, where its place among the others is settled (`repositories/statistics.py`),
and then read back like any other replica's: so that nothing is counted twice or in two orders. While little is known of
a model that happens at once and the others are told; later every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from kairos import redis_keys
from kairos.background_tasks import run_together
from kairos.config import RouterSettings
from kairos.db.engine import Database, ProjectGone
from kairos.db.repositories import statistics
from kairos.db.repositories.statistics import Fading, Judgement, TaskTypeStatistics
from kairos.errors import EngineUnavailable
from kairos.pubsub import Notice, PubSub
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Judgements that are held while PostgreSQL is away; the oldest go first."""
MAX_TRIES = 5
TASK_TYPES_READ = 1000
"""As many as a process keeps of a project."""

OnLearned = Callable[[ProjectId, TaskTypeStatistics], None]


class SharedStatistics:
    """The judgements on their way to PostgreSQL, and what came back from there."""

    def __init__(
        self, database: Database, pubsub: PubSub, fading: Fading, settings: RouterSettings, learned: OnLearned
    ) -> None:
        self._database = database
        self._pubsub = pubsub
        self._fading = fading
        self._settings = settings
        self._learned = learned
        self._waiting: defaultdict[ProjectId, dict[UUID, Judgement]] = defaultdict(dict)
        self._versions: dict[ProjectId, dict[str, int]] = {}
        """Of each project that was read, the version of each task type that is known here."""
        self._locks: defaultdict[ProjectId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, project_id: ProjectId) -> None:
        """On a project's first call, read what is known of it. Later calls return at once."""
        if project_id in self._versions:
            return
        async with self._locks[project_id]:
            if project_id not in self._versions:
                await self._read(project_id)

    async def record(self, project_id: ProjectId, judgement: Judgement, *, at_once: bool) -> None:
        """Count what was measured of an answer; a later word on the same decision replaces one that still waits."""
        waiting = self._waiting[project_id]
        before = waiting.get(judgement.decision_id)
        if before is None or before.quality is None or judgement.source.overrules(before.source):
            waiting[judgement.decision_id] = judgement
        while len(waiting) > MAX_WAITING:
            waiting.pop(next(iter(waiting)))
        if at_once:
            with suppress(EngineUnavailable):  # it waits for the next flush
                await self.flush(project_id)

    async def flush(self, project_id: ProjectId) -> None:
        """Write what waits, read back what changed, and tell the other replicas. Raises `EngineUnavailable`."""
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
        with suppress(EngineUnavailable):  # the others find it with their next poll
            await self._pubsub.publish(redis_keys.learned_channel(), str(project_id).encode())

    async def run(self) -> None:
        """Flush, poll and listen until cancelled. Owned by the daemon, which calls `close` after it."""
        await run_together(self._flush_forever(), self._poll_forever(), self._listen())

    async def close(self) -> None:
        """Write what still waits."""
        for project_id in list(self._waiting):
            try:
                await self.flush(project_id)
            except EngineUnavailable as error:
                log.warning("%d judgements are lost: %s", len(self._waiting[project_id]), error)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.flush_s)
            for project_id in [project for project, waiting in self._waiting.items() if waiting]:
                try:
                    await self.flush(project_id)
                except EngineUnavailable as error:
                    log.warning("what was learned waits for PostgreSQL: %s", error)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_s * random.uniform(0.8, 1.2))
            for project_id in list(self._versions):
                await self._read_back(project_id)

    async def _listen(self) -> None:
        async for heard in self._pubsub.listen([redis_keys.learned_channel()]):
            projects = list(self._versions)
            if isinstance(heard, Notice):
                named = heard.payload.decode(errors="replace")
                projects = [project for project in projects if str(project) == named]
            for project_id in projects:
                await self._read_back(project_id)

    async def _read_back(self, project_id: ProjectId) -> None:
        try:
            async with self._locks[project_id]:
                await self._read(project_id)
        except EngineUnavailable as error:
            log.warning("what others learned is not read: %s", error)

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
        known = self._versions.get(project_id, {})
        async with self._database.project(project_id) as session:
            changed = await statistics.changed(session, project_id, self._fading, known, TASK_TYPES_READ)
        for task_type in changed:
            self._learned(project_id, task_type)
        self._versions[project_id] = {**known, **{task_type.task_type: task_type.version for task_type in changed}}
