"""Approved answers of deterministic requests, asked for before the router ranks any model.

    found = await cache.lookup(key, wait_s=left)
    if isinstance(found, Hit):
        return found.answer.completion()
    ...                                       # the model answers, the guardian judges
    await cache.store(found.lease, answer)    # approved; anything else: cache.release(found.lease)

Identical requests at the same time make one model call: the first gets the lease, the others wait for what it stores.
Within the process they wait on a future; one of them asks Redis for all, where the leases of other processes are. It
asks again after a tenth of the time it has waited, so that nothing hangs on a message that may be lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import raise_if_cancelled
from kairos.errors import EngineUnavailable
from kairos.llm.cache.cache_savings import CacheStats, Savings
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_key import CacheKey
from kairos.llm.cache.response_store import (
    CacheSettings,
    LeaseGranted,
    LeaseHeld,
    PutResult,
    ResponseStore,
    StoredAnswer,
)
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

MAX_FAILED_WAITS = 2
"""Ends without an answer that a waiter lives through before it asks a model by itself. The key holds the checks, so
what was rejected for one is rejected for all, and waiting in turn would only make them late."""
PAUSES_S = (0.02, 0.25)
"""Between two looks at another process's lease, at least and at most."""

Flight = asyncio.Future[CachedAnswer | None]
"""What those in this process that want the same answer wait on. None: there is none. Cancelled: another must lead."""


@dataclass(eq=False, slots=True)
class Lease:
    """The right to store one answer; shared when others wait for it. Given back by `store` or `release`."""

    key: CacheKey
    token: str = ""
    mark: str | None = None
    """What Redis must still say of the project when the answer comes; None when Redis was away: nothing is stored."""
    flight: Flight | None = None
    until: float = math.inf
    ended: bool = False

    @property
    def shared(self) -> bool:
        return self.flight is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """An approved answer. It is no observation of a model's quality, speed or price."""

    answer: CachedAnswer


@dataclass(frozen=True, slots=True)
class Miss:
    """A model must be asked. `degraded` when that is because Redis is away."""

    lease: Lease
    degraded: bool = False


