"""One listener of live events: what waits to be sent to it, and why it was closed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from kairos.db.repositories.events import Cursor
from kairos.tenancy import ProjectId, UserId

WAITING = 2_000
"""Messages that may wait for one listener: a reader that is so far behind resumes from its cursor instead."""


class Closing(NamedTuple):
    """A close code of the WebSocket, and its reason in words."""

    code: int
    reason: str


GONE = Closing(1000, "")
"""The other side went away by itself."""
SESSION_ENDED = Closing(4401, "The session has ended, or the ticket is not valid. Sign in, and get a new ticket.")
NO_MEMBER = Closing(4403, "You are no member of this project any more.")
TOO_SLOW = Closing(4408, "Too slow. Come back with after= and the last cursor.")
TOO_MANY = Closing(4429, "You have too many WebSockets open here. Close some, or raise auth.sockets_per_user.")
BAD_CURSOR = Closing(4400, "after= is no cursor of events. Send the last one you got, or none at all.")
DEFECT = Closing(1011, "Kairos met a defect of its own. Come back with after= and the last cursor.")
AWAY = Closing(1013, "PostgreSQL is away. Try again in a moment, with after= and the last cursor.")


class Told(NamedTuple):
    """An event as it is sent, made once for all listeners."""

    cursor: Cursor
    text: str


@dataclass(frozen=True, slots=True)
class Right:
    """What lets somebody listen. Checked once for all sockets that have the same."""

    user_id: UserId
    session_id: UUID | None
    """None where an API key asked for the ticket."""
    project_id: ProjectId
    key_id: UUID | None = None
    """That key."""


class Listener:
    """Filled by the feed, which never waits for it; emptied by its socket."""

    def __init__(self, right: Right, after: Cursor) -> None:
        self.right = right
        self.sent = after
        """Up to here it has everything: what is offered again is left out."""
        self._waiting: deque[str] = deque()
        self.closing: Closing | None = None
        self._filled = asyncio.Event()
        self._ended = asyncio.Event()

    def offer(self, events: Iterable[Told]) -> None:
        """Events in their order."""
        for told in events:
            if told.cursor > self.sent:
                self.sent = told.cursor
                self._waiting.append(told.text)
        if len(self._waiting) > WAITING:
            self.close(TOO_SLOW)
        self._filled.set()

    def offer_passing(self, text: str) -> None:
        """What nobody must have: pieces of answers, pings. Left out for one who is behind."""
        if len(self._waiting) < WAITING // 2:
            self._waiting.append(text)
            self._filled.set()

    def close(self, closing: Closing) -> None:
        """The first reason counts. What waits is not sent any more."""
        self.closing = self.closing or closing
        self._ended.set()

    async def closed(self) -> Closing:
        """When it is, and why."""
        await self._ended.wait()
        assert self.closing
        return self.closing

    async def next(self) -> str:
        """The next message, as soon as there is one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()
