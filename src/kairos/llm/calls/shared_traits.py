"""Shares model traits between replicas over Redis.

All traits are in one hash. A lost write costs one refused request, so writes are not atomic across replicas.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import every
from kairos.llm.calls.model_traits import EXPIRY_S, NO_TRAITS, ModelTraits, Traits
from kairos.redis_client import redis_errors

log = logging.getLogger(__name__)

POLL_S = 5.0
LIMIT_S = 2.0
MAX_MODELS = 1_000
"""Maximum number of stored models; the oldest are dropped first."""


class SharedTraits:
    """Writes the traits learned here and reads those of other replicas."""

    def __init__(
        self, redis: Redis, traits: ModelTraits, *, namespace: str = redis_keys.NAMESPACE, poll_s: float = POLL_S
    ) -> None:
        self._redis = redis
        self._traits = traits
        self._key = redis_keys.model_traits(namespace)
        self._poll_s = poll_s
        self._pending: dict[str, Traits | None] = {}
        self._discarded: set[str] = set()
        """Models whose stored traits were discarded here; the next write removes them."""
        self._discarded_contexts: set[str] = set()
        """Models whose stored context was discarded."""
        self._woken = asyncio.Event()
        traits.learned = self._learned
        traits.context_discarded = self._context_discarded

    async def run(self) -> None:
        """Exchange traits until cancelled. Runs as a background task of the daemon."""
        await every(
            self._poll_s, self.exchange, partial(log.debug, "model traits are not shared: %s"), wake=self._woken
        )

    async def exchange(self) -> None:
        """Write pending traits and read the others. Raises `EngineUnavailable`."""
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S):
                await self._write()
                found = await self._read()
        for digest in self._pending:  # learned meanwhile
            whole = self._whole(digest, found.pop(digest, None))
            if whole is not None:
                found[digest] = whole
        self._traits.replace_all(found)

    def _learned(self, digest: str, traits: Traits | None) -> None:
        if traits is None:
            self._discarded.add(digest)
        self._pending[digest] = traits
        self._woken.set()

    def _context_discarded(self, digest: str, rest: Traits) -> None:
        self._discarded_contexts.add(digest)
        self._pending[digest] = rest
        self._woken.set()

    async def _write(self) -> None:
        for digest, traits in list(self._pending.items()):
            raw = await self._redis.hget(self._key, digest)  # pyright: ignore[reportGeneralTypeIssues]
            whole = self._whole(digest, Traits.from_json(raw) if isinstance(raw, bytes) else None)
            before = digest in self._discarded, digest in self._discarded_contexts
            if whole is None:
                await self._redis.hdel(self._key, digest)  # pyright: ignore[reportGeneralTypeIssues]
            else:
                await self._redis.hset(self._key, digest, whole.to_json())  # type: ignore[misc]
            after = digest in self._discarded, digest in self._discarded_contexts
            if self._pending.get(digest) is traits and before == after:
                self._done(digest)

    def _done(self, digest: str) -> None:
        del self._pending[digest]
        self._discarded.discard(digest)
        self._discarded_contexts.discard(digest)

    def _whole(self, digest: str, stored: Traits | None) -> Traits | None:
        """Merge pending and stored traits without the discarded ones; None if nothing remains."""
        if stored is None or digest in self._discarded:
            stored = NO_TRAITS
        if digest in self._discarded_contexts:
            stored = replace(stored, context=None)
        whole = stored.merged(self._pending[digest] or NO_TRAITS)
        return None if whole == NO_TRAITS else whole

    async def _read(self) -> dict[str, Traits]:
        raw = await self._redis.hgetall(self._key)  # type: ignore[misc]
        found = {_text(digest): Traits.from_json(_bytes(value)) for digest, value in raw.items()}
        usable = {digest: traits for digest, traits in found.items() if traits and traits.at > time.time() - EXPIRY_S}
        newest = sorted(usable, key=lambda digest: usable[digest].at, reverse=True)[:MAX_MODELS]
        if stale := [digest for digest in found if digest not in set(newest)]:
            await self._redis.hdel(self._key, *stale)  # type: ignore[misc]
        return {digest: usable[digest] for digest in newest}


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
