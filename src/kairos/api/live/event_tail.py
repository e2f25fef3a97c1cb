"""Follow the committed events of one project, read once for all its listeners in this daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from kairos.api.live.event_listener import DEFECT, Closing, EventMessage, Listener
from kairos.api.live.messages import LiveEventOut
from kairos.background_tasks import NO_JITTER, every
from kairos.db.engine import Database
from kairos.db.repositories.live import events
from kairos.db.repositories.live.events import Cursor, LiveEvent
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Longest time between two reads: notices may be lost, and some events become visible only when an older concurrent
transaction has ended."""
SOON_S = 0.02
"""Shortest time between two reads; notices that arrive meanwhile share one."""
PAGE = 500


class ProjectTail:
    """Follows one project while it has listeners."""

    def __init__(self, database: Database, project_id: ProjectId) -> None:
        self._database = database
        self.project_id = project_id
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._at = Cursor(0, 0)
        self._held_s: float | None = None
        """The interval of reads while events are held back by an older transaction."""
        self._listeners: set[Listener] = set()
        self._joining: dict[Listener, list[EventMessage]] = {}
        """New events for listeners that are still catching up; sent after that, to keep the order."""
        self.reads = 0
        """Number of database reads, with which tests check that listeners share them."""

    @property
    def idle(self) -> bool:
        """Whether there are no listeners."""
        return not self._listeners and not self._joining

    def wake(self) -> None:
        """Read soon: there may be new events."""
        self._news.set()

    async def join(self, listener: Listener) -> None:
        """Start to send new events to the listener.

        The caller has sent the backlog; events that the tail has read since then are read again here.
        Raises `EngineUnavailable`.
        """
        held = self._joining[listener] = []
        try:
            await self._begun.wait()
            more = True
            while more and listener.sent < self._at:
                piece = await self._read(listener.sent)
                listener.offer(_message(event) for event in piece.events)
                more = piece.more
            listener.offer(held)
            self._listeners.add(listener)
        finally:
            del self._joining[listener]

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def forward(self, text: str) -> None:
        """Send a message that is not stored to all listeners."""
        for listener in self._listeners:
            listener.offer_transient(text)

    def close(self, closing: Closing) -> None:
        for listener in (*self._listeners, *self._joining):
            listener.close(closing)

    async def follow(self) -> None:
        """Read new events until cancelled."""
        outage = partial(log.warning, "listeners of project %s wait: %s", self.project_id)
        try:
            await every(self._interval_s, self._read_and_pause, outage, jitter=NO_JITTER, wake=self._news)
        except Exception:
            log.exception("the events of project %s cannot be followed", self.project_id)
            self.close(DEFECT)

    def _interval_s(self) -> float:
        return POLL_S if self._held_s is None else self._held_s

    async def _read_and_pause(self) -> None:
        before, self._held_s = self._held_s, None
        if await self._read_new():
            # There is no notice of the end of an older transaction: poll with a growing interval.
            self._held_s = min(2 * (before or SOON_S), POLL_S)
        await asyncio.sleep(SOON_S)

    async def _read_new(self) -> bool:
        """Send new events to all listeners; whether some wait for an older transaction to end."""
        if not self._begun.is_set():
            self._at = await current_cursor(self._database, self.project_id)
            self._begun.set()
        while True:
            piece = await self._read(self._at)
            messages = [_message(event) for event in piece.events]
            # No await from here on: a joining listener either gets these messages or sees the new cursor.
            self._at = piece.cursor
            for listener in self._listeners:
                listener.offer(messages)
            for held in self._joining.values():
                held.extend(messages)
            if not piece.more:
                return piece.held

    async def _read(self, after: Cursor) -> events.EventPage:
        self.reads += 1
        async with self._database.project(self.project_id) as session:
            return await events.after(session, after, PAGE)


async def backlog(
    database: Database, project_id: ProjectId, after: Cursor
) -> AsyncIterator[tuple[list[EventMessage], Cursor]]:
    """Yield the events that a listener missed, in pages with the cursor of each page's end.

    Raises `EngineUnavailable`.
    """
    more = True
    while more:
        async with database.project(project_id) as session:
            piece = await events.after(session, after, PAGE)
        yield [_message(event) for event in piece.events], piece.cursor
        after, more = piece.cursor, piece.more


async def current_cursor(database: Database, project_id: ProjectId) -> Cursor:
    """The cursor of the newest event, at which a listener without a cursor starts."""
    async with database.project(project_id) as session:
        return await events.end(session)


def _message(event: LiveEvent) -> EventMessage:
    return EventMessage(event.cursor, LiveEventOut.of(event).model_dump_json())
