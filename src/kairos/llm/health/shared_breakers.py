"""One breaker for each (model, credential) over all replicas: opened by one, felt by all; one probe for all of them.

Redis holds the state, memory a copy that is read at every decision. What happens here is applied to the copy at once
and written behind, on the condition that nobody wrote meanwhile; if somebody did, the same changes are made again on
what stands there (breaker.lua). Only a probe waits for its write. A notice spreads a change at once and a poll within a
second. With Redis away every replica goes on with its own copy, and writes its changes when Redis is back.

Shared are those of the configured models. Adapters come and go with their replica's own server: each replica goes by
its own breaker of them, and a person's reset reaches the replica that was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any
from uuid import uuid4

import orjson
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import run_together
from kairos.errors import EngineUnavailable
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.breaker import Breaker
from kairos.llm.health.health import BreakerChange, LastError, ModelHealth
from kairos.pubsub import PubSub
from kairos.redis_client import redis_errors

log = logging.getLogger(__name__)

LUA = files("kairos.llm.health").joinpath("breaker.lua").read_text()

POLL_S = 1.0
LIMIT_S = 1.0
PROBE_LIMIT_S = 0.5
"""How long a user's call that is to be the probe waits for Redis."""
MAX_PENDING = 64
"""Changes kept while Redis is away: more of them say nothing that the last ones do not."""


