"""Caps and weights of projects in the queue: stored in PostgreSQL, copied to Redis, and restored there after data loss.

An archived or deleted project has a cap of 0, so its tasks wait. The claim in PostgreSQL rejects them as well, in case
Redis is not up to date.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from kairos.config import QueueSettings
from kairos.db.engine import Database
from kairos.db.repositories.projects import projects
from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.queue.queue import FairQueue
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)


class ProjectLimits:
    """Writes caps and weights to the queue."""

    def __init__(self, database: Database, queue: FairQueue, settings: QueueSettings) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings

    async def put(self, lane: Lane, project_id: ProjectId, status: projects.ProjectStatus) -> None:
        """Write a project's cap and weight to a lane of the queue. Raises `EngineUnavailable`."""
        settings = ProjectSettings.of(status.settings)
        cap = settings.cap(lane, self._settings.project_cap) if status.open else 0
        await self._queue.set_cap(lane, project_id, cap)
        await self._queue.set_weight(lane, project_id, settings.weight)

    async def refresh(self, project_id: ProjectId, lanes: Iterable[Lane] = tuple(Lane)) -> None:
        """Read the project's limits and write them to the queue. Raises `EngineUnavailable`."""
        async with self._database.project(project_id) as session:
            status = await projects.status(session, project_id)
        if status is not None:
            for lane in lanes:
                await self.put(lane, project_id, status)

    async def changed(self, project_id: ProjectId) -> None:
        """As `refresh`, after a committed change: if Redis is unreachable, the sweeper writes the limits later."""
        try:
            await self.refresh(project_id)
        except EngineUnavailable as error:
            log.warning("the limits of project %s will be written to the queue later: %s", project_id, error)
