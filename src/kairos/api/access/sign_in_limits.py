"""Limit password attempts: counted in Redis, over all daemons, before passwords are hashed.

A counter lives for a window that begins with its first attempt. A successful attempt is subtracted again, so that only
failures and attempts in progress count. A client that has signed in before sends a device token (like OWASP's device
cookies): its attempts are counted separately, so that other clients cannot lock it out.

While Redis is unavailable each daemon counts locally, in a bounded table that refuses attempts when it is full.
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
"""Failures per window; higher than per account, because several people may share an address."""
PER_DEVICE = 10
PER_LINK = 10
MOST_LOCAL = 10_000
REDIS_S = 2.0


class Counter(NamedTuple):
    """The key of a counter and its limit."""

    kind: str
    of: str
    most: int


def by_stranger(email: str, address: str) -> tuple[Counter, ...]:
    """The counters of a sign-in without a device token."""
    return Counter("account", account_digest(email).hex(), PER_ACCOUNT), Counter("address", net(address), PER_ADDRESS)


def by_device(device: str) -> tuple[Counter, ...]:
    """The counters of a sign-in from a known device of the account."""
    return (Counter("device", device, PER_DEVICE),)


def by_session(session_id: UUID) -> tuple[Counter, ...]:
    """The counters of a password change, so that a stolen session cannot be used to guess the password."""
    return (Counter("session", str(session_id), PER_ACCOUNT),)


def by_link(token_hash: bytes) -> tuple[Counter, ...]:
    """The counters of a one-time link or an invitation."""
    return (Counter("link", token_hash.hex()[:32], PER_LINK),)


def account_digest(email: str) -> bytes:
    """A digest of the e-mail address, whether or not the account exists."""
    return hashlib.sha256(fold_email(email).encode(errors="surrogatepass")).digest()[:16]


def net(address: str) -> str:
    """The IPv4 address, or the /64 network of an IPv6 address, which belongs to one subscriber."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)


class SignInLimits:
    """The limits on password attempts."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._script = redis.register_script(LUA)
        self._namespace = namespace
        self._local = LocalCounts()

    @asynccontextmanager
    async def attempt(self, *counters: Counter) -> AsyncIterator[PasswordAttempt]:
        """Count an attempt. It stays counted after the block unless the block calls `succeeded`.

        Raises `RateLimited` if a counter is at its limit.
        """
        names = [redis_keys.sign_in_attempts(c.kind, c.of, self._namespace) for c in counters]
        await self._acquire(names, [c.most for c in counters])
        attempt = PasswordAttempt()
        try:
            yield attempt
        except (EngineUnavailable, HashingBusy):
            attempt.succeeded()  # no password was checked
            raise
        finally:
            if attempt.good:
                await self._release(names)

    async def _acquire(self, names: list[str], most: list[int]) -> None:
        local_s = self._local.acquire(names, most)
        try:
            wait_s = await self._run(names, "take", WINDOW_S * 1000, *most) / 1000
        except EngineUnavailable:
            wait_s = local_s
        else:
            if wait_s and not local_s:
                self._local.release(names)
        if wait_s:
            raise RateLimited(seconds=math.ceil(wait_s))

    async def _release(self, names: list[str]) -> None:
        self._local.release(names)
        try:
            await self._run(names, "give")
        except EngineUnavailable:
            return  # the attempt stays counted until its window ends

    async def _run(self, names: list[str], *arguments: str | int) -> int:
        with redis_errors(self._redis):
            async with asyncio.timeout(REDIS_S):
                return int(await self._script(keys=names, args=arguments))


class PasswordAttempt:
    """A password attempt in progress."""

    good = False

    def succeeded(self) -> None:
        self.good = True


class LocalCounts:
    """The counters of this process, at most `MOST_LOCAL`."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}
        """Name -> attempts and end of the window, oldest window first."""

    def acquire(self, names: list[str], most: list[int]) -> float:
        """Count an attempt; seconds to wait, or 0 if the attempt is allowed."""
        now = time.monotonic()
        self._expire(now)
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

    def release(self, names: list[str]) -> None:
        for name in names:
            if name in self._counts:
                count, ends = self._counts[name]
                self._counts[name] = (max(0, count - 1), ends)

    def _expire(self, now: float) -> None:
        while self._counts:
            oldest = next(iter(self._counts))
            if self._counts[oldest][1] > now:
                return
            del self._counts[oldest]
