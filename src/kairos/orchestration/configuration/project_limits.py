"""What a project may take of the queue: PostgreSQL says it, Redis holds it, and gets it again where it lost it.

An archived or deleted project has a cap of 0: its tasks wait, and none is handed out. The claim in PostgreSQL refuses
them as well, for the moment in which Redis does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from kairos.config import QueueSettings
from kairos.db.engine import Database
from kairos.db.repositories import projects
from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.configuration.project_settings import ProjectSettings
from kairos.orchestration.queue.queue import FairQueue
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)


class ProjectLimits:
    """Puts caps and weights to the queue."""

    def __init__(self, database: Database, queue: FairQueue, settings: QueueSettings) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings

    async def put(self, lane: Lane, project_id: ProjectId, status: projects.ProjectStatus) -> None:
        """Tell the queue. Raises `EngineUnavailable`."""
        settings = ProjectSettings.of(status.settings)
        cap = settings.cap(lane, self._settings.project_cap) if status.open else 0
        await self._queue.set_cap(lane, project_id, cap)
        await self._queue.set_weight(lane, project_id, settings.weight)

    async def refresh(self, project_id: ProjectId, lanes: Iterable[Lane] = tuple(Lane)) -> None:
        """Read the project's row and tell the queue. Raises `EngineUnavailable`."""
        async with self._database.project(project_id) as session:
            status = await projects.status(session, project_id)
        if status is not None:
            for lane in lanes:
                await self.put(lane, project_id, status)

    async def changed(self, project_id: ProjectId) -> None:
        """As `refresh`, after a change that stands already: what Redis misses now, the sweeper tells it."""
        try:
            await self.refresh(project_id)
        except EngineUnavailable as error:
            log.warning("the queue hears of the limits of project %s later: %s", project_id, error)
