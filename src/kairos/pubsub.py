"""Publish and receive short notices between daemons over Redis, such as 'cancel this task'.

A notice may be lost, so it carries no state: PostgreSQL is the source of truth. A listener receives `Subscribed` after
each connection, the first one included, because it may have missed notices before, and then reads PostgreSQL again.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub as RedisPubSub
from redis.exceptions import ResponseError

from kairos import redis_keys
from kairos.background_tasks import JITTER, every, run_together
from kairos.errors import EngineUnavailable
from kairos.redis_client import CONNECTION_ERRORS, blocking_redis_errors, redis_errors
from kairos.tenancy import TaskId

LIMIT_S = 5.0
SILENCE_S = 10.0  # without a message, the connection is pinged after this time, and closed after twice this time
PAUSES_S = (0.1, 5.0)  # between attempts to connect: first and longest


@dataclass(frozen=True, slots=True)
class Notice:
    """A message published on a channel."""

    channel: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The subscription is active. Earlier notices may be lost: read the state from PostgreSQL now."""


class Channels:
    """The subscribed channels of one connection. Channels can be added and removed while it is open."""

    def __init__(self, *always: str) -> None:
        self._always = always
        self._added: dict[str, None] = {}
        self._pubsub: RedisPubSub | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All channels. The permanent ones come last: the acknowledgement of the last one means that all are active."""
        return (*self._added, *self._always)

    @property
    def last(self) -> str:
        return self._always[-1]

    async def add(self, channel: str) -> None:
        """Subscribe to a channel, now or as soon as Redis is reachable again."""
        self._added[channel] = None
        if self._pubsub:
            await self._ask(self._pubsub.subscribe(channel))

    async def remove(self, channel: str) -> None:
        self._added.pop(channel, None)
        if self._pubsub:
            await self._ask(self._pubsub.unsubscribe(channel))

    @asynccontextmanager
    async def subscribed(self, pubsub: RedisPubSub) -> AsyncIterator[None]:
        """Subscribe this connection to all channels. Raises errors of redis-py."""
        first = self.names
        # Only one first command: with two concurrent ones, redis-py opens two connections and loses one subscription.
        await pubsub.subscribe(*first)
        self._pubsub = pubsub
        try:
            if added := set(self.names).difference(first):
                await pubsub.subscribe(*added)
            if dropped := set(first).difference(self.names):
                await pubsub.unsubscribe(*dropped)
            yield
        finally:
            self._pubsub = None

    async def _ask(self, sent: Awaitable[Any]) -> None:
        """Send a command; ignore a lost connection, because the next one subscribes to all channels."""
        with suppress(*CONNECTION_ERRORS, ResponseError):
            async with asyncio.timeout(LIMIT_S):
                await sent


class _Changes:
    """The payloads of the notices since the last refresh."""

    def __init__(self) -> None:
        self._payloads: set[bytes] = set()
        self._read_at = -math.inf
        """The time at which everything was read."""

    def add(self, notice: Notice | Subscribed) -> None:
        if isinstance(notice, Notice):
            self._payloads.add(notice.payload)
        else:
            self._read_at = -math.inf

    def take(self, poll_s: float) -> frozenset[bytes] | None:
        """Return the payloads, or None if everything must be read: frequent notices must not prevent that."""
        payloads = frozenset(self._payloads)
        self._payloads.clear()
        if payloads and time.monotonic() - self._read_at < poll_s:
            return payloads
        self._read_at = time.monotonic()
        return None


class PubSub:
    """Publishes and receives notices."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE, silence_s: float = SILENCE_S) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._namespace = namespace

    async def cancel(self, owner: str, task_id: TaskId) -> None:
        """Ask the daemon that runs the task to cancel it; the flag on the task's row must be set before."""
        await self.publish(redis_keys.cancel_channel(owner, self._namespace), str(task_id).encode())

    async def publish(self, channel: str, payload: bytes) -> int:
        """Publish to the current subscribers; the number of subscribers reached."""
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S):
                return await self._redis.publish(channel, payload)

    async def listen(self, channels: Iterable[str] | Channels) -> AsyncGenerator[Notice | Subscribed, None]:
        """Yield the notices of the channels without end; a lost connection is reopened."""
        wanted, failures = channels if isinstance(channels, Channels) else Channels(*channels), 0
        while True:
            try:
                async for notice in self._connection(wanted):
                    failures = 0
                    yield notice
            except EngineUnavailable:
                await asyncio.sleep(random.uniform(0.5, 1) * min(PAUSES_S[1], PAUSES_S[0] * 2**failures))
                failures = min(failures + 1, 16)

    async def follow(
        self,
        channel: str,
        poll: float | Callable[[], float],
        refresh: Callable[[frozenset[bytes] | None], Awaitable[object]],
        on_outage: Callable[[EngineUnavailable], object] | None = None,
        *,
        jitter: tuple[float, float] = JITTER,
        at_once: bool = True,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Refresh at each notice, after each connection, and every `poll` seconds, because notices may be lost.

        Notices that arrive during a refresh cause one more. `refresh` receives their payloads, or None if it must read
        everything. The other parameters are those of `every`.
        """
        wake, changes = wake or asyncio.Event(), _Changes()

        async def listen() -> None:
            async for notice in self.listen([channel]):
                changes.add(notice)
                wake.set()

        async def refresh_changed() -> None:
            try:
                await refresh(changes.take(poll() if callable(poll) else poll))
            except EngineUnavailable:
                changes.add(Subscribed())
                raise

        await run_together(every(poll, refresh_changed, on_outage, jitter=jitter, at_once=at_once, wake=wake), listen())

    async def _connection(self, channels: Channels) -> AsyncGenerator[Notice | Subscribed, None]:
        """Yield the notices of one connection until it fails."""
        async with self._redis.pubsub() as pubsub, AsyncExitStack() as subscription:
            with blocking_redis_errors(self._redis):
                async with asyncio.timeout(LIMIT_S):
                    await subscription.enter_async_context(channels.subscribed(pubsub))
            while True:
                message = await self._message(pubsub)
                if message["type"] == "message":
                    yield Notice(_text(message["channel"]), _bytes(message["data"]))
                elif message["type"] == "subscribe" and _text(message["channel"]) == channels.last:
                    yield Subscribed()  # also when redis-py has reconnected by itself

    async def _message(self, pubsub: RedisPubSub) -> dict[str, Any]:
        """The next message of any kind; a silent connection is pinged before it is abandoned."""
        with blocking_redis_errors(self._redis):
            for last in (False, True):
                if message := await pubsub.get_message(timeout=self._silence_s):
                    return message
                if not last:
                    async with asyncio.timeout(LIMIT_S):
                        await pubsub.ping()
            raise TimeoutError(f"nothing received for {2 * self._silence_s:.0f} s, not even the reply to a ping")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
