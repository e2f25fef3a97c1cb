"""The state of the components that a daemon depends on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from kairos.components import ComponentState, ComponentStatus
from kairos.db.engine import Database
from kairos.embedded import EmbeddedEngines
from kairos.embedded.engine import EngineCondition
from kairos.errors import EngineUnavailable
from kairos.llm.catalog.stored_models import StoredModels
from kairos.llm.routing.llm_router import LLMRouter
from kairos.redis_client import check_writable

log = logging.getLogger(__name__)

PING_LIMIT_S = 3


class Readiness:
    """Checks PostgreSQL, Redis, the models, the keys of stored providers and the embedded engines."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        router: LLMRouter,
        stored: StoredModels,
        engines: EmbeddedEngines | None,
    ) -> None:
        self._database = database
        self._redis = redis
        self._router = router
        self._stored = stored
        self._engines = engines

    async def components(self) -> dict[str, ComponentStatus]:
        """The state of each component by name. Provider keys and embedded engines are included only
        if there is a problem with them."""
        found: dict[str, ComponentStatus] = {
            "postgresql": await _state(self._database.ping),
            "redis": await _redis_state(self._redis),
            "models": self._router.readiness(),
        }
        keys = self._stored.readiness()
        if keys.state is not ComponentState.OK:
            found["provider keys"] = keys
        for name, engine in (self._engines.states() if self._engines else {}).items():
            if engine.state is not EngineCondition.RUNNING:
                cause = engine.missing_library or engine.not_installed or "the daemon's log has the cause"
                found[f"embedded {name}"] = ComponentStatus(ComponentState.DEGRADED, f"{engine.state}: {cause}")
        return found


async def _redis_state(redis: Any) -> ComponentStatus:
    """The state of Redis: degraded if it refuses writes, because caching, limits and the queue then stop."""
    state = await _state(redis.ping)
    if state.state is not ComponentState.OK:
        return state
    try:
        await check_writable(redis)
    except (EngineUnavailable, TimeoutError) as error:
        log.warning("Redis refuses writes: %s", error)
        remedy = error.values["remedy"] if isinstance(error, EngineUnavailable) else "See `kairos doctor`."
        return ComponentStatus(ComponentState.DEGRADED, f"it answers but refuses writes. {remedy}")
    return state


async def _state(ping: Callable[[], Awaitable[Any]]) -> ComponentStatus:
    try:
        async with asyncio.timeout(PING_LIMIT_S):
            await ping()
    except Exception as error:  # includes errors of client libraries: in every case the component is unavailable
        # The readiness endpoint is public, so addresses and driver messages go to the log only.
        log.warning("a component is unavailable: %s", str(error) or "no answer within 3 s")
        return ComponentStatus(ComponentState.AWAY, "it does not answer; the daemon's log has the cause")
    return ComponentStatus(ComponentState.OK)
