"""How often one may fail to sign in: counted for the account and for the address, in Redis, over all replicas.

Fixed windows: the simplest thing that stops guessing. `limits` was looked at and opens a Redis client of its own beside
ours. While Redis is away each replica counts for itself.
"""

from __future__ import annotations

import hashlib
import time

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.api.problems import RateLimited
from kairos.errors import EngineUnavailable
from kairos.folding import fold_email
from kairos.redis_client import reached

WINDOW_S = 300
PER_ACCOUNT = 10
PER_ADDRESS = 50
"""Failures within one window; more people than one sit behind an address."""
MOST_LOCAL = 10_000


class SignInLimits:
    """Failed sign-ins of the present window."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._namespace = namespace
        self._local: dict[str, int] = {}

    async def check(self, email: str, address: str) -> None:
        """Raises `RateLimited` when the account or the address has failed too often."""
        window, left = divmod(time.time(), WINDOW_S)
        for name, most in self._counted(email, address, int(window)):
            if await self._count(name) >= most:
                raise RateLimited(seconds=int(WINDOW_S - left) + 1)

    async def failed(self, email: str, address: str) -> None:
        """One more failure."""
        for name, _ in self._counted(email, address, int(time.time() // WINDOW_S)):
            if len(self._local) >= MOST_LOCAL:
                self._local.clear()
            self._local[name] = self._local.get(name, 0) + 1
            try:
                with reached(self._redis):
                    async with self._redis.pipeline() as pipe:
                        pipe.incr(name)
                        pipe.expire(name, WINDOW_S)
                        await pipe.execute()
            except EngineUnavailable:
                continue

    async def _count(self, name: str) -> int:
        try:
            with reached(self._redis):
                shared = await self._redis.get(name)
        except EngineUnavailable:
            shared = None
        return max(int(shared or 0), self._local.get(name, 0))

    def _counted(self, email: str, address: str, window: int) -> tuple[tuple[str, int], ...]:
        account = hashlib.sha256(fold_email(email).encode(errors="surrogatepass")).hexdigest()[:32]
        return (
            (redis_keys.sign_in_failures("account", account, window, self._namespace), PER_ACCOUNT),
            (redis_keys.sign_in_failures("address", address, window, self._namespace), PER_ADDRESS),
        )
