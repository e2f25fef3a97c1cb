"""Tells all daemons in which projects events were committed, so that their listeners see them at once.

A notice may be lost: whoever listens looks into PostgreSQL each second all the same.
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
"""After Redis could not be reached."""


class EventNotices:
    """Whoever committed an event says so here, and waits for nothing: one sender at a time takes along all that came
    meanwhile, so that a burst of events is a handful of messages."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._projects: dict[ProjectId, None] = {}
        self._pending = asyncio.Event()

    def notify(self, project_id: ProjectId) -> None:
        """An event of this project was committed. Returns at once, whatever becomes of the notice."""
        self._projects[project_id] = None
        self._pending.set()

    async def run(self) -> None:
        """Owned by the daemon; ends with its cancellation."""
        while True:
            await self._pending.wait()
            self._pending.clear()
            payload = b",".join(str(project_id).encode() for project_id in self._projects)
            self._projects.clear()
            try:
                await self._pubsub.publish(redis_keys.events_channel(), payload)
            except EngineUnavailable as error:
                log.info("listeners find new events by looking: %s", error)
                await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))
