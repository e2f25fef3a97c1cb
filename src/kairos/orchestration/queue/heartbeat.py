"""Heartbeat: keeps this daemon's row in `replicas` up to date, and deletes it at a clean stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from kairos.background_tasks import every
from kairos.db.engine import Database
from kairos.db.repositories.queue import replicas
from kairos.db.repositories.queue.replicas import DaemonStatus
from kairos.errors import EngineUnavailable
from kairos.tenancy import NOBODY

log = logging.getLogger(__name__)

EVERY_S = 2.0


class Heartbeat:
    """Writes this daemon's status every two seconds. A daemon without recent heartbeats counts as dead."""

    def __init__(self, database: Database, name: str, status: Callable[[], DaemonStatus]) -> None:
        self._database = database
        self._name = name
        self._daemon_status = status

    async def run(self) -> None:
        """Send heartbeats until cancelled. The daemon calls `leave` afterwards."""
        await every(EVERY_S, self.beat, partial(log.warning, "heartbeat failed: %s"))

    async def beat(self) -> None:
        """Write the status once. Raises `EngineUnavailable`."""
        async with self._database.scope(NOBODY) as session:
            await replicas.beat(session, self._name, self._daemon_status())

    async def leave(self) -> None:
        """Delete the row at a clean stop. Without PostgreSQL the missing heartbeats mark this daemon as dead."""
        try:
            async with self._database.scope(NOBODY) as session:
                await replicas.leave(session, self._name)
        except EngineUnavailable as error:
            log.warning("the other daemons will notice this stop by missing heartbeats: %s", error)
