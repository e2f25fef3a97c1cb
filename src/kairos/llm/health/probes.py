"""Cheap looks at the servers of models that nobody called lately: whether they can be reached at all.

Decided so: a server that cannot be reached is as good as three failed calls, so its breaker opens before a user's call
fails, and while it stays away no call is spent on it. A server that can be reached is believed to be back only where it
was away: one that listed its models while it answered 500 to every chat closes nothing. Every HTTP status counts as
reached: keys may be allowed to chat and not to list, and not every server lists.

Looked at are the servers of the configured models. Adapters have no looks of their own: calls tell of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Iterable

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import run_together
from kairos.errors import EngineUnavailable
from kairos.http import CallPhase, HttpError, HttpTimeout, HttpUnreachable
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.breaker import ERRORS_IN_A_ROW, BreakerState
from kairos.llm.health.health import ModelHealth
from kairos.redis_client import redis_errors

LOCAL_INTERVAL_S = 20.0
UNREACHABLE_INTERVAL_S = 5.0
"""A server on own hardware that was away is looked at this often, so that its return is noticed."""
CLOUD_INTERVAL_S = 300.0
JITTER = 0.2
CONFIRM_S = 0.5
"""Between the looks that make sure of a server that was not reached."""
PROBE_TIMEOUT_S = 3.0
LOCK_TIMEOUT_S = 1.0


class Probes:
    """Looks at each quiet server now and then; one replica does it for all."""

    def __init__(
        self,
        models: Iterable[Model],
        health: ModelHealth,
        providers: Providers,
        redis: Redis,
        *,
        namespace: str = redis_keys.NAMESPACE,
        interval_s: float | None = None,
    ) -> None:
        """`interval_s` replaces the times above, for tests."""
        self._servers = [_Server(models) for models in _by_server(models)]
        self._health = health
        self._providers = providers
        self._redis = redis
        self._namespace = namespace
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled. Owned by the daemon."""
        if not self._servers:
            await asyncio.Event().wait()
        await run_together(*(self._watch(server) for server in self._servers))

    async def _watch(self, server: _Server) -> None:
        """Each server for itself: one that hangs makes no other wait."""
        while True:
            interval_s = self._pause_s(server)
            await asyncio.sleep(interval_s * random.uniform(1 - JITTER, 1 + JITTER))
            if self._is_quiet(server, interval_s) and await self._acquire_lock(server, interval_s):
                await self._probe(server)

    async def _probe(self, server: _Server) -> None:
        for number in range(ERRORS_IN_A_ROW):
            if number:
                await asyncio.sleep(CONFIRM_S * random.uniform(0.5, 1))
            problem = await self._problem(server.model)
            for model in server.models:
                if problem:
                    self._health.unreachable(model.name, problem, time.time())
                else:
                    self._health.reachable(model.name, time.time())
            if not problem or self._is_open(server):
                return

    async def _problem(self, model: Model) -> str:
        """Why there was no connection; empty where there was one."""
        try:
            await self._providers.list_models(model.base_url, model.api_key, timeout_s=PROBE_TIMEOUT_S)
        except HttpTimeout as error:
            return str(error) if error.phase is CallPhase.CONNECT else ""
        except HttpUnreachable as error:
            return str(error) if isinstance(error.__cause__, OSError) else ""
        except HttpError:
            return ""
        return ""

    def _pause_s(self, server: _Server) -> float:
        if self._interval_s is not None:
            return self._interval_s
        if not server.model.local:
            return CLOUD_INTERVAL_S
        return UNREACHABLE_INTERVAL_S if self._is_unreachable(server) else LOCAL_INTERVAL_S

    def _is_unreachable(self, server: _Server) -> bool:
        return any(self._health.is_unreachable(model.name) for model in server.models)

    def _is_open(self, server: _Server) -> bool:
        states = (self._health.snapshot(model.name)[0].state(time.time()) for model in server.models)
        return all(state is not BreakerState.CLOSED for state in states)

    def _is_quiet(self, server: _Server, interval_s: float) -> bool:
        """Calls say more than a look can, so a server that is called needs none; one that is away always does."""
        called_at = max(self._health.last_called_at(model.name) for model in server.models)
        return self._is_unreachable(server) or time.time() - called_at >= interval_s

    async def _acquire_lock(self, server: _Server, interval_s: float) -> bool:
        """The lock stays for most of the pause: whoever comes next within it has nothing to look for."""
        try:
            with redis_errors(self._redis):
                async with asyncio.timeout(LOCK_TIMEOUT_S):
                    key = redis_keys.server_probe(server.digest, self._namespace)
                    lock_s = interval_s * (1 - JITTER)
                    return bool(await self._redis.set(key, 1, nx=True, px=max(1, int(lock_s * 1000))))
        except EngineUnavailable:
            return server.model.local  # a provider in the cloud is not asked by every replica


class _Server:
    """The models behind one address and credential: one look tells of all."""

    def __init__(self, models: list[Model]) -> None:
        self.models = models
        self.model = models[0]
        parts = (self.model.base_url, self.model.api_key or "")
        self.digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _by_server(models: Iterable[Model]) -> list[list[Model]]:
    servers: defaultdict[tuple[str, str | None, bool], list[Model]] = defaultdict(list)
    for model in models:
        servers[model.base_url, model.api_key, model.local].append(model)
    return list(servers.values())
