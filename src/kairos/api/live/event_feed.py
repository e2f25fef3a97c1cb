"""Distribute live events to all WebSockets of a daemon.

There is one tail per project with listeners, one Redis connection for notices and streamed drafts, and one query per
second for the rights of all listeners.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from kairos import redis_keys
from kairos.api.live.event_listener import AWAY, NO_MEMBER, SESSION_ENDED, Closing, Listener, Right
from kairos.api.live.event_tail import ProjectTail
from kairos.api.live.messages import LivePingOut
from kairos.background_tasks import NO_JITTER, end, every, run_together
from kairos.db.engine import Database
from kairos.db.repositories.access import rights
from kairos.errors import EngineUnavailable
from kairos.pubsub import Channels, Notice, PubSub
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""Interval of the check of all listeners' rights."""
UNCHECKED_S = 10.0
"""Listeners and downloads end after this time if their rights cannot be checked."""
PING_S = 20.0
PING = LivePingOut().model_dump_json()


class EventFeed:
    """Sends committed events to the listeners of this daemon."""

    def __init__(self, database: Database, pubsub: PubSub) -> None:
        self._database = database
        self._pubsub = pubsub
        self._channels = Channels(redis_keys.events_channel())
        self._listeners: set[Listener] = set()
        self._tails: dict[ProjectId, ProjectTail] = {}
        self._following: dict[ProjectTail, asyncio.Task[None]] = {}
        self._listened = asyncio.Event()

    def admit(self, listener: Listener, most: int) -> bool:
        """Register a listener, whose right is then checked regularly; False if its user has too many sockets."""
        if sum(other.right.user_id == listener.right.user_id for other in self._listeners) >= most:
            return False
        self._listeners.add(listener)
        self._listened.set()
        return True

    async def join(self, listener: Listener) -> None:
        """Start to send the listener all events after `listener.sent`. Raises `EngineUnavailable`."""
        project_id = listener.right.project_id
        tail = self._tails.get(project_id)
        if tail is None or self._following[tail].done():
            tail = self._tails[project_id] = ProjectTail(self._database, project_id)
            self._following[tail] = asyncio.create_task(self._follow(tail), name=f"events of project {project_id}")
        await tail.join(listener)

    async def leave(self, listener: Listener) -> None:
        """Remove the listener. The last listener of a project ends its tail."""
        self._listeners.discard(listener)
        project_id = listener.right.project_id
        for tail in [tail for tail in self._following if tail.project_id == project_id]:
            tail.leave(listener)
            if tail.idle:
                await self._end(tail)

    async def run(self) -> None:
        """Run until cancelled; then end all tails. Idle until the first listener arrives."""
        try:
            await self._listened.wait()
            await run_together(
                self._listen(), self._check_periodically(), every(PING_S, self._ping, jitter=NO_JITTER, at_once=False)
            )
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
            await self._channels.remove(channel)
            if tail.project_id in self._tails:  # a new listener has joined meanwhile
                await self._channels.add(channel)
        await end(following)

    async def check(self, right: Right) -> Closing | None:
        """The reason why the right has ended; None while it is valid. Raises `EngineUnavailable`."""
        return (await self._ended([right])).get(right)

    async def _ended(self, held: list[Right]) -> dict[Right, Closing]:
        """The rights that have ended, with the reason. Uses a system connection: requests may use up all others."""
        async with self._database.system() as connection:
            found = await rights.ended(
                connection, [rights.Credential(r.user_id, r.session_id, r.key_id, r.project_id) for r in held]
            )
        closings = {rights.End.CREDENTIAL: SESSION_ENDED, rights.End.MEMBERSHIP: NO_MEMBER}
        return {held[position]: closings[why] for position, why in found.items()}

    async def _listen(self) -> None:
        async for notice in self._pubsub.listen(self._channels):
            if not isinstance(notice, Notice):
                for tail in self._tails.values():
                    tail.wake()
            elif notice.channel == redis_keys.events_channel():
                self._wake(notice.payload)
            else:
                self._forward(notice)

    def _wake(self, payload: bytes) -> None:
        for name in payload.split(b","):
            with suppress(ValueError, KeyError):
                self._tails[ProjectId(UUID(name.decode()))].wake()

    def _forward(self, notice: Notice) -> None:
        """Send a piece of a draft to the listeners of its channel's project."""
        with suppress(KeyError):
            self._tails[redis_keys.project_of_deltas(notice.channel)].forward(notice.payload.decode(errors="replace"))

    async def _ping(self) -> None:
        for listener in self._listeners:
            listener.offer_transient(PING)

    async def _check_periodically(self) -> None:
        clock = asyncio.get_running_loop().time
        checked = clock()

        async def check() -> None:
            nonlocal checked
            await self._check_all()
            checked = clock()

        def close_unchecked(error: EngineUnavailable) -> None:
            log.info("the rights of listeners could not be checked: %s", error)
            if clock() - checked > UNCHECKED_S:
                self._close(dict.fromkeys((listener.right for listener in self._listeners), AWAY))

        await every(CHECK_S, check, close_unchecked, jitter=NO_JITTER, at_once=False)

    async def _check_all(self) -> None:
        if held := list({listener.right for listener in self._listeners}):
            self._close(await self._ended(held))

    def _close(self, ended: dict[Right, Closing]) -> None:
        for listener in self._listeners:
            if listener.right in ended:
                listener.close(ended[listener.right])
