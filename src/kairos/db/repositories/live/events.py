"""Live events of a project in a gap-free order, and the tickets for their WebSockets.

Ids are assigned before their transactions end, so a reader that follows ids alone misses events committed late. In the
order (xact, id), limited to transactions older than the oldest running one, reads are complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import EventKind, TaskEventRow, TaskRow, TicketRow
from kairos.db.repositories.tasks.tasks import LISTED, ListedTask
from kairos.errors import InvalidInput

CURSOR = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)
MAX_INT8 = 2**63 - 1

HORIZON = text("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


class Cursor(NamedTuple):
    """A position in the order of events: all events up to it have been read."""

    xact: int
    id: int

    def __str__(self) -> str:
        return f"{self.xact}-{self.id}"

    @classmethod
    def parse(cls, given: str) -> Self:
        """Parse the result of `str`. Raises `InvalidInput`."""
        found = CURSOR.fullmatch(given)
        cursor = cls(int(found[1]), int(found[2])) if found else None
        if cursor is None or max(cursor) > MAX_INT8:
            raise InvalidInput(
                where="after",
                problem="it is not a valid event cursor",
                remedy="Send the last cursor you received, or none",
            )
        return cursor


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """An event with its task."""

    cursor: Cursor
    task_id: UUID
    attempt: int
    kind: EventKind
    data: dict[str, Any]
    at: datetime
    task: ListedTask
    """The task at the time of reading."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of a project's events."""

    events: Sequence[LiveEvent]
    cursor: Cursor
    """Start of the next page."""
    more: bool
    """The limit was reached: there may be further events."""
    held: bool
    """Further events are committed, but held back until an older transaction has ended."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The user and project for which a WebSocket may be opened."""

    user_id: UUID
    session_id: UUID | None
    project_id: UUID
    key_id: UUID | None = None


async def end(session: AsyncSession) -> Cursor:
    """The position after all complete events."""
    return Cursor((await session.execute(HORIZON)).scalar_one(), 0)


async def after(session: AsyncSession, cursor: Cursor, limit: int) -> EventPage:
    """The next events of the project in scope, without those before which an event may still be added."""
    horizon = await end(session)
    event = TaskEventRow
    statement = (
        select(event.xact, event.id, event.task_id, event.attempt, event.kind, event.data, event.at, *LISTED)
        .join(TaskRow, (TaskRow.project_id == event.project_id) & (TaskRow.id == event.task_id))
        .where(tuple_(event.xact, event.id) > tuple_(*cursor))
        .order_by(event.xact, event.id)
        .limit(limit)
    )
    found = [_event(row) for row in (await session.execute(statement)).all()]
    complete = [event for event in found if event.cursor < horizon]
    if len(complete) == limit:
        return EventPage(complete, complete[-1].cursor, more=True, held=False)
    return EventPage(complete, max(horizon, cursor), more=False, held=len(found) > len(complete))


def _event(row: Any) -> LiveEvent:
    xact, number, task_id, attempt, kind, data, at, *task = row
    return LiveEvent(Cursor(xact, number), task_id, attempt, EventKind(kind), data, at, ListedTask.of(task))


async def add_ticket(session: AsyncSession, token_hash: bytes, ticket: Ticket, life: timedelta) -> None:
    """Store a ticket. In the user's scope."""
    await session.execute(
        insert(TicketRow).values(
            token_hash=token_hash,
            user_id=ticket.user_id,
            session_id=ticket.session_id,
            project_id=ticket.project_id,
            key_id=ticket.key_id,
            expires_at=func.now() + life,
        )
    )


async def waiting_tickets(session: AsyncSession, user_id: UUID) -> int:
    """Number of the user's valid tickets; expired ones are deleted."""
    await session.execute(delete(TicketRow).where(TicketRow.user_id == user_id, TicketRow.expires_at <= func.now()))
    mine = select(func.count()).select_from(TicketRow).where(TicketRow.user_id == user_id)
    return await session.scalar(mine) or 0


async def spend_ticket(session: AsyncSession, token_hash: bytes) -> Ticket | None:
    """Redeem a ticket once; None if it is unknown or expired. In the user's scope."""
    statement = (
        delete(TicketRow)
        .where(TicketRow.token_hash == token_hash)
        .returning(
            TicketRow.user_id,
            TicketRow.session_id,
            TicketRow.project_id,
            TicketRow.key_id,
            TicketRow.expires_at > func.now(),
        )
    )
    row = (await session.execute(statement)).one_or_none()
    return Ticket(*row[:4]) if row and row[4] else None
