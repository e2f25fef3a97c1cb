"""The stream of a running answer: batched, sent over Redis, and never delaying its task."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.config import ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.lanes import Lane
from kairos.orchestration.queue.claim import Claim
from kairos.orchestration.tasks.draft_stream import NO_LISTENER_S, DraftStreams
from kairos.project_settings import ProjectSettings
from kairos.pubsub import Notice, PubSub
from kairos.redis_client import connect
from tests.kit.conditions import eventually
from tests.kit.drafts import task
from tests.kit.kairos_app import open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel
from tests.kit.valkey import ValkeyServer
from tests.kit.watching import signed_in_api_of, watching


class DraftCollector:
    """Collects the pieces of drafts that a daemon receives for one project."""

    def __init__(self, pubsub: PubSub, claim: Claim) -> None:
        self.pieces: list[dict[str, Any]] = []
        self.listening = asyncio.Event()
        self.task = asyncio.create_task(self._listen(pubsub, redis_keys.deltas_channel(claim.project_id)))

    async def _listen(self, pubsub: PubSub, channel: str) -> None:
        async for message in pubsub.listen([channel]):
            if isinstance(message, Notice):
                self.pieces.append(orjson.loads(message.payload))
            else:
                self.listening.set()

    @property
    def text(self) -> str:
        return "".join(piece["text"] for piece in self.pieces)


@pytest.fixture
def claim() -> Claim:
    return Claim(task(), Lane.BATCH, 0, datetime.now(UTC), 1, 3, 60)


@pytest.fixture
async def streams(valkey: Redis) -> AsyncIterator[DraftStreams]:
    streams = DraftStreams(PubSub(valkey))
    yield streams
    await streams.aclose()


@pytest.fixture
async def collector(valkey: Redis, claim: Claim) -> AsyncIterator[DraftCollector]:
    collector = DraftCollector(PubSub(valkey), claim)
    await collector.listening.wait()
    yield collector
    collector.task.cancel()


async def test_pieces_are_batched_and_have_offsets(streams: DraftStreams, claim: Claim, collector: DraftCollector):
    async with streams.open(claim, 2) as stream:
        assert stream
        for number in range(200):
            await stream.piece(f"{number} ")
            await asyncio.sleep(0.001)
    expected = "".join(f"{number} " for number in range(200))
    await eventually(lambda: collector.text == expected, why="the whole text arrives, including the end")
    assert len(collector.pieces) < 40
    assert {(piece["attempt"], piece["draft"]) for piece in collector.pieces} == {(1, 2)}
    offsets = [piece["offset"] for piece in collector.pieces]
    assert offsets == [len("".join(p["text"] for p in collector.pieces[:n])) for n in range(len(offsets))]


async def test_restarted_stream_begins_at_offset_zero(streams: DraftStreams, claim: Claim, collector: DraftCollector):
    async with streams.open(claim, 1) as stream:
        assert stream
        await stream.piece("the first half")
        await eventually(lambda: collector.pieces, why="the first piece is sent")
        stream.restart()
        await stream.piece("whole")
    await eventually(lambda: len(collector.pieces) == 2, why="the new piece arrives")
    assert (collector.pieces[1]["offset"], collector.pieces[1]["text"]) == (0, "whole")


async def test_little_is_sent_without_listeners(streams: DraftStreams, valkey: Redis, claim: Claim):
    before = (await valkey.info("commandstats")).get("cmdstat_publish", {"calls": 0})["calls"]
    async with streams.open(claim, 1) as stream:
        assert stream
        began = time.monotonic()
        while time.monotonic() < began + 2 * NO_LISTENER_S:
            await stream.piece("word ")
            await asyncio.sleep(0.01)
    after = (await valkey.info("commandstats"))["cmdstat_publish"]["calls"]
    assert after - before <= 5


async def test_project_that_holds_answers_sends_no_drafts(streams: DraftStreams, claim: Claim):
    holding = replace(claim.task, settings=ProjectSettings(hold_answers=True))
    async with streams.open(replace(claim, task=holding), 1) as stream:
        assert stream is None


async def test_hanging_redis_does_not_delay_an_answer(own_valkey: ValkeyServer, claim: Claim):
    client = connect(own_valkey.url)
    await client.ping()
    streams = DraftStreams(PubSub(client))
    own_valkey.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        async with streams.open(claim, 1) as stream:
            assert stream
            for _ in range(100):
                await stream.piece("word ")
                await asyncio.sleep(0.002)
        assert time.monotonic() - began < 2, "neither pieces nor the end wait for Redis"
    finally:
        own_valkey.signal(signal.SIGCONT)
        await streams.aclose()
        await client.aclose()


async def test_interrupted_answer_is_restarted_for_watchers(addresses: Addresses, models: ModelServer):
    """A draft may be replaced: the next model answers the same attempt, and the page shows only its answer."""
    models.add(ScriptedModel("echo", answer="an answer that breaks off before its end", tokens_per_s=20))
    models.add(ScriptedModel("spare", answer="from the spare"))
    models.fail("echo", Fault(FaultKind.DISCONNECT, after_tokens=4))
    entries = [
        ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
        ModelSettings(name="spare", base_url=models.base_url, local=True, tier=0.3),
    ]
    async with (
        open_app(addresses, models, models=entries) as app,
        app.working(),
        signed_in_api_of(app, run_background=False) as owner,
        watching(owner) as watcher,
    ):
        await watcher.wait_for_hello()
        done = await app.finished(await app.submit())
        await eventually(
            lambda: watcher.deltas and watcher.deltas[-1]["text"] == "from the spare", why="the new answer arrives"
        )
    assert (done.state, done.output, done.attempts) == (TaskState.SUCCEEDED, "from the spare", 1)
    assert watcher.deltas[0]["text"].startswith("an")
    assert watcher.deltas[-1]["offset"] == 0


async def test_cached_answer_is_shown_completely(addresses: Addresses, models: ModelServer):
    async with (
        open_app(addresses, models) as app,
        app.working(),
        signed_in_api_of(app, run_background=False) as owner,
        watching(owner) as watcher,
    ):
        await watcher.wait_for_hello()
        await app.finished(await app.submit("the same", cache=True))
        second = str((await app.finished(await app.submit("the same", cache=True))).id)
        await watcher.wait_for("cache_hit")
        await eventually(
            lambda: [d for d in watcher.deltas if d["task_id"] == second], why="the second task receives text"
        )
    assert [d["text"] for d in watcher.deltas if d["task_id"] == second] == ["hello"]
