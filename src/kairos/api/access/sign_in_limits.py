"""How often passwords may be tried: counted before they are hashed, in Redis, over all replicas.

A counter lives for a window that begins with its first attempt. An attempt that succeeds is taken back, so that only
failures and attempts under way count. A client that signed in before presents a device token (after OWASP's device
cookies): its attempts count apart from those of strangers, who therefore cannot lock it out.

While Redis is away each replica counts for itself, in a bounded table that refuses what it cannot hold.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.api.access.passwords import HashingBusy
from kairos.api.problems import RateLimited
from kairos.errors import EngineUnavailable
from kairos.folding import fold_email
from kairos.redis_client import redis_errors

LUA = files("kairos.api.access").joinpath("sign_in_limits.lua").read_text()
WINDOW_S = 300
PER_ACCOUNT = 10
PER_ADDRESS = 50
"""Failures within one window; more people than one sit behind an address."""
PER_DEVICE = 10
PER_LINK = 10
MOST_LOCAL = 10_000
REDIS_S = 2.0


class Counter(NamedTuple):
    """What attempts are counted under, and how many it may hold."""

    kind: str
    of: str
    most: int


def by_stranger(email: str, address: str) -> tuple[Counter, ...]:
    """Counters of a sign-in without a device token."""
    return Counter("account", account_digest(email).hex(), PER_ACCOUNT), Counter("address", net(address), PER_ADDRESS)


def by_device(device: str) -> tuple[Counter, ...]:
    """Counters of a sign-in from a device that this account signed in from before."""
    return (Counter("device", device, PER_DEVICE),)


def by_session(session_id: UUID) -> tuple[Counter, ...]:
    """Counters of a password change: whoever took over a session must not guess the password with it."""
    return (Counter("session", str(session_id), PER_ACCOUNT),)


def by_link(token_hash: bytes) -> tuple[Counter, ...]:
    """Counters of the use of a one-time link or an invitation."""
    return (Counter("link", token_hash.hex()[:32], PER_LINK),)


def account_digest(email: str) -> bytes:
    """Stands for an account, whether or not it exists."""
    return hashlib.sha256(fold_email(email).encode(errors="surrogatepass")).digest()[:16]


def net(address: str) -> str:
    """The address, or the /64 of an IPv6 address: one subscriber has that many."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)


class SignInLimits:
    """Attempts of the present windows."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._script = redis.register_script(LUA)
        self._namespace = namespace
        self._local = LocalCounts()

    @asynccontextmanager
    async def attempt(self, *counters: Counter) -> AsyncIterator[Attempt]:
        """Count an attempt for as long as the block runs, and after it unless the block calls `succeeded`.

        Raises `RateLimited` where a counter is full.
        """
        names = [redis_keys.sign_in_attempts(c.kind, c.of, self._namespace) for c in counters]
        await self._take(names, [c.most for c in counters])
        attempt = Attempt()
        try:
            yield attempt
        except (EngineUnavailable, HashingBusy):
            attempt.succeeded()  # nothing was tried
            raise
        finally:
            if attempt.good:
                await self._give(names)

    async def _take(self, names: list[str], most: list[int]) -> None:
        local_s = self._local.take(names, most)
        try:
            wait_s = await self._run(names, "take", WINDOW_S * 1000, *most) / 1000
        except EngineUnavailable:
            wait_s = local_s
        else:
            if wait_s and not local_s:
                self._local.give(names)
        if wait_s:
            raise RateLimited(seconds=math.ceil(wait_s))

    async def _give(self, names: list[str]) -> None:
        self._local.give(names)
        try:
            await self._run(names, "give")
        except EngineUnavailable:
            return  # it counts until its window ends

    async def _run(self, names: list[str], *arguments: str | int) -> int:
        with redis_errors(self._redis):
            async with asyncio.timeout(REDIS_S):
                return int(await self._script(keys=names, args=arguments))


class Attempt:
    """One try."""

    good = False

    def succeeded(self) -> None:
        self.good = True


class LocalCounts:
    """The same counters in this process alone, at most `MOST_LOCAL` of them."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}
        """Name -> attempts and when the window ends, the oldest window first."""

    def take(self, names: list[str], most: list[int]) -> float:
        """Seconds to wait; 0 where the attempt was counted."""
        now = time.monotonic()
        self._forget(now)
        for name, limit in zip(names, most, strict=True):
            count, ends = self._counts.get(name, (0, now + WINDOW_S))
            if count >= limit:
                return ends - now
        if len(self._counts) + sum(name not in self._counts for name in names) > MOST_LOCAL:
            return WINDOW_S
        for name in names:
            count, ends = self._counts.get(name, (0, now + WINDOW_S))
            self._counts[name] = (count + 1, ends)
        return 0

    def give(self, names: list[str]) -> None:
        for name in names:
            if name in self._counts:
                count, ends = self._counts[name]
                self._counts[name] = (max(0, count - 1), ends)

    def _forget(self, now: float) -> None:
        while self._counts:
            oldest = next(iter(self._counts))
            if self._counts[oldest][1] > now:
                return
            del self._counts[oldest]
