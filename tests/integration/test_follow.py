"""`PubSub.follow` refreshes at notices, at connections, and periodically because notices may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from kairos.background_tasks import end
from kairos.embedded import Addresses
from kairos.errors import EngineUnavailable
from kairos.pubsub import PubSub
from kairos.redis_client import connect

Payloads = frozenset[bytes] | None
OUTAGE = EngineUnavailable(engine="PostgreSQL", address="its socket", reason="it was stopped", remedy="Start it")


@pytest.fixture
async def pubsub(addresses: Addresses) -> AsyncIterator[PubSub]:
    redis = connect(addresses.redis_url)
    yield PubSub(redis)
    await redis.aclose()


class Follower:
    """Records the refreshes of one channel."""

    def __init__(self) -> None:
        self.channel = f"test:{uuid4()}"
        self.refreshes: asyncio.Queue[Payloads] = asyncio.Queue()
        self.started = asyncio.Event()
        self.errors: list[Exception] = []
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let refreshes start, but not end, in this block."""
        async with self._lock:
            self.started.clear()
            yield

    async def refresh(self, payloads: Payloads) -> None:
        self.started.set()
        async with self._lock:
            pass
        self.refreshes.put_nowait(payloads)
        if self.errors:
            raise self.errors.pop()

    async def next(self) -> Payloads:
        return await asyncio.wait_for(self.refreshes.get(), 20)


class CountedEvent(asyncio.Event):
    """Counts how often it was set: once per connection and per notice received."""

    def __init__(self) -> None:
        super().__init__()
        self.times_set = 0

    def set(self) -> None:
        super().set()
        self.times_set += 1

    async def was_set(self, times: int) -> None:
        async with asyncio.timeout(20):
            while self.times_set < times:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def following(pubsub: PubSub, poll_s: float = 600, **options: Any) -> AsyncIterator[Follower]:
    """Follow a channel; the refresh at the first connection is done."""
    follower = Follower()
    task = asyncio.create_task(
        pubsub.follow(follower.channel, poll_s, follower.refresh, lambda _: None, at_once=False, **options)
    )
    try:
        assert await follower.next() is None
        yield follower
    finally:
        await end(task)


async def test_notice_causes_a_refresh_with_its_payload(pubsub: PubSub):
    async with following(pubsub) as follower:
        await pubsub.publish(follower.channel, b"a")
        assert await follower.next() == {b"a"}


async def test_notices_during_a_refresh_cause_one_more(pubsub: PubSub):
    wake = CountedEvent()
    async with following(pubsub, wake=wake) as follower:
        connected = wake.times_set
        async with follower.held():
            await pubsub.publish(follower.channel, b"a")
            await follower.started.wait()
            for payload in (b"b", b"c", b"c"):
                await pubsub.publish(follower.channel, payload)
            await wake.was_set(connected + 4)
        assert [await follower.next(), await follower.next()] == [{b"a"}, {b"b", b"c"}]
        await pubsub.publish(follower.channel, b"d")
        assert await follower.next() == {b"d"}


async def test_everything_is_refreshed_without_notices(pubsub: PubSub):
    async with following(pubsub, poll_s=0.05) as follower:
        assert [await follower.next() for _ in range(3)] == [None, None, None]


async def test_frequent_notices_do_not_prevent_a_full_refresh(pubsub: PubSub):
    async with following(pubsub, poll_s=0.5, jitter=(1.0, 1.0)) as follower:

        async def publish_constantly() -> None:
            while True:
                await pubsub.publish(follower.channel, b"a")
                await asyncio.sleep(0.01)

        publishing = asyncio.create_task(publish_constantly())
        found = [await follower.next()]
        while found[-1] is not None:
            found.append(await follower.next())
        await end(publishing)
        assert {b"a"} in found


async def test_everything_is_refreshed_after_an_outage(pubsub: PubSub):
    """The notices of the failed refresh are not lost."""
    async with following(pubsub) as follower:
        follower.errors.append(OUTAGE)
        await pubsub.publish(follower.channel, b"a")
        assert await follower.next() == {b"a"}
        await pubsub.publish(follower.channel, b"b")
        assert await follower.next() is None
