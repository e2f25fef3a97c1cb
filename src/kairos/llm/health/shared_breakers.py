"""One circuit breaker per (model, credential) for all replicas: if one replica opens it, it is open for all, with one
probe.

Redis holds the state; memory holds a copy that every decision reads. Local changes are applied to the copy immediately
and written in the background, on the condition that no one else has written. On a conflict, the changes are reapplied
to the stored state (breaker.lua). Only a probe waits for its write. A notification spreads changes immediately, and
polling within a second. While Redis is unavailable, each replica uses its own copy and writes its changes afterwards.

Only breakers of configured and stored models are shared. Adapters come and go with their replica's own server, so each
replica has its own breakers for them, and a reset affects the replica that receives it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any
from uuid import uuid4

import orjson
from redis.asyncio import Redis

from kairos import redis_keys
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
"""Time that a user's call, chosen as the probe, waits for Redis."""
MAX_PENDING = 64
"""Changes kept while Redis is unavailable. Only the last ones matter."""


@dataclass(frozen=True, slots=True)
class _PendingWrite:
    """A write whose reply may have been lost."""

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
    """The known state of one breaker in Redis, and the changes not yet written."""

    model: str
    digest: str
    raw: bytes = b""
    """The last known value: the condition of the next write. Empty for none."""
    number: int = 0
    """Number of the newest known write. A lower one in Redis means that it lost writes; then the local state is
    written."""
    breaker: Breaker = field(default_factory=Breaker)
    kept: bool = True
    """False if Redis lost it."""
    pending: list[BreakerChange] = field(default_factory=list)
    tried: _PendingWrite | None = None

    def add(self, change: BreakerChange) -> None:
        self.pending.append(change)
        del self.pending[:-MAX_PENDING]

    def wanted(self) -> Breaker:
        """Return the state to write."""
        breaker = replace(self.breaker)
        for change in self.pending:
            change(breaker)
        return breaker

    def written(self, tried: _PendingWrite) -> None:
        self.raw, self.breaker, self.kept, self.tried = tried.raw, tried.breaker, True, None
        self.number += 1
        self.pending = [change for change in self.pending if change not in tried.changes]


class SharedBreakers:
    """Exchanges changes of `ModelHealth` with the other replicas."""

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
        self._removed: set[str] = set()
        """Digests of models that were removed, which the next exchange deletes from Redis."""
        self._wake = asyncio.Event()
        self._exchange_lock = asyncio.Lock()
        """One exchange at a time, so that replies are processed in the order in which Redis sent them."""
        health.changed = self._note

    def replace_models(self, models: Iterable[Model]) -> None:
        """Share the breakers of these models from now on. One whose address or key has changed starts closed."""
        before, entries = self._entries, dict[str, _Entry]()
        for model in models:
            digest, known = identity(model), before.get(model.name)
            entries[model.name] = known if known and known.digest == digest else self._new_entry(model.name, digest)
        self._entries = entries
        digests = {entry.digest for entry in entries.values()}
        self._removed = (self._removed | {entry.digest for entry in before.values()}) - digests
        self._wake.set()

    async def may_probe(self, model: str) -> bool:
        """Whether the call that just got the probe permit is the only probe over all replicas.

        Without Redis, each replica probes by itself; adapters always do. Cancelling returns the permit.
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
        """Exchange changes until cancelled. Runs as a background task of the daemon."""
        await self._pubsub.follow(
            self._channel, POLL_S, self.exchange, self._on_redis_error, jitter=(0.8, 1), wake=self._wake
        )

    async def exchange(self, _: object = None) -> None:
        """Write local changes and read those of other replicas. Raises `EngineUnavailable`."""
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S), self._exchange_lock:
                await self._delete_removed()
                await self._write_all()
                self._read_all(await self._redis.hgetall(self._key))
                await self._write_all()  # restore what Redis had lost
        if self._health.redis_unavailable:
            log.info("Redis is available again: circuit breakers are shared")
        self._health.redis_unavailable = False

    def _new_entry(self, model: str, digest: str) -> _Entry:
        """A closed breaker, of a generation that every replica derives alike: results of calls with the former key
        have permits of another one, and do not count."""
        entry = _Entry(model, digest, breaker=Breaker(generation=int(digest[:15], 16)))
        self._health.apply_shared(model, replace(entry.breaker), LastError())
        return entry

    def _note(self, model: str, change: BreakerChange) -> None:
        if entry := self._entries.get(model):
            entry.add(change)
            self._wake.set()

    def _on_redis_error(self, error: EngineUnavailable) -> None:
        if not self._health.redis_unavailable:
            log.warning("circuit breakers are not shared, each replica uses its own: %s", error)
        self._health.redis_unavailable = True

    async def _delete_removed(self) -> None:
        """Delete the breakers of removed models. A replica that still has the model may write it once more."""
        if removed := list(self._removed):
            await self._redis.hdel(self._key, *removed)  # type: ignore[misc]
            self._removed.difference_update(removed)

    async def _write_all(self) -> None:
        for entry in list(self._entries.values()):
            if entry.pending or not entry.kept:
                await self._write(entry)

    async def _write(self, entry: _Entry) -> None:
        """Write the changes to Redis, on top of the stored state."""
        while entry.tried or not entry.kept or entry.wanted() != entry.breaker:
            tried = entry.tried = entry.tried or self._attempt(entry)  # repeat the same write if its reply was lost
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
            "write": uuid4().hex,  # distinguishes this write from an equal one of another replica
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
        """Apply the state in Redis, with the pending local changes on top."""
        if entry.tried and raw == entry.tried.raw:
            return entry.written(entry.tried)
        entry.raw, entry.tried, stored = raw, None, _unpacked(raw)
        if stored is None:  # written by another version of Kairos; overwritten with the next change
            return None
        if stored.number < entry.number:
            entry.kept = False
            return None
        entry.number, entry.breaker, entry.kept = stored.number, stored.breaker, True
        wanted = entry.wanted()
        ours = self._health.snapshot(entry.model)[1]
        self._health.apply_shared(entry.model, wanted, stored.last_error if wanted == stored.breaker else ours)
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
    """Return a hash of name, address and key: a changed configuration starts with a closed breaker."""
    parts = (model.name, model.base_url, model.upstream, model.api_key or "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
