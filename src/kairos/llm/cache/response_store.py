"""The response cache's data in Redis: one script per call, with a short timeout, and a pause after each failure."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.errors import EngineUnavailable
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_key import CacheKey
from kairos.redis_client import address, redis_errors
from kairos.tenancy import ProjectId

LUA = files("kairos.llm.cache").joinpath("response_cache.lua").read_text()

MAX_CONCURRENT = 16
"""Maximum concurrent calls. redis-py fails when its pool is exhausted, and the queue shares the pool."""
PAUSE_S = 1.0
"""Pause after a failure of Redis."""
PUT_S = 0.5
COMMAND_LIMIT_S = 5.0
"""For commands that must not be skipped: dropping, flushing, raising the epoch."""
MAX_TRIMS = 8


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Size limits and timeouts of the cache."""

    ttl_s: float = 86_400
    project_bytes: int = 32 * 1024 * 1024
    total_bytes: int | None = 256 * 1024 * 1024
    """Limit over all projects. Enforced shortly after a write by removing from the largest project: projects are in
    different slots of a Cluster, which a script may not span."""
    entry_bytes: int = 256 * 1024
    wait_s: float = 60
    """Maximum wait for another caller's answer, if the caller gives no shorter one."""
    lookup_budget_s: float = 0.1
    lease_s: float = 10
    """Lifetime of a lease: the delay until waiters notice that a process which calls a model has died."""
    hold_s: float = 900
    """Maximum time that a caller may hold a lease, from the lookup to the guardian's verdict."""


