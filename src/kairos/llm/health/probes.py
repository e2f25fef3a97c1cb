"""Connection probes of the servers of idle models.

A server that cannot be reached counts as three failed calls: its breaker opens before a user's call fails, and no call
is spent on it while it is unreachable. A server that can be reached is considered recovered only if it was unreachable,
because a server may list its models and still answer 500 to every chat. Every HTTP status counts as reached: keys may
be allowed to chat but not to list, and not every server supports listing.

The servers of configured models and of shared stored ones are probed. The health of adapters and of projects' own
models depends on calls alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import end, every
from kairos.errors import EngineUnavailable
from kairos.http import CallPhase, HttpError, HttpTimeout, HttpUnreachable
from kairos.llm.calls.provider_errors import UnknownProtocol
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.breaker import ERRORS_IN_A_ROW, BreakerState
from kairos.llm.health.health import ModelHealth
from kairos.redis_client import redis_errors

LOCAL_INTERVAL_S = 20.0
UNREACHABLE_INTERVAL_S = 5.0
"""Interval for an unreachable local server, so that its return is noticed."""
CLOUD_INTERVAL_S = 300.0
JITTER = 0.2
CONFIRM_S = 0.5
"""Interval between the probes that confirm that a server is unreachable."""
PROBE_TIMEOUT_S = 3.0
LOCK_TIMEOUT_S = 1.0


class Probes:
    """Probes each idle server regularly; one replica does so for all."""

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
        """`interval_s` replaces the intervals above, for tests."""
        self._servers = [_Server(models) for models in _by_server(models)]
        self._watches: dict[_Server, asyncio.Task[None]] = {}
        self._replaced = asyncio.Event()
        self._health = health
        self._providers = providers
        self._redis = redis
        self._namespace = namespace
        self._interval_s = interval_s

    def replace_models(self, models: Iterable[Model]) -> None:
        """Probe the servers of these models from now on. Unchanged servers keep their intervals."""
        before = {server.key: server for server in self._servers}
        servers = []
        for group in _by_server(models):
            server = _Server(group)
            known = before.get(server.key)
            if known:
                known.models = group
            servers.append(known or server)
        self._servers = servers
        for server in set(self._watches) - set(servers):
            self._watches.pop(server).cancel()
        self._replaced.set()

    async def run(self) -> None:
        """Probe until cancelled. Runs as a background task of the daemon. Raises the errors of a probe."""
        try:
            while True:
                self._replaced.clear()
                for server in self._servers:
                    if server not in self._watches:
                        self._watches[server] = asyncio.create_task(self._watch(server))
                waiting = asyncio.create_task(self._replaced.wait())
                try:
                    await asyncio.wait([waiting, *self._watches.values()], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await end(waiting)
                for watch in self._watches.values():
                    if watch.done():
                        watch.result()
        finally:
            await end(*self._watches.values())
            self._watches.clear()

    async def _watch(self, server: _Server) -> None:
        """Probe one server in a loop of its own, so that a hanging server delays no other."""

        def next_interval_s() -> float:
            server.interval_s = self._pause_s(server)
            return server.interval_s

        await every(
            next_interval_s, partial(self._probe_if_idle, server), jitter=(1 - JITTER, 1 + JITTER), at_once=False
        )

    async def _probe_if_idle(self, server: _Server) -> None:
        if self._is_idle(server) and await self._acquire_lock(server):
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
        """Return why there was no connection; empty if there was one."""
        try:
            await self._providers.list_models(
                model.base_url,
                model.api_key,
                timeout_s=PROBE_TIMEOUT_S,
                protocol=model.protocol,
                headers=model.headers,
                ca=model.ca,
            )
        except HttpTimeout as error:
            return str(error) if error.phase is CallPhase.CONNECT else ""
        except HttpUnreachable as error:
            return str(error) if isinstance(error.__cause__, OSError) else ""
        except (HttpError, UnknownProtocol):
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

    def _is_idle(self, server: _Server) -> bool:
        """Whether the server has had no calls for the interval. Calls make probes unnecessary; an unreachable server is
        always probed."""
        called_at = max(self._health.last_called_at(model.name) for model in server.models)
        return self._is_unreachable(server) or time.time() - called_at >= server.interval_s

    async def _acquire_lock(self, server: _Server) -> bool:
        """Take the lock for most of the interval, so that no other replica probes within it."""
        try:
            with redis_errors(self._redis):
                async with asyncio.timeout(LOCK_TIMEOUT_S):
                    key = redis_keys.server_probe(server.digest, self._namespace)
                    lock_s = server.interval_s * (1 - JITTER)
                    return bool(await self._redis.set(key, 1, nx=True, px=max(1, int(lock_s * 1000))))
        except EngineUnavailable:
            return server.model.local  # cloud providers are not probed by every replica


class _Server:
    """The models behind one address, credential and protocol, which one probe covers."""

    def __init__(self, models: list[Model]) -> None:
        self.models = models
        self.key = _server_key(models[0])
        self.interval_s = 0.0
        """The time before the next probe."""
        parts = (self.model.base_url, self.model.api_key or "", self.model.protocol)
        self.digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def model(self) -> Model:
        """Any of its models: they have the same address and credential."""
        return self.models[0]


_ServerKey = tuple[str, str | None, str, bool, frozenset[tuple[str, str]], str | None]


def _server_key(model: Model) -> _ServerKey:
    headers = frozenset(model.headers.items())
    return model.base_url, model.api_key, model.protocol, model.local, headers, model.ca


def _by_server(models: Iterable[Model]) -> list[list[Model]]:
    servers: defaultdict[_ServerKey, list[Model]] = defaultdict(list)
    for model in models:
        if model.problem is None and not model.public_only:
            servers[_server_key(model)].append(model)
    return list(servers.values())
