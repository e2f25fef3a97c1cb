"""Live events for all sockets of a daemon: one tail for each project that has listeners, one connection to Redis for
notices and running answers, and one look a second at the rights of those who listen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from kairos import redis_keys
from kairos.api.event_listener import AWAY, NO_MEMBER, SESSION_ENDED, Closing, Listener, Right
from kairos.api.event_tail import ProjectTail
from kairos.db.engine import Database
from kairos.db.repositories import people
from kairos.errors import EngineUnavailable
from kairos.owned_tasks import end, together
from kairos.signals import Channels, Notice, Signals
from kairos.tenancy import ProjectId, Scope

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""Between two looks at the rights of all listeners."""
CHECKS_AT_ONCE = 4
PING_S = 20.0
PING = '{"type":"ping"}'


class EventFeed:
    """Brings what is committed to those who listen here."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._channels = Channels(redis_keys.events_channel())
        self._listeners: set[Listener] = set()
        self._tails: dict[ProjectId, ProjectTail] = {}
        self._following: dict[ProjectTail, asyncio.Task[None]] = {}
        self._listened = asyncio.Event()

    def admit(self, listener: Listener) -> None:
        """From here on its right is watched."""
        self._listeners.add(listener)
        self._listened.set()

    async def join(self, listener: Listener) -> None:
        """From here on it gets what is committed after `listener.sent`. Raises `EngineUnavailable`."""
        project_id = listener.right.project_id
        tail = self._tails.get(project_id)
        if tail is None or self._following[tail].done():
            tail = self._tails[project_id] = ProjectTail(self._database, project_id)
            self._following[tail] = asyncio.create_task(self._follow(tail), name=f"events of project {project_id}")
        await tail.join(listener)

    async def leave(self, listener: Listener) -> None:
        """Nothing more for this one. The last one of a project ends its tail."""
        self._listeners.discard(listener)
        project_id = listener.right.project_id
        for tail in [tail for tail in self._following if tail.project_id == project_id]:
            tail.leave(listener)
            if tail.idle:
                await self._end(tail)

    async def run(self) -> None:
        """Owned by the daemon; ends with its cancellation, and all tails with it. Idle until somebody listens."""
        try:
            await self._listened.wait()
            await together(self._hear(), self._check_forever(), self._ping_forever())
        finally:
            for listener in self._listeners:
                listener.close(AWAY)
            await end(*self._following.values())

    async def _follow(self, tail: ProjectTail) -> None:
        await self._channels.add(redis_keys.deltas_channel(tail.project_id))
        await tail.follow()

    async def _end(self, tail: ProjectTail) -> None:
        channel = redis_keys.deltas_channel(tail.project_id)
        following = self._following.pop(tail)
        if self._tails.get(tail.project_id) is tail:
            del self._tails[tail.project_id]
            await self._channels.drop(channel)
            if tail.project_id in self._tails:  # somebody came meanwhile
                await self._channels.add(channel)
        await end(following)

    async def check(self, right: Right) -> Closing | None:
        """Why this right ended; None while it holds. Raises `EngineUnavailable`."""
        async with self._database.scope(Scope(right.project_id, right.user_id)) as session:
            standing = await people.standing(session, right.user_id, right.session_id, right.project_id)
        if standing is None or (right.session_id is not None and not standing.session_live):
            return SESSION_ENDED
        return None if standing.role else NO_MEMBER

    async def _hear(self) -> None:
        async for heard in self._signals.listen(self._channels):
            if not isinstance(heard, Notice):
                for tail in self._tails.values():
                    tail.wake()
            elif heard.channel == redis_keys.events_channel():
                self._wake(heard.payload)
            else:
                self._pass_on(heard)

    def _wake(self, payload: bytes) -> None:
        for name in payload.split(b","):
            with suppress(ValueError, KeyError):
                self._tails[ProjectId(UUID(name.decode()))].wake()

    def _pass_on(self, notice: Notice) -> None:
        """A piece of an answer, only to those who listen to the project whose channel it came by."""
        with suppress(KeyError):
            self._tails[redis_keys.project_of_deltas(notice.channel)].pass_on(notice.payload.decode(errors="replace"))

    async def _ping_forever(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            for listener in self._listeners:
                listener.offer_passing(PING)

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            rights = iter({listener.right for listener in self._listeners})
            await asyncio.gather(*(self._check_each(rights) for _ in range(CHECKS_AT_ONCE)))

    async def _check_each(self, rights: Iterator[Right]) -> None:
        for right in rights:
            try:
                closing = await self.check(right)
            except EngineUnavailable as error:
                log.info("rights of listeners were not checked: %s", error)
                return
            if closing:
                for listener in self._listeners:
                    if listener.right == right:
                        listener.close(closing)
