"""Short notices between daemons over Redis: 'stop this task' first of all.

A notice may be lost, so it only says where to look: PostgreSQL holds what it is about. A listener hears `Subscribed`
whenever it may have missed something, at first and after each loss of the connection, and reads the truth again then.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ResponseError

from kairos import redis_keys
from kairos.errors import EngineUnavailable
from kairos.redis_client import LOST, reached, waited_for
from kairos.tenancy import TaskId

LIMIT_S = 5.0
SILENCE_S = 10.0  # after this long without a word the connection is tried; after twice as long it counts as dead
PAUSES_S = (0.1, 5.0)  # between attempts to connect, at first and at most


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody published on a channel."""

    channel: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Subscribed:
    """From here on notices arrive; earlier ones may be lost: read the truth from PostgreSQL now."""


class Channels:
    """The channels that one connection hears; more may be added, and taken away again, while it does."""

    def __init__(self, *always: str) -> None:
        self._always = always
        self._added: dict[str, None] = {}
        self._pubsub: PubSub | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are always heard come last, so that the last one acknowledged means that all are."""
        return (*self._added, *self._always)

    @property
    def last(self) -> str:
        return self._always[-1]

    async def add(self, channel: str) -> None:
        """Heard from now on, or from when Redis is there again."""
        self._added[channel] = None
        if self._pubsub:
            await self._ask(self._pubsub.subscribe(channel))

    async def drop(self, channel: str) -> None:
        self._added.pop(channel, None)
        if self._pubsub:
            await self._ask(self._pubsub.unsubscribe(channel))

    @asynccontextmanager
    async def heard_by(self, pubsub: PubSub) -> AsyncIterator[None]:
        """Subscribed by this connection, while it lasts. Raises what Redis raises."""
        first = self.names
        # Alone: redis-py takes a connection for each of two first commands, and what one of them asked for is lost.
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
        """What cannot be sent is made good by the next connection, which begins with all names."""
        with suppress(*LOST, ResponseError):
            async with asyncio.timeout(LIMIT_S):
                await sent


class Signals:
    """Publishes and hears notices."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE, silence_s: float = SILENCE_S) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._namespace = namespace

    async def cancel(self, owner: str, task_id: TaskId) -> None:
        """Asks the daemon that runs the task to stop it; the flag on the task's row must be set before."""
        await self.publish(redis_keys.cancel_channel(owner, self._namespace), str(task_id).encode())

    async def publish(self, channel: str, payload: bytes) -> int:
        """Reaches those that listen now, and nobody else; how many they were."""
        with reached(self._redis):
            async with asyncio.timeout(LIMIT_S):
                return await self._redis.publish(channel, payload)

    async def listen(self, channels: Iterable[str] | Channels) -> AsyncGenerator[Notice | Subscribed, None]:
        """Notices of the channels, for ever: a lost connection is made again."""
        wanted, failures = channels if isinstance(channels, Channels) else Channels(*channels), 0
        while True:
            try:
                async for heard in self._hear(wanted):
                    failures = 0
                    yield heard
            except EngineUnavailable:
                await asyncio.sleep(random.uniform(0.5, 1) * min(PAUSES_S[1], PAUSES_S[0] * 2**failures))
                failures = min(failures + 1, 16)

    async def _hear(self, channels: Channels) -> AsyncGenerator[Notice | Subscribed, None]:
        """The notices of one connection, until it fails."""
        async with self._redis.pubsub() as pubsub, AsyncExitStack() as heard:
            with waited_for(self._redis):
                async with asyncio.timeout(LIMIT_S):
                    await heard.enter_async_context(channels.heard_by(pubsub))
            while True:
                message = await self._message(pubsub)
                if message["type"] == "message":
                    yield Notice(_text(message["channel"]), _bytes(message["data"]))
                elif message["type"] == "subscribe" and _text(message["channel"]) == channels.last:
                    yield Subscribed()  # redis-py may have reconnected by itself: then this comes again as well

    async def _message(self, pubsub: PubSub) -> dict[str, Any]:
        """The next message of any kind; a silent connection is tried with a ping before it is given up."""
        with waited_for(self._redis):
            for last in (False, True):
                if message := await pubsub.get_message(timeout=self._silence_s):
                    return message
                if not last:
                    async with asyncio.timeout(LIMIT_S):
                        await pubsub.ping()
            raise TimeoutError(f"nothing heard for {2 * self._silence_s:.0f} s, not even the answer to a ping")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