class PutResult(StrEnum):
    """The result of storing an answer."""

    STORED = "stored"
    VOID = "void"
    """The cache was flushed, or the epoch raised, since the lookup."""
    TOO_LARGE = "too_large"
    FULL = "full"
    """The limit was lowered, and old answers are still being removed."""
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer is in Redis."""

    answer: CachedAnswer


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """The answer is not in Redis. The caller may store it under this stamp, and holds the lease if it requested one."""

    stamp: str


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """The answer is not in Redis, and another caller is calling a model."""

    stamp: str
    holder: bytes


class ResponseStore:
    """Answers, leases and counters in Redis. Raises `EngineUnavailable` if Redis is unavailable or failed a moment
    ago."""

    def __init__(self, redis: Redis, settings: CacheSettings, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._script = redis.register_script(LUA)
        self.settings = settings
        self._total = redis_keys.response_cache_total(namespace)
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._retry_at = -math.inf
        self._failing = False

    async def ask(
        self, key: CacheKey, *, read: bool = True, token: str = ""
    ) -> StoredAnswer | LeaseGranted | LeaseHeld:
        """Return the answer, a lease under `token`, or the holder of the lease. Without a token no lease is
        requested."""
        arguments = (key.digest, int(key.follows_routing), int(read), token, self._lease_ms)
        state, *rest = await self._call_within_budget(key.project_id, "ask", *arguments)
        if state == b"hit":
            try:
                return StoredAnswer(CachedAnswer.unpack(rest[0].split(b" ", 3)[3]))
            except ValueError:  # invalid entry: drop it and call a model
                await self.drop(key)
                return await self.ask(key, read=False, token=token)
        return LeaseHeld(rest[0].decode(), rest[1]) if state == b"held" else LeaseGranted(rest[0].decode())

    async def put(self, key: CacheKey, token: str, stamp: str, answer: CachedAnswer) -> tuple[PutResult, int]:
        """Store an answer within the project's limit, and return the lease. Returns also the project's size in
        bytes."""
        packed = answer.pack()
        if len(packed) > self.settings.entry_bytes:
            await self.unlock(key, token)
            return PutResult.TOO_LARGE, 0
        ttl_ms = math.ceil(self.settings.ttl_s * 1000)
        state, amount = await self._call(
            redis_keys.response_cache(key.project_id),
            "put",
            key.digest,
            int(key.follows_routing),
            token,
            stamp,
            ttl_ms,
            self.settings.project_bytes,
            answer.decision_id.hex,
            packed,
            within_s=PUT_S,
        )
        return PutResult(state.decode()), amount

    async def renew(self, key: CacheKey, token: str) -> bool:
        """Renew a lease. Returns False if it no longer belongs to this token."""
        return bool(await self._call_within_budget(key.project_id, "renew", key.digest, token, self._lease_ms))

    async def unlock(self, key: CacheKey, token: str) -> None:
        await self._call_within_budget(key.project_id, "unlock", key.digest, token)

    async def drop(self, key: CacheKey) -> bool:
        return bool(await self._call_always(key.project_id, "drop", key.digest))

    async def drop_decision(self, project_id: ProjectId, decision_id: UUID) -> bool:
        return bool(await self._call_always(project_id, "drop_decision", decision_id.hex))

    async def flush(self, project_id: ProjectId) -> int:
        return await self._call_always(project_id, "flush")

    async def count(self, project_id: ProjectId, amounts: Mapping[str, int]) -> None:
        await self._call_within_budget(project_id, "count", *(value for pair in amounts.items() for value in pair))

    async def raise_epoch(self, project_id: ProjectId) -> int:
        return await self._call_always(project_id, "raise_epoch")

    async def stats(self, project_id: ProjectId) -> tuple[int, int, dict[str, int]]:
        """Return the number of entries, their bytes, and the counters."""
        entries, amount, about = await self._call_always(project_id, "stats")
        names = [name.decode() for name in about[::2]]
        return entries, amount, dict(zip(names, map(int, about[1::2]), strict=True))

    async def erase(self, project_id: ProjectId) -> None:
        """Remove an erased project from the total. Its own keys are removed with the project's other keys."""
        with redis_errors(self._redis):
            async with asyncio.timeout(COMMAND_LIMIT_S), self._slots:
                await self._script([self._total], ("report", str(project_id), 0))

    async def bound_total(self, project_id: ProjectId, amount: int) -> None:
        """Report a project's size, and bring the total of all projects below the limit.

        One other project, chosen at random, is measured too, because expired answers are not reported.
        """
        limit = self.settings.total_bytes
        if limit is None:
            return
        total, largest, most, other = await self._report(project_id, amount)
        if other != project_id:
            total, largest, most, _ = await self._report(other, await self._trim(other, self.settings.project_bytes))
        for _ in range(MAX_TRIMS):
            if total <= limit:
                return
            left = await self._trim(largest, max(0, most - (total - limit)))
            total, largest, most, _ = await self._report(largest, left)

    async def _trim(self, project_id: ProjectId, limit: int) -> int:
        return await self._call(redis_keys.response_cache(project_id), "trim", limit, within_s=PUT_S)

    async def _report(self, project_id: ProjectId, amount: int) -> tuple[int, ProjectId, int, ProjectId]:
        reply = await self._call(self._total, "report", str(project_id), amount, within_s=PUT_S)
        total, largest, most, other = reply
        return total, ProjectId(UUID(largest.decode())), most, ProjectId(UUID(other.decode()))

    @property
    def _lease_ms(self) -> int:
        return math.ceil(self.settings.lease_s * 1000)

    async def _call_within_budget(self, project_id: ProjectId, *arguments: Any) -> Any:
        stem = redis_keys.response_cache(project_id)
        return await self._call(stem, *arguments, within_s=self.settings.lookup_budget_s)

    async def _call_always(self, project_id: ProjectId, *arguments: Any) -> Any:
        """Call Redis even if it failed a moment ago, for commands that must not be skipped."""
        with redis_errors(self._redis):
            async with asyncio.timeout(COMMAND_LIMIT_S), self._slots:
                return await self._script([redis_keys.response_cache(project_id)], arguments)

    async def _call(self, stem: str, *arguments: Any, within_s: float) -> Any:
        sent = False
        try:
            with redis_errors(self._redis):
                async with asyncio.timeout(within_s), self._slots:
                    self._check_pause()
                    sent = True
                    answer = await self._script([stem], arguments)
        except EngineUnavailable:
            if sent:
                self._failing, self._retry_at = True, time.monotonic() + PAUSE_S
            raise
        self._failing = False
        return answer

    def _check_pause(self) -> None:
        """Raise during the pause after a failure. After the pause, one call tests Redis for all."""
        now = time.monotonic()
        if now < self._retry_at:
            reason = "it failed a moment ago"
            remedy = "Models are called without the cache until it recovers. See `kairos doctor`."
            raise EngineUnavailable(engine="Redis", address=address(self._redis), reason=reason, remedy=remedy)
        if self._failing:
            self._retry_at = now + PAUSE_S
