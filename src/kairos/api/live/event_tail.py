"""The events of one project as they are committed, read once for all who listen to it in this daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict

import orjson

from kairos.api.live.event_listener import DEFECT, Closing, Listener, Told
from kairos.db.engine import Database
from kairos.db.repositories import events
from kairos.db.repositories.events import Cursor, LiveEvent
from kairos.errors import EngineUnavailable
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Looked for at least so often: notices may be lost, and some events come into view only when an older transaction of
somebody else has ended."""
SOON_S = 0.02
"""After a look, before the next: notices that come meanwhile share one."""
PAGE = 500


class ProjectTail:
    """Follows one project from its first listener to its last."""

    def __init__(self, database: Database, project_id: ProjectId) -> None:
        self._database = database
        self.project_id = project_id
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._at = Cursor(0, 0)
        self._listeners: set[Listener] = set()
        self._joining: dict[Listener, list[Told]] = {}
        """What came for those who still catch up: given to them after that, as events have an order."""
        self.reads = 0
        """Of the database, so that a test can see that listeners share them."""

    @property
    def idle(self) -> bool:
        """Nobody listens."""
        return not self._listeners and not self._joining

    def wake(self) -> None:
        """There may be something new."""
        self._news.set()

    async def join(self, listener: Listener) -> None:
        """From here on it gets what is committed. It has read what it missed by itself before; the little that the tail
        has read since then is read here. Raises `EngineUnavailable`."""
        held = self._joining[listener] = []
        try:
            await self._begun.wait()
            more = True
            while more and listener.sent < self._at:
                piece = await self._read(listener.sent)
                listener.offer(_told(event) for event in piece.events)
                more = piece.more
            listener.offer(held)
            self._listeners.add(listener)
        finally:
            del self._joining[listener]

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def pass_on(self, text: str) -> None:
        """Something that is not kept, to all."""
        for listener in self._listeners:
            listener.offer_passing(text)

    def close(self, closing: Closing) -> None:
        for listener in (*self._listeners, *self._joining):
            listener.close(closing)

    async def follow(self) -> None:
        """Owned by the feed; ends with its cancellation."""
        try:
            held_s = SOON_S
            while True:
                self._news.clear()
                held = await self._look_if_possible()
                # Nobody gives notice when that older transaction ends: look again soon, and less and less often.
                held_s = min(2 * held_s, POLL_S) if held else SOON_S
                await asyncio.sleep(SOON_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(held_s if held else POLL_S):
                        await self._news.wait()
        except Exception:
            log.exception("the events of project %s cannot be followed", self.project_id)
            self.close(DEFECT)

    async def _look_if_possible(self) -> bool:
        try:
            return await self._look()
        except EngineUnavailable as error:
            log.warning("listeners of project %s wait: %s", self.project_id, error)
            return False

    async def _look(self) -> bool:
        """Give on what is new. Whether something waits for an older transaction to end."""
        if not self._begun.is_set():
            self._at = await present(self._database, self.project_id)
            self._begun.set()
        while True:
            piece = await self._read(self._at)
            told = [_told(event) for event in piece.events]
            # No await from here: who joins has either heard of these or sees the new place.
            self._at = piece.cursor
            for listener in self._listeners:
                listener.offer(told)
            for held in self._joining.values():
                held.extend(told)
            if not piece.more:
                return piece.held

    async def _read(self, after: Cursor) -> events.EventPage:
        self.reads += 1
        async with self._database.project(self.project_id) as session:
            return await events.after(session, after, PAGE)


async def backlog(database: Database, project_id: ProjectId, after: Cursor) -> AsyncIterator[tuple[list[Told], Cursor]]:
    """What a listener missed, page by page with where each ends, until it has come to the end of them.

    Raises `EngineUnavailable`.
    """
    more = True
    while more:
        async with database.project(project_id) as session:
            piece = await events.after(session, after, PAGE)
        yield [_told(event) for event in piece.events], piece.cursor
        after, more = piece.cursor, piece.more


async def present(database: Database, project_id: ProjectId) -> Cursor:
    """The place from which a listener without a cursor goes on."""
    async with database.project(project_id) as session:
        return await events.end(session)


def _told(event: LiveEvent) -> Told:
    message = {
        "type": "event",
        "cursor": str(event.cursor),
        "id": event.cursor.id,
        "task_id": event.task_id,
        "attempt": event.attempt,
        "kind": event.kind,
        "data": event.data,
        "at": event.at,
        "task": asdict(event.task),
    }
    return Told(event.cursor, orjson.dumps(message).decode())
