"""Cache of approved answers to deterministic requests, consulted before the router ranks models.

    found = await cache.lookup(key, wait_s=left)
    if isinstance(found, Hit):
        return found.answer.completion()
    ...                                       # the model answers, the guardian checks
    await cache.store(found.lease, answer)    # if approved, else cache.release(found.lease)

Concurrent identical requests make one model call: the first gets a lease, the others wait for its answer. Within a
process they wait on a future, and one of them polls Redis for leases of other processes. The polling interval is a
tenth of the time waited so far, so that nothing depends on a notification that may be lost.
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
"""Number of ended leases without an answer after which a waiter calls a model itself. The key includes the checks, so
an answer rejected for one caller is rejected for all, and waiting in turn would only delay them."""
POLL_INTERVALS_S = (0.02, 0.25)
"""Minimum and maximum interval for polling another process's lease."""

Flight = asyncio.Future[CachedAnswer | None]
"""The future that requests in this process wait on. None: no answer. Cancelled: another request must lead."""


@dataclass(eq=False, slots=True)
class Lease:
    """The right to store one answer; shared if others wait for it. Returned with `store` or `release`."""

    key: CacheKey
    token: str = ""
    stamp: str | None = None
    """The project's version in Redis, which must not have changed when the answer is stored. None if Redis was
    unavailable: nothing is stored."""
    flight: Flight | None = None
    until: float = math.inf
    ended: bool = False

    @property
    def shared(self) -> bool:
        return self.flight is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """An approved answer. Not an observation of the model's quality, speed or cost."""

    answer: CachedAnswer


@dataclass(frozen=True, slots=True)
class Miss:
    """No answer; a model must be called. `degraded`: because Redis is unavailable."""

    lease: Lease
    degraded: bool = False


