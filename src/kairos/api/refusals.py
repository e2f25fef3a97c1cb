"""Notes in the audit log who named a task or a project of others.

The answer was 404 as for one that does not exist, and was given before anybody looks whether it does: a note costs the
request nothing and waits for nothing. What comes faster than it can be looked up is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.repositories import audit, projects
from kairos.errors import EngineUnavailable, NotFound
from kairos.tenancy import ProjectId, Scope, UserId

log = logging.getLogger(__name__)

ROOM = 1000
"""Notes that wait to be looked up."""
WINDOW_S = 60
PER_WINDOW = 600
"""Notes looked up in one window, all people together; and one for each person and thing."""
NOTED = ("task", "project")


@dataclass(frozen=True, slots=True)
class Named:
    """Who named what, and the project in which they asked."""

    user_id: UserId
    asked_in: ProjectId | None
    what: str
    id: UUID


class Refusals:
    """A bounded queue, and the one that empties it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: asyncio.Queue[Named] = asyncio.Queue(ROOM)
        self._window = 0
        self._seen: set[tuple[UserId, UUID]] = set()

    def note(self, user_id: UserId, asked_in: ProjectId | None, error: NotFound) -> None:
        """Never waits, and says nothing of what it does."""
        what, wanted = error.values.get("what"), error.values.get("id")
        if what not in NOTED or not isinstance(wanted, UUID) or not self._first(user_id, wanted):
            return
        try:
            self._waiting.put_nowait(Named(user_id, asked_in, str(what), wanted))
        except asyncio.QueueFull:
            log.debug("a refused access is not looked up: too many wait")

    async def run(self) -> None:
        """Owned by the daemon; ends with its cancellation."""
        while True:
            named = await self._waiting.get()
            try:
                await self._look_up(named)
            except EngineUnavailable as error:
                log.warning("a refused access could not be noted: %s", error)
            except Exception:
                log.exception("a refused access could not be noted")
            finally:
                self._waiting.task_done()

    async def settle(self) -> None:
        """Until everything noted so far was looked up."""
        await self._waiting.join()

    async def _look_up(self, named: Named) -> None:
        async with self._database.system() as connection:
            owner = await projects.of_id(connection, named.id)
        if owner is None or owner == named.asked_in:
            return
        # In the log of the project that was meant: in the asker's own it would tell them that the id exists.
        async with self._database.scope(Scope(owner)) as session:
            await audit.refused(session, owner, named.user_id, named.what, str(named.id))

    def _first(self, user_id: UserId, wanted: UUID) -> bool:
        window = int(time.monotonic() // WINDOW_S)
        if window != self._window:
            self._window, self._seen = window, set()
        if (user_id, wanted) in self._seen or len(self._seen) >= PER_WINDOW:
            return False
        self._seen.add((user_id, wanted))
        return True
