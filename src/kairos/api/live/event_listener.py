"""A listener of live events: its send queue, and the reason of its closing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from kairos.db.repositories.live.events import Cursor
from kairos.tenancy import ProjectId, UserId

WAITING = 2_000
"""Longest send queue of a listener; one that falls behind further must resume from its cursor."""


class Closing(NamedTuple):
    """A close code of the WebSocket, and its reason as text."""

    code: int
    reason: str


GONE = Closing(1000, "")
"""The client closed the connection."""
SESSION_ENDED = Closing(4401, "The session has ended, or the ticket is not valid. Sign in, and get a new ticket.")
NO_MEMBER = Closing(4403, "You are no longer a member of this project.")
TOO_SLOW = Closing(4408, "Too slow. Reconnect with after= and the last cursor.")
TOO_MANY = Closing(4429, "You have too many open WebSockets. Close some, or raise auth.sockets_per_user.")
BAD_CURSOR = Closing(4400, "after= is not a valid cursor. Send the last one you received, or none.")
DEFECT = Closing(1011, "An internal error occurred. Reconnect with after= and the last cursor.")
AWAY = Closing(1013, "PostgreSQL is unavailable. Try again in a moment, with after= and the last cursor.")


class EventMessage(NamedTuple):
    """A serialised event, built once for all listeners."""

    cursor: Cursor
    text: str


@dataclass(frozen=True, slots=True)
class Right:
    """The right to listen. It is checked once for all sockets with the same right."""

    user_id: UserId
    session_id: UUID | None
    """None if the ticket was issued to an API key."""
    project_id: ProjectId
    key_id: UUID | None = None
    """The API key to which the ticket was issued."""


class Listener:
    """A send queue. The feed fills it without waiting, and the socket empties it."""

    def __init__(self, right: Right, after: Cursor) -> None:
        self.right = right
        self.sent = after
        """The cursor of the last queued event; earlier events are skipped."""
        self._waiting: deque[str] = deque()
        self.closing: Closing | None = None
        self._filled = asyncio.Event()
        self._ended = asyncio.Event()

    def offer(self, events: Iterable[EventMessage]) -> None:
        """Queue events in order."""
        for event in events:
            if event.cursor > self.sent:
                self.sent = event.cursor
                self._waiting.append(event.text)
        if len(self._waiting) > WAITING:
            self.close(TOO_SLOW)
        self._filled.set()

    def offer_transient(self, text: str) -> None:
        """Queue a message that may be lost, such as a piece of a draft or a ping; dropped if the queue is long."""
        if len(self._waiting) < WAITING // 2:
            self._waiting.append(text)
            self._filled.set()

    def close(self, closing: Closing) -> None:
        """Close the listener; the first reason counts. Queued messages are not sent."""
        self.closing = self.closing or closing
        self._ended.set()

    async def closed(self) -> Closing:
        """Wait until the listener is closed; the reason."""
        await self._ended.wait()
        assert self.closing
        return self.closing

    async def next(self) -> str:
        """Wait for the next message and return it."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()
