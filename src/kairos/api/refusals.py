"""Record in the audit log who requested a task or a project of another project.

The response is the same 404 as for a missing object. It is sent before the lookup, so that recording does not delay the
request. Requests that arrive faster than they can be looked up are dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.repositories.access import audit
from kairos.db.repositories.projects import projects
from kairos.errors import EngineUnavailable, NotFound
from kairos.tenancy import ProjectId, Scope, UserId

log = logging.getLogger(__name__)

ROOM = 1000
"""Denied accesses that wait for their lookup."""
WINDOW_S = 60
PER_WINDOW = 600
"""Lookups in one window, over all users; each user and object is looked up once."""
NOTED = ("task", "project")


@dataclass(frozen=True, slots=True)
class DeniedAccess:
    """A requested object that was not found, the user, and the user's active project."""

    user_id: UserId
    asked_in: ProjectId | None
    what: str
    id: UUID


class Refusals:
    """A bounded queue of denied accesses, and its consumer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: asyncio.Queue[DeniedAccess] = asyncio.Queue(ROOM)
        self._window = 0
        self._seen: set[tuple[UserId, UUID]] = set()

    def note(self, user_id: UserId, asked_in: ProjectId | None, error: NotFound) -> None:
        """Queue a denied access. Never waits."""
        what, wanted = error.values.get("what"), error.values.get("id")
        if what not in NOTED or not isinstance(wanted, UUID) or not self._first(user_id, wanted):
            return
        try:
            self._waiting.put_nowait(DeniedAccess(user_id, asked_in, str(what), wanted))
        except asyncio.QueueFull:
            log.debug("a denied access is not looked up: the queue is full")

    async def run(self) -> None:
        """Process the queue until cancelled."""
        while True:
            access = await self._waiting.get()
            try:
                await self._look_up(access)
            except EngineUnavailable as error:
                log.warning("a denied access could not be recorded: %s", error)
            except Exception:
                log.exception("a denied access could not be recorded")
            finally:
                self._waiting.task_done()

    async def join(self) -> None:
        """Wait until everything queued so far was looked up."""
        await self._waiting.join()

    async def _look_up(self, access: DeniedAccess) -> None:
        async with self._database.system() as connection:
            owner = await projects.of_id(connection, access.id)
        if owner is None or owner == access.asked_in:
            return
        # In the log of the object's project: an entry in the user's own would reveal that the id exists.
        async with self._database.scope(Scope(owner)) as session:
            await audit.refused(session, owner, access.user_id, access.what, str(access.id))

    def _first(self, user_id: UserId, wanted: UUID) -> bool:
        window = int(time.monotonic() // WINDOW_S)
        if window != self._window:
            self._window, self._seen = window, set()
        if (user_id, wanted) in self._seen or len(self._seen) >= PER_WINDOW:
            return False
        self._seen.add((user_id, wanted))
        return True
