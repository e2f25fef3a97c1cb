"""Collects the events and records of an attempt, and stores them together with its result in one transaction.

If the attempt takes longer than `FLUSH_S`, the collected entries are stored earlier, so that people see its progress
and a crash of the daemon loses little.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from kairos.background_tasks import end
from kairos.db.engine import Database, ProjectGone, Session
from kairos.db.models import EventKind
from kairos.db.repositories.tasks import history, tasks
from kairos.errors import EngineUnavailable, KairosError
from kairos.orchestration.queue.claim import Claim
from kairos.orchestration.queue.event_notices import EventNotices

log = logging.getLogger(__name__)

FLUSH_S = 1.0
"""Longest time that an event or record waits for its transaction."""

Write = Callable[[Session], Awaitable[None]]


class LeaseLost(KairosError):
    """The lease of task {id} was lost to another worker, which runs the task again. Nothing of this attempt was
    stored."""

    status, code = 409, "lease_lost"


@dataclass(frozen=True, slots=True)
class _JournalEntry:
    write: Write
    fenced: bool
    """Whether it is stored only while the attempt holds its lease."""


class AttemptJournal:
    """The events and records of one attempt. Entries are stored once and in order.

    A transaction whose COMMIT got no response may have been committed. PostgreSQL is asked before its entries are
    stored again (`pg_xact_status`).
    """

    def __init__(self, database: Database, claim: Claim, notices: EventNotices) -> None:
        self._database = database
        self._claim = claim
        self._notices = notices
        self._entries: list[_JournalEntry] = []
        self._lock = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        self._storing: tuple[int, int] | None = None
        """Id of the transaction that stores entries, and their number."""
        self._uncertain: tuple[int, int] | None = None
        """The same, of a transaction whose end is unknown."""
        self._lost = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Store the remaining entries of an attempt without a result: the records of its calls."""
        if self._flushing:
            await end(self._flushing)
        try:
            await self.flush()
        except (EngineUnavailable, ProjectGone) as error:
            log.warning("the records of task %s are lost: %s", self._claim.task_id, error)
        except Exception:
            log.exception("the records of task %s cannot be stored", self._claim.task_id)

    def record(self, write: Write) -> None:
        """Add a record. It is stored even if the lease is lost, like the cost of a call."""
        self._add(_JournalEntry(write, fenced=False))

    async def emit(self, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Add a task event. Raises `LeaseLost` once the loss was noticed."""
        if self._lost:
            raise LeaseLost(id=self._claim.task_id)
        claim, happened, kept = self._claim, time.monotonic(), dict(data)  # the agent may change its mapping

        async def write(session: Session) -> None:
            age_s = time.monotonic() - happened
            attempt = claim.task.attempt
            await history.add_event(session, claim.project_id, claim.task_id, attempt, kind, kept, age_s=age_s)

        self._add(_JournalEntry(write, fenced=True))

    async def flush(self) -> None:
        """Store the entries now. Without the lease, events are discarded. Raises `EngineUnavailable`, `ProjectGone`."""
        if not self._entries:
            return
        async with self.transaction() as session:
            held = await tasks.holds(session, self._claim.task_id, self._claim.epoch)
            await self.store(session, fenced=held)
        self._lost = self._lost or not held
        self._notices.notify(self._claim.project_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction in which `store` may be called once. Entries are forgotten when it was committed."""
        async with self._lock:
            self._storing = None
            try:
                async with self._database.project(self._claim.project_id) as session:
                    await self._settle(session)
                    yield session
            except BaseException:  # a cancelled COMMIT may have taken effect too
                self._uncertain = self._storing or self._uncertain
                raise
            if self._storing:
                del self._entries[: self._storing[1]]

    async def store(self, session: Session, *, fenced: bool = True) -> None:
        """Write the entries in this transaction, those that need the lease only if `fenced`."""
        if not self._entries:
            return
        entries = list(self._entries)
        self._storing = (await history.transaction_id(session), len(entries))
        for entry in entries:
            if fenced or not entry.fenced:
                await entry.write(session)

    def _add(self, entry: _JournalEntry) -> None:
        self._entries.append(entry)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_later(), name=f"journal of task {self._claim.task_id}")

    async def _flush_later(self) -> None:
        while self._entries:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except EngineUnavailable as error:
                log.warning("events of task %s are stored later: %s", self._claim.task_id, error)
            except ProjectGone:  # logged at the end of the attempt
                return
            except Exception:
                log.exception("events of task %s cannot be stored before its result", self._claim.task_id)
                return

    async def _settle(self, session: Session) -> None:
        """Forget the entries of a transaction whose end was unknown, if it was committed."""
        if self._uncertain is None:
            return
        transaction, number = self._uncertain
        if await history.was_committed(session, transaction):
            del self._entries[:number]
        self._uncertain = None
