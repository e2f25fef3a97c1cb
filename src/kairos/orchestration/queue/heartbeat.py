"""This daemon among the others: a row that says it lives, and goes with it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from kairos.db.engine import Database
from kairos.db.repositories import replicas
from kairos.db.repositories.replicas import DaemonStatus
from kairos.errors import EngineUnavailable
from kairos.tenancy import NOBODY

log = logging.getLogger(__name__)

EVERY_S = 2.0


class Heartbeat:
    """Says every two seconds that this daemon lives. One that was killed is known by its silence."""

    def __init__(self, database: Database, name: str, status: Callable[[], DaemonStatus]) -> None:
        self._database = database
        self._name = name
        self._daemon_status = status

    async def run(self) -> None:
        """Owned by the daemon, which calls `leave` after it."""
        while True:
            try:
                await self.beat()
            except EngineUnavailable as error:
                log.warning("the other daemons do not hear of this one: %s", error)
            await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))

    async def beat(self) -> None:
        """Raises `EngineUnavailable`."""
        async with self._database.scope(NOBODY) as session:
            await replicas.beat(session, self._name, self._daemon_status())

    async def leave(self) -> None:
        """At a clean stop. Without PostgreSQL the silence says it."""
        try:
            async with self._database.scope(NOBODY) as session:
                await replicas.leave(session, self._name)
        except EngineUnavailable as error:
            log.warning("the other daemons learn of this stop by its silence: %s", error)
