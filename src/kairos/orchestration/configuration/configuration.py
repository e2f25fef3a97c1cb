"""The configuration as this replica runs it: file and environment, and above them what people set through the API.

What they set stands in PostgreSQL, in versions. A notice over Redis says that there is a new one, and a look every
second finds it without one. A version that cannot be applied here leaves the one before in force, and shows why.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kairos import config_reference, redis_keys
from kairos.background_tasks import together
from kairos.config import Reach, Settings, overridden
from kairos.db.engine import Database
from kairos.db.repositories import configuration
from kairos.errors import EngineUnavailable, KairosError
from kairos.live_settings import LiveSettings
from kairos.pubsub import PubSub
from kairos.tenancy import NOBODY

log = logging.getLogger(__name__)

POLL_S = 1.0

Check = Callable[[Settings], None]
"""Raises a `KairosError` where what the types allow cannot work: a model that the catalogue does not have."""
ReportStatus = Callable[[], Awaitable[None]]
"""Tells the other replicas, at once, what this one runs now."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """What this replica runs."""

    version: int = 0
    """Of the configuration in force; 0 is file and environment alone."""
    error: str | None = None
    """Why it does not run a newer one."""
    waiting: tuple[str, ...] = ()
    """Keys whose new values are taken at the next start."""


class Configuration:
    """Keeps the settings of this replica at the newest version."""

    def __init__(self, database: Database, signals: PubSub, base: Settings, check: Check) -> None:
        self.base = base
        """From file and environment."""
        self.live = LiveSettings(base)
        self.status = ConfigStatus()
        self.check = check
        self.report: ReportStatus | None = None
        """Of the heartbeat, which in turn tells what stands here."""
        self._database = database
        self._signals = signals
        self._at_start: dict[str, Any] = {}
        """What was set then of the values that are only read at a start."""
        self._seen = 0
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Take what is stored, before any part is built. Raises `EngineUnavailable`."""
        async with self._database.scope(NOBODY) as session:
            newest = await configuration.newest(session, None)
        if newest:
            self._at_start = {key: value for key, value in newest.values.items() if not _is_live(key)}
            await self._apply(newest)

    async def run(self) -> None:
        """Owned by the daemon; ends with its cancellation."""
        await together(self._poll(), self._listen())

    async def refresh(self) -> bool:
        """Take a newer version, if there is one; whether there was. Raises `EngineUnavailable`."""
        async with self._turn:
            async with self._database.scope(NOBODY) as session:
                if await configuration.newest_number(session, None) == self._seen:
                    return False
                newest = await configuration.newest(session, None)
            if newest:
                await self._apply(newest)
            return True

    async def notify(self) -> None:
        """There is a new version: here at once, in the other replicas by a notice, or by their own look. It stands
        already, so an engine that is away now is no error."""
        with suppress(EngineUnavailable):
            await self._signals.publish(redis_keys.config_channel(), b"")
        await self._refresh_if_possible()

    def wanted(self, overrides: Mapping[str, Any]) -> Settings:
        """The settings that these overrides make of file and environment here. Raises `InvalidConfig` and what the
        check raises."""
        settings = overridden(self.base, overrides)
        self.check(settings)
        return settings

    async def _apply(self, newest: configuration.Version) -> None:
        self._seen = newest.number
        try:
            wanted = self.wanted(newest.values)
            live = {key: value for key, value in newest.values.items() if _is_live(key)}
            await self.live.take(self.wanted({**self._at_start, **live}))
        except Exception as error:
            reason = str(error) if isinstance(error, KairosError) else f"{type(error).__name__}: {error}"
            log.exception("version %d of the configuration is not applied here", newest.number)
            self.status = ConfigStatus(self.status.version, f"version {newest.number}: {reason}", self.status.waiting)
            return
        self.status = ConfigStatus(newest.number, None, tuple(self._waiting(wanted)))
        log.info("version %d of the configuration is in force", newest.number)

    def _waiting(self, wanted: Settings) -> list[str]:
        value_of, now = config_reference.value_of, self.live.now
        return [name for name in config_reference.by_name() if value_of(wanted, name) != value_of(now, name)]

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S * random.uniform(0.8, 1))
            await self._refresh_if_possible()

    async def _listen(self) -> None:
        async for _ in self._signals.listen([redis_keys.config_channel()]):
            await self._refresh_if_possible()

    async def _refresh_if_possible(self) -> None:
        try:
            if await self.refresh() and self.report:
                await self.report()
        except EngineUnavailable as error:
            log.warning("the configuration stays as it is for now: %s", error)


def _is_live(name: str) -> bool:
    key = config_reference.by_name().get(name)
    return key is None or key.reach is Reach.LIVE
