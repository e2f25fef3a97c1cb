"""The configuration of this replica: file and environment, overridden by values set through the API.

Those values are stored in PostgreSQL as versions. A Redis message announces a new version; without one it is found by
polling every second. If a version cannot be applied, the previous one stays in force and the status shows the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kairos import config_reference, redis_keys
from kairos.config import ApplyMode, Settings, with_overrides
from kairos.db.engine import Database
from kairos.db.repositories import configuration
from kairos.errors import EngineUnavailable, KairosError
from kairos.live_settings import LiveSettings
from kairos.pubsub import PubSub
from kairos.tenancy import NOBODY

log = logging.getLogger(__name__)

POLL_S = 1.0

Check = Callable[[Settings], None]
"""Raises a `KairosError` for settings that are well typed but cannot work, such as an unknown model."""
ReportStatus = Callable[[], Awaitable[None]]
"""Publishes this replica's status to the others at once."""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The configuration version in force on this replica."""

    version: int = 0
    """0: file and environment only."""
    error: str | None = None
    """The reason why a newer version could not be applied."""
    waiting: tuple[str, ...] = ()
    """Keys whose new values take effect at the next start."""


class Configuration:
    """Keeps the settings of this replica at the newest version."""

    def __init__(self, database: Database, pubsub: PubSub, base: Settings, check: Check) -> None:
        self.base = base
        """Settings from file and environment."""
        self.live = LiveSettings(base)
        self.status = ConfigStatus()
        self.check = check
        self.report: ReportStatus | None = None
        """Set by the daemon: sends a heartbeat, which includes `status`."""
        self._database = database
        self._pubsub = pubsub
        self._at_start: dict[str, Any] = {}
        """The stored values at startup of keys that are read only at a start."""
        self._seen = 0
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Apply the stored version before other components are built. Raises `EngineUnavailable`."""
        async with self._database.scope(NOBODY) as session:
            newest = await configuration.newest(session, None)
        if newest:
            self._at_start = {key: value for key, value in newest.values.items() if not _is_live(key)}
            await self._apply(newest)

    async def run(self) -> None:
        """Apply new versions until cancelled."""
        await self._pubsub.follow(
            redis_keys.config_channel(), POLL_S, self._refresh_and_report, _log_outage, jitter=(0.8, 1), at_once=False
        )

    async def refresh(self) -> bool:
        """Apply a newer version if there is one. Returns True if there was. Raises `EngineUnavailable`."""
        async with self._turn:
            async with self._database.scope(NOBODY) as session:
                if await configuration.newest_number(session, None) == self._seen:
                    return False
                newest = await configuration.newest(session, None)
            if newest:
                await self._apply(newest)
            return True

    async def notify(self) -> None:
        """Announce a new version to the other replicas and apply it here.

        The version is already stored and will be found by polling, so an unreachable engine is not an error.
        """
        with suppress(EngineUnavailable):
            await self._pubsub.publish(redis_keys.config_channel(), b"")
        try:
            await self._refresh_and_report()
        except EngineUnavailable as error:
            _log_outage(error)

    def wanted(self, overrides: Mapping[str, Any]) -> Settings:
        """File and environment with these overrides. Raises `InvalidConfig` and the errors of the check."""
        settings = with_overrides(self.base, overrides)
        self.check(settings)
        return settings

    async def _apply(self, newest: configuration.Version) -> None:
        self._seen = newest.number
        try:
            wanted = self.wanted(newest.values)
            live = {key: value for key, value in newest.values.items() if _is_live(key)}
            await self.live.apply(self.wanted({**self._at_start, **live}))
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

    async def _refresh_and_report(self, _: object = None) -> None:
        if await self.refresh() and self.report:
            await self.report()


def _log_outage(error: EngineUnavailable) -> None:
    log.warning("the configuration could not be refreshed: %s", error)


def _is_live(name: str) -> bool:
    key = config_reference.by_name().get(name)
    return key is None or key.reach is ApplyMode.LIVE
