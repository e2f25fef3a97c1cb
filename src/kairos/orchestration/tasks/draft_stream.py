"""The running answer on its way to those who watch: pieces of a draft, gathered for a moment, sent over Redis, never
kept.

A piece says at which character of its draft it begins. So a watcher who came late, or lost one, knows what is missing,
and a piece that begins at 0 replaces what was shown: the next model began anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson

from kairos import redis_keys
from kairos.agents.base import TextStream
from kairos.background_tasks import end
from kairos.errors import EngineUnavailable
from kairos.orchestration.queue.claim import Claim
from kairos.pubsub import PubSub

GATHER_S = 0.05
"""Pieces that come within this time are sent as one."""
NO_LISTENER_S = 0.5
"""The same while nobody listens: the answer to a message tells, and none is worth twenty messages a second."""
UNREACHABLE_S = 2.0
LARGEST = 65_536
"""Characters of one piece; what an absent Redis leaves unsent above it is dropped."""


class DraftStreams:
    """Makes the streams of a daemon's drafts, and ends what of them is still sending when the daemon does."""

    def __init__(self, signals: PubSub) -> None:
        self._signals = signals
        self._sending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, claim: Claim, draft: int) -> AsyncIterator[TextStream | None]:
        """The stream of one draft; None where the project holds answers back until the verdict."""
        if claim.hold_answers:
            yield None
            return
        stream = DraftStream(self._signals, claim, draft)
        task = asyncio.create_task(stream.send(), name=f"draft of task {claim.task_id}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        try:
            yield stream
        finally:
            stream.close()

    async def aclose(self) -> None:
        await end(*self._sending)


class DraftStream:
    """Takes the text of one draft as it comes. Its caller is a model's answer and is never kept waiting."""

    def __init__(self, signals: PubSub, claim: Claim, draft: int) -> None:
        self._signals = signals
        self._channel = redis_keys.deltas_channel(claim.project_id)
        self._head = {"type": "delta", "task_id": str(claim.task_id), "attempt": claim.task.attempt, "draft": draft}
        self._text: list[str] = []
        self._offset = 0
        self._arrived = asyncio.Event()
        self._closed = asyncio.Event()

    async def piece(self, text: str) -> None:
        self._text.append(text)
        self._arrived.set()

    def restart(self) -> None:
        """What went out counts no more: another model begins."""
        self._text.clear()
        self._offset = 0

    def close(self) -> None:
        """The draft is done; what is left of it is still sent."""
        self._closed.set()
        self._arrived.set()

    async def send(self) -> None:
        """Until the stream is closed and sent."""
        pause_s = GATHER_S
        while self._text or not self._closed.is_set():
            await self._arrived.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closed.wait()
            if self._text:
                pause_s = await self._send()

    async def _send(self) -> float:
        """Send what there is; how long to gather the next."""
        text, offset = "".join(self._text), self._offset
        self._text.clear()
        self._offset += len(text)
        if len(text) > LARGEST:
            text, offset = text[-LARGEST:], offset + len(text) - LARGEST
        self._arrived.clear()
        try:
            message = orjson.dumps({**self._head, "offset": offset, "text": text})
            listeners = await self._signals.publish(self._channel, message)
        except EngineUnavailable:
            return UNREACHABLE_S
        return GATHER_S if listeners else NO_LISTENER_S