class ResponseCache:
    """The response cache of all projects. Lookups never fail; while Redis is unavailable they are misses."""

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
        """Apply new limits from the next store or lookup on."""
        self._settings = settings
        self._store.settings = settings

    async def lookup(self, key: CacheKey, *, refresh: bool = False, wait_s: float | None = None) -> Hit | Miss:
        """Return the cached answer, or a lease to store one. With `refresh`, stored answers are ignored (`no-cache`).

        Waits for another caller's answer for at most `wait_s`, and never longer than the configured limit.
        """
        end = time.monotonic() + min(self._settings.wait_s, math.inf if wait_s is None else wait_s)
        failed_waits = 0
        while not refresh and failed_waits < MAX_FAILED_WAITS:
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
            failed_waits += 1
        return await self._lookup_now(key, read=not refresh)

    async def store(self, lease: Lease, answer: CachedAnswer) -> bool:
        """Store an approved answer and pass it to all waiters. Returns whether it was stored. Works once per lease."""
        if lease.ended:
            return False
        lease.ended = True
        try:
            outcome, amount = await self._put(lease, answer)
        except BaseException:
            self._spawn(self._return_lease(lease))
            raise
        self._end(lease, None if outcome is PutResult.VOID else answer)
        if outcome is PutResult.STORED:
            self._spawn(self._store.bound_total(lease.key.project_id, amount))
        return outcome is PutResult.STORED

    def release(self, lease: Lease) -> None:
        """Return a lease without an answer, because the call failed or was cancelled, or its answer was rejected. One
        waiter continues."""
        if not lease.ended:
            lease.ended = True
            self._spawn(self._return_lease(lease))

    async def drop_decision(self, project_id: ProjectId, decision_id: UUID) -> bool:
        """Remove the answer of this decision. Returns whether there was one. Raises `EngineUnavailable`."""
        return await self._store.drop_decision(project_id, decision_id)

    async def flush(self, project_id: ProjectId) -> int:
        """Remove all answers of a project, including those being stored. Returns how many were stored."""
        return await self._store.flush(project_id)

    async def erase(self, project_id: ProjectId) -> None:
        """Remove a project that is being erased from all counters. Raises `EngineUnavailable`."""
        self._savings.discard(project_id)
        await self._store.erase(project_id)

    async def bump_epoch(self, project_id: ProjectId) -> int:
        """Invalidate the project's answers for `auto`, because routing has changed; those of named models stay. Returns
        the new epoch."""
        return await self._store.raise_epoch(project_id)

    async def stats(self, project_id: ProjectId) -> CacheStats:
        """Return the cache's contents and savings. Counts of other daemons are delayed by up to a fifth of a second."""
        return await self._savings.stats(project_id)

    async def aclose(self) -> None:
        """Return all leases and send the last counts."""
        for lease in list(self._leases):
            self.release(lease)
        if self._renewal:
            self._renewal.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._savings.aclose()

    async def _lead(self, key: CacheKey, end: float) -> Hit | Miss:
        """Poll Redis on behalf of all identical requests in this process. If cancelled, another request takes over."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        lease = Lease(key, uuid4().hex, flight=flight)
        try:
            found = await self._ask_redis(lease, end)
        except EngineUnavailable as error:
            log.debug("calling a model without the cache: %s", error)
            return self._miss(lease, degraded=True)
        except BaseException:
            self._resign(lease)
            self._spawn(self._unlock(lease))  # Redis may have granted it before the cancellation
            raise
        if isinstance(found, StoredAnswer):
            self._end(lease, found.answer)
            return self._hit(key, found.answer)
        lease.stamp = found.stamp
        if isinstance(found, LeaseHeld):
            self._resign(lease)
            return self._miss(Lease(key, stamp=found.stamp))
        return self._miss(lease)

    async def _ask_redis(self, lease: Lease, end: float) -> StoredAnswer | LeaseGranted | LeaseHeld:
        """Poll Redis until nobody else holds the lease, or the time or the number of holders is exceeded."""
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
            pause = min(max((now - began) / 10, POLL_INTERVALS_S[0]), POLL_INTERVALS_S[1]) * random.uniform(0.5, 1)
            await asyncio.sleep(min(pause, end - now))

    async def _lookup_now(self, key: CacheKey, *, read: bool) -> Hit | Miss:
        """Look up without waiting and without a shared lease."""
        try:
            found = await self._store.ask(key, read=read)
        except EngineUnavailable:
            return self._miss(Lease(key), degraded=True)
        if isinstance(found, StoredAnswer):
            return self._hit(key, found.answer)
        return self._miss(Lease(key, stamp=found.stamp))

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
        if lease.stamp is None:
            self._spawn(self._unlock(lease))  # Redis may have granted it, and the reply was lost
            return PutResult.AWAY, 0
        try:
            return await self._store.put(lease.key, lease.token, lease.stamp, answer)
        except EngineUnavailable as error:
            log.debug("answer not cached: %s", error)
            return PutResult.AWAY, 0

    def _end(self, lease: Lease, answer: CachedAnswer | None) -> None:
        """End a lease and wake its waiters."""
        lease.ended = True
        self._leases.discard(lease)
        if lease.flight and not lease.flight.done():
            lease.flight.set_result(answer)
        self._clear(lease)

    def _resign(self, lease: Lease) -> None:
        """Give up leading; another request of this process takes over."""
        lease.ended = True
        if lease.flight:
            lease.flight.cancel()
        self._clear(lease)

    def _clear(self, lease: Lease) -> None:
        if lease.shared and self._flights.get(lease.key) is lease.flight:
            del self._flights[lease.key]

    async def _return_lease(self, lease: Lease) -> None:
        """Unlock in Redis first, so that the next request in this process finds the lease free."""
        try:
            await self._unlock(lease)
        finally:
            self._end(lease, None)

    async def _unlock(self, lease: Lease) -> None:
        if lease.shared:
            await self._store.unlock(lease.key, lease.token)

    async def _renew_leases(self) -> None:
        """Renew the leases of this process. A lease held too long was abandoned by its holder and is released."""
        while self._leases:
            await asyncio.sleep(self._settings.lease_s / 3)
            for lease in list(self._leases):
                if time.monotonic() >= lease.until:
                    log.warning("a cache lease was held for %g s and is released", self._settings.hold_s)
                    self.release(lease)
                elif lease.stamp is not None and not lease.ended:
                    await _if_reached(self._store.renew(lease.key, lease.token))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(_if_reached(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _if_reached(work: Coroutine[Any, Any, Any]) -> None:
    """Run work that may be skipped while Redis is unavailable: leases expire by themselves, and sizes are reported
    again."""
    try:
        await work
    except EngineUnavailable as error:
        log.debug("skipped: %s", error)