class ResponseCache:
    """The answers of all projects. Its lookups never fail: with Redis away they are misses."""

    def __init__(
        self, redis: Redis, settings: CacheSettings = CacheSettings(), *, namespace: str = redis_keys.NAMESPACE
    ) -> None:
        self._settings = settings
        self._store = ResponseStore(redis, settings, namespace)
        self._savings = Savings(self._store)
        self._flights: dict[CacheKey, Flight] = {}
        self._leases: set[Lease] = set()
        self._renewal: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def resize(self, settings: CacheSettings) -> None:
        """These limits and times hold from the next store or lookup on."""
        self._settings = settings
        self._store.settings = settings

    async def lookup(self, key: CacheKey, *, refresh: bool = False, wait_s: float | None = None) -> Hit | Miss:
        """The answer, or the right to store it. With `refresh` what is stored is not looked at (`no-cache`).

        Waits at most `wait_s`, and never beyond the settings' limit, for an answer that another caller is getting.
        """
        end = time.monotonic() + min(self._settings.wait_s, math.inf if wait_s is None else wait_s)
        ends_without = 0
        while not refresh and ends_without < MAX_FAILED_WAITS:
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, end)
            await asyncio.wait([flight], timeout=max(0, end - time.monotonic()))
            if not flight.done():
                break
            if flight.cancelled():
                continue
            if answer := flight.result():
                return self._hit(key, answer)
            ends_without += 1
        return await self._lookup_now(key, read=not refresh)

    async def store(self, lease: Lease, answer: CachedAnswer) -> bool:
        """Keep an answer that was approved, and give it to all that wait. Whether it is kept; only once for a lease."""
        if lease.ended:
            return False
        lease.ended = True
        try:
            outcome, amount = await self._put(lease, answer)
        except BaseException:
            self._spawn(self._give_back(lease))
            raise
        self._end(lease, None if outcome is PutResult.VOID else answer)
        if outcome is PutResult.STORED:
            self._spawn(self._store.bound_total(lease.key.project_id, amount))
        return outcome is PutResult.STORED

    def release(self, lease: Lease) -> None:
        """There is nothing to store: the call failed, was cancelled, or its answer rejected. One that waits goes on."""
        if not lease.ended:
            lease.ended = True
            self._spawn(self._give_back(lease))

    async def drop(self, key: CacheKey) -> bool:
        """Forget one answer, rejected after all. Whether there was one. Raises `EngineUnavailable`: try again."""
        return await self._store.drop(key)

    async def drop_decision(self, project_id: ProjectId, decision_id: UUID) -> bool:
        """Forget the answer that came from this decision. Whether there was one. Raises `EngineUnavailable`."""
        return await self._store.drop_decision(project_id, decision_id)

    async def flush(self, project_id: ProjectId) -> int:
        """Forget all answers of a project, those on their way as well. How many were stored.

        Raises `EngineUnavailable`.
        """
        return await self._store.flush(project_id)

    async def erase(self, project_id: ProjectId) -> None:
        """For the erasure of a project: nothing of it is counted any more. Raises `EngineUnavailable`."""
        self._savings.discard(project_id)
        await self._store.erase(project_id)

    async def epoch(self, project_id: ProjectId) -> int:
        """How often the project's routing has changed. Raises `EngineUnavailable`."""
        return (await self.stats(project_id)).epoch

    async def bump_epoch(self, project_id: ProjectId) -> int:
        """Routing has changed: answers of `auto` are void, those of named models stay. The new epoch.

        Raises `EngineUnavailable`: try again.
        """
        return await self._store.raise_epoch(project_id)

    async def stats(self, project_id: ProjectId) -> CacheStats:
        """What the cache holds and what it saved. Other daemons' last fifth of a second may be missing.

        Raises `EngineUnavailable`.
        """
        return await self._savings.stats(project_id)

    async def aclose(self) -> None:
        """Give every lease back, and send the last counts."""
        for lease in list(self._leases):
            self.release(lease)
        if self._renewal:
            self._renewal.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._savings.aclose()

    async def _lead(self, key: CacheKey, end: float) -> Hit | Miss:
        """Ask Redis for all in this process that want the same. Whoever gives up lets another lead."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        lease = Lease(key, uuid4().hex, flight=flight)
        try:
            found = await self._ask_redis(lease, end)
        except EngineUnavailable as error:
            log.debug("asked without the cache: %s", error)
            return self._miss(lease, degraded=True)
        except BaseException:
            self._resign(lease)
            self._spawn(self._unlock(lease))  # Redis may have given it before we left
            raise
        if isinstance(found, StoredAnswer):
            self._end(lease, found.answer)
            return self._hit(key, found.answer)
        lease.mark = found.mark
        if isinstance(found, LeaseHeld):
            self._resign(lease)
            return self._miss(Lease(key, mark=found.mark))
        return self._miss(lease)

    async def _ask_redis(self, lease: Lease, end: float) -> StoredAnswer | LeaseGranted | LeaseHeld:
        """What Redis has to say once nobody else is at it, or at the end of the time or of the patience."""
        began, holders = time.monotonic(), set[bytes]()
        while True:
            found = await self._store.ask(lease.key, token=lease.token)
            raise_if_cancelled()
            if not isinstance(found, LeaseHeld):
                return found
            holders.add(found.holder)
            now = time.monotonic()
            if now >= end or len(holders) > MAX_FAILED_WAITS:
                return found
            pause = min(max((now - began) / 10, PAUSES_S[0]), PAUSES_S[1]) * random.uniform(0.5, 1)
            await asyncio.sleep(min(pause, end - now))

    async def _lookup_now(self, key: CacheKey, *, read: bool) -> Hit | Miss:
        """Without waiting, and with nobody waiting for the outcome."""
        try:
            found = await self._store.ask(key, read=read)
        except EngineUnavailable:
            return self._miss(Lease(key), degraded=True)
        if isinstance(found, StoredAnswer):
            return self._hit(key, found.answer)
        return self._miss(Lease(key, mark=found.mark))

    def _hit(self, key: CacheKey, answer: CachedAnswer) -> Hit:
        self._savings.hit(key.project_id, answer)
        return Hit(answer)

    def _miss(self, lease: Lease, degraded: bool = False) -> Miss:
        self._savings.miss(lease.key.project_id)
        if lease.shared:
            lease.until = time.monotonic() + self._settings.hold_s
            self._leases.add(lease)
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._renew_leases())
        return Miss(lease, degraded)

    async def _put(self, lease: Lease, answer: CachedAnswer) -> tuple[PutResult, int]:
        if lease.mark is None:
            self._spawn(self._unlock(lease))  # Redis may have given it, and its word was lost
            return PutResult.AWAY, 0
        try:
            return await self._store.put(lease.key, lease.token, lease.mark, answer)
        except EngineUnavailable as error:
            log.debug("an answer is not cached: %s", error)
            return PutResult.AWAY, 0

    def _end(self, lease: Lease, answer: CachedAnswer | None) -> None:
        """Nobody has to wait any longer."""
        lease.ended = True
        self._leases.discard(lease)
        if lease.flight and not lease.flight.done():
            lease.flight.set_result(answer)
        self._clear(lease)

    def _resign(self, lease: Lease) -> None:
        """Let another of this process lead."""
        lease.ended = True
        if lease.flight:
            lease.flight.cancel()
        self._clear(lease)

    def _clear(self, lease: Lease) -> None:
        if lease.shared and self._flights.get(lease.key) is lease.flight:
            del self._flights[lease.key]

    async def _give_back(self, lease: Lease) -> None:
        """In Redis first: who goes on in this process finds the lease free."""
        try:
            await self._unlock(lease)
        finally:
            self._end(lease, None)

    async def _unlock(self, lease: Lease) -> None:
        if lease.shared:
            await self._store.unlock(lease.key, lease.token)

    async def _renew_leases(self) -> None:
        """Renew the leases of this process; one held too long was forgotten by its holder."""
        while self._leases:
            await asyncio.sleep(self._settings.lease_s / 3)
            for lease in list(self._leases):
                if time.monotonic() >= lease.until:
                    log.warning("a cache lease was held for %g s: it is taken back", self._settings.hold_s)
                    self.release(lease)
                elif lease.mark is not None and not lease.ended:
                    await _if_reached(self._store.renew(lease.key, lease.token))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(_if_reached(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _if_reached(work: Coroutine[Any, Any, Any]) -> None:
    """What may be left undone while Redis is away: leases run out by themselves, and sizes are reported again."""
    try:
        await work
    except EngineUnavailable as error:
        log.debug("left undone: %s", error)
