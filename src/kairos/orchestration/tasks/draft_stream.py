"""Streams drafts to watching clients while they are generated: text is batched briefly and published over Redis.

Nothing is stored. Each message carries the character offset at which its text begins, so a client that connected late
or missed a message can detect the gap. Offset 0 replaces the text shown so far: the next model has started.
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
"""Text that arrives within this time is sent as one message."""
NO_LISTENER_S = 0.5
"""The same while PUBLISH reports no subscribers."""
UNREACHABLE_S = 2.0
"""The same while Redis is unreachable."""
MAX_MESSAGE = 65_536
"""Characters of one message; older text that could not be sent while Redis was unreachable is dropped."""


class DraftStreams:
    """Opens a daemon's draft streams, and ends those that are still sending when the daemon stops."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._sending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, claim: Claim, draft: int) -> AsyncIterator[TextStream | None]:
        """The stream of one draft; None if the project hides answers until the verdict."""
        if claim.task.settings.hold_answers:
            yield None
            return
        stream = DraftStream(self._pubsub, claim, draft)
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
    """Collects the text of one draft and sends it. Adding text never blocks the model call."""

    def __init__(self, pubsub: PubSub, claim: Claim, draft: int) -> None:
        self._pubsub = pubsub
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
        """Start again at offset 0: another model begins."""
        self._text.clear()
        self._offset = 0

    def close(self) -> None:
        """End the draft; text not yet sent is still sent."""
        self._closed.set()
        self._arrived.set()

    async def send(self) -> None:
        """Send text until the stream is closed and everything is sent."""
        pause_s = GATHER_S
        while self._text or not self._closed.is_set():
            await self._arrived.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closed.wait()
            if self._text:
                pause_s = await self._send()

    async def _send(self) -> float:
        """Send the collected text; return the seconds to collect before the next message."""
        text, offset = "".join(self._text), self._offset
        self._text.clear()
        self._offset += len(text)
        if len(text) > MAX_MESSAGE:
            text, offset = text[-MAX_MESSAGE:], offset + len(text) - MAX_MESSAGE
        self._arrived.clear()
        try:
            message = orjson.dumps({**self._head, "offset": offset, "text": text})
            listeners = await self._pubsub.publish(self._channel, message)
        except EngineUnavailable:
            return UNREACHABLE_S
        return GATHER_S if listeners else NO_LISTENER_S