@dataclass(frozen=True, slots=True)
class _PendingWrite:
    """A write whose answer may have been lost on the way."""

    raw: bytes
    breaker: Breaker
    changes: tuple[BreakerChange, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    number: int
    breaker: Breaker
    last_error: LastError


@dataclass(slots=True)
class _Entry:
    """What is known of one breaker in Redis, and the changes that are not in it yet."""

    model: str
    digest: str
    raw: bytes = b""
    """The value as it stood when it was last seen: the condition of the next write. Empty: none."""
    number: int = 0
    """Of the newest write seen. A lower one in Redis means that it lost writes, and ours stands."""
    breaker: Breaker = field(default_factory=Breaker)
    kept: bool = True
    """False when Redis lost it."""
    pending: list[BreakerChange] = field(default_factory=list)
    tried: _PendingWrite | None = None

    def add(self, change: BreakerChange) -> None:
        self.pending.append(change)
        del self.pending[:-MAX_PENDING]

    def wanted(self) -> Breaker:
        """What should stand in Redis."""
        breaker = replace(self.breaker)
        for change in self.pending:
            change(breaker)
        return breaker

    def written(self, tried: _PendingWrite) -> None:
        self.raw, self.breaker, self.kept, self.tried = tried.raw, tried.breaker, True, None
        self.number += 1
        self.pending = [change for change in self.pending if change not in tried.changes]


class SharedBreakers:
    """Hands the changes of `ModelHealth` to the other replicas, and theirs to it."""

    def __init__(
        self,
        redis: Redis,
        pubsub: PubSub,
        health: ModelHealth,
        models: Iterable[Model],
        *,
        namespace: str = redis_keys.NAMESPACE,
    ) -> None:
        self._redis = redis
        self._pubsub = pubsub
        self._health = health
        self._script = redis.register_script(LUA)
        self._key = redis_keys.breakers(namespace)
        self._channel = redis_keys.breakers_channel(namespace)
        self._entries = {model.name: _Entry(model.name, identity(model)) for model in models}
        self._wake = asyncio.Event()
        self._exchange_lock = asyncio.Lock()
        """One exchange at a time: answers are taken in the order in which Redis gave them."""
        health.changed = self._note

    async def may_probe(self, model: str) -> bool:
        """Whether the call that was just given the permit to try an open breaker is the only one over all replicas.

        Without Redis each replica tries by itself, and an adapter always. Cancelled, it gives the permit back.
        """
        permit = self._health.snapshot(model)[0].generation
        entry = self._entries.get(model)
        if entry and not self._health.redis_unavailable:
            try:
                with redis_errors(self._redis):
                    async with asyncio.timeout(PROBE_LIMIT_S), self._exchange_lock:
                        await self._write(entry)
            except EngineUnavailable as error:
                self._on_redis_error(error)
            except asyncio.CancelledError:
                self._health.abandoned(model, permit)
                raise
        return self._health.snapshot(model)[0].generation == permit

    async def run(self) -> None:
        """Share and hear until cancelled. Owned by the daemon."""
        await run_together(self._exchange_forever(), self._listen())

    async def exchange(self) -> None:
        """Write what changed here and read what changed elsewhere. Raises `EngineUnavailable`."""
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S), self._exchange_lock:
                await self._write_all()
                self._read_all(await self._redis.hgetall(self._key))
                await self._write_all()  # what Redis had lost
        if self._health.redis_unavailable:
            log.info("Redis is back: breakers are shared again")
        self._health.redis_unavailable = False

    def _note(self, model: str, change: BreakerChange) -> None:
        if entry := self._entries.get(model):
            entry.add(change)
            self._wake.set()

    async def _exchange_forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.exchange()
            except EngineUnavailable as error:
                self._on_redis_error(error)
                await asyncio.sleep(POLL_S * random.uniform(0.5, 1))
                continue
            try:
                async with asyncio.timeout(POLL_S * random.uniform(0.8, 1)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _listen(self) -> None:
        async for _ in self._pubsub.listen([self._channel]):
            self._wake.set()

    def _on_redis_error(self, error: EngineUnavailable) -> None:
        if not self._health.redis_unavailable:
            log.warning("breakers are not shared, each replica goes by its own: %s", error)
        self._health.redis_unavailable = True

    async def _write_all(self) -> None:
        for entry in self._entries.values():
            if entry.pending or not entry.kept:
                await self._write(entry)

    async def _write(self, entry: _Entry) -> None:
        """Bring the changes into Redis, on top of what stands there."""
        while entry.tried or not entry.kept or entry.wanted() != entry.breaker:
            tried = entry.tried = entry.tried or self._attempt(entry)  # the same again, where its answer was lost
            found = await self._script([self._key], [entry.digest, entry.raw, tried.raw, self._channel])
            if found is None:
                entry.written(tried)
            else:
                self._adopt(entry, found)
        entry.pending.clear()

    def _attempt(self, entry: _Entry) -> _PendingWrite:
        wanted, last_error = entry.wanted(), self._health.snapshot(entry.model)[1]
        value = {
            "number": entry.number + 1,
            "write": uuid4().hex,  # tells this write from an equal one of another replica
            "breaker": wanted.to_dict(),
            "words": last_error.message,
            "unreachable": last_error.unreachable,
        }
        return _PendingWrite(orjson.dumps(value), wanted, tuple(entry.pending))

    def _read_all(self, found: Mapping[Any, Any]) -> None:
        for entry in self._entries.values():
            raw = found.get(entry.digest.encode(), b"")
            if raw != entry.raw:
                self._adopt(entry, raw)

    def _adopt(self, entry: _Entry, raw: bytes) -> None:
        """Take over what stands in Redis, with the changes made here since on top."""
        if entry.tried and raw == entry.tried.raw:
            return entry.written(entry.tried)
        entry.raw, entry.tried, stored = raw, None, _unpacked(raw)
        if stored is None:  # of another version of Kairos: ours is written when it changes
            return None
        if stored.number < entry.number:
            entry.kept = False
            return None
        entry.number, entry.breaker, entry.kept = stored.number, stored.breaker, True
        wanted = entry.wanted()
        ours = self._health.snapshot(entry.model)[1]
        self._health.take_over(entry.model, wanted, stored.last_error if wanted == stored.breaker else ours)
        return None


def _unpacked(raw: bytes) -> _Stored | None:
    if not raw:
        return _Stored(0, Breaker(), LastError())
    try:
        value: dict[str, Any] = orjson.loads(raw)
        last_error = LastError(value["words"], value["unreachable"])
        return _Stored(value["number"], Breaker.from_dict(value["breaker"]), last_error)
    except (ValueError, TypeError, KeyError):
        return None


def identity(model: Model) -> str:
    """Another address or another key is another breaker: a changed configuration starts with a closed one."""
    parts = (model.name, model.base_url, model.upstream, model.api_key or "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
