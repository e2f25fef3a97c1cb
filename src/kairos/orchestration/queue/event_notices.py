"""Notifies all daemons of projects with newly committed events, so that live clients receive them at once.

A notice may be lost: daemons with live clients also poll PostgreSQL every second.
"""

from __future__ import annotations

import asyncio
import logging
import random

from kairos import redis_keys
from kairos.errors import EngineUnavailable
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Pause after Redis could not be reached."""


class EventNotices:
    """Collects notices and publishes them in the background. Notices that arrive during a publish are sent together,
    so a
    burst of events needs few messages."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._projects: dict[ProjectId, None] = {}
        self._pending = asyncio.Event()

    def notify(self, project_id: ProjectId) -> None:
        """Announce a committed event of this project. Returns at once; delivery is not guaranteed."""
        self._projects[project_id] = None
        self._pending.set()

    async def run(self) -> None:
        """Publish notices until cancelled."""
        while True:
            await self._pending.wait()
            self._pending.clear()
            payload = b",".join(str(project_id).encode() for project_id in self._projects)
            self._projects.clear()
            try:
                await self._pubsub.publish(redis_keys.events_channel(), payload)
            except EngineUnavailable as error:
                log.info("new events are found by polling: %s", error)
                await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))
