"""Live events over a WebSocket, authenticated by a one-time ticket.

Browsers cannot set headers on a WebSocket, and a token in the address would be written to logs.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, WebSocket
from pydantic import BaseModel, Field
from starlette.websockets import WebSocketDisconnect

from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.access.public_address import same_origin
from kairos.api.access.tokens import digest, new_secret
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.live.event_feed import EventFeed
from kairos.api.live.event_listener import (
    AWAY,
    BAD_CURSOR,
    GONE,
    NO_MEMBER,
    SESSION_ENDED,
    TOO_MANY,
    Closing,
    Listener,
    Right,
)
from kairos.api.live.event_tail import backlog, current_cursor
from kairos.api.live.messages import LiveHelloOut
from kairos.api.problems import RateLimited, responses
from kairos.background_tasks import end
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.repositories.live import events
from kairos.db.repositories.live.events import Cursor
from kairos.errors import EngineUnavailable, InvalidInput
from kairos.tenancy import ProjectId, Scope, UserId
from kairos.text import Text

TICKET_S = 30
CLOSE_S = 5.0
"""Longest time for sending the close reason to a client that does not read."""
ENDED_S = 1.0
"""The same for a client whose right has ended."""

routes = APIRouter(prefix="/api/events", tags=["events"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class EventServices:
    settings: Settings
    database: Database
    events: EventFeed


ServicesDep = Annotated[EventServices, depends_on(EventServices)]


ReaderDep = Annotated[Member, Depends(needs(Permission.EVENTS_READ))]


class TicketOut(BaseModel):
    ticket: str = Field(description="Opens one WebSocket at /api/events?ticket=…, which sends `LiveMessageOut`.")
    expires_in: int = Field(description="Seconds.")


@routes.post("/ticket", responses=responses(401, 403, 409, 429, 503))
async def make_ticket(services: ServicesDep, member: ReaderDep) -> TicketOut:
    """Create a one-time ticket for the live events of the active project."""
    secret = new_secret()
    ticket = events.Ticket(member.user_id, member.session_id, member.project_id, member.key_id)
    async with services.database.scope(Scope(member.project_id, member.user_id)) as session:
        if await events.waiting_tickets(session, member.user_id) >= 2 * services.settings.auth.sockets_per_user:
            raise RateLimited(seconds=TICKET_S)
        await events.add_ticket(session, digest(secret), ticket, timedelta(seconds=TICKET_S))
    return TicketOut(ticket=f"{member.user_id}.{secret}", expires_in=TICKET_S)


@routes.websocket("")
async def listen(
    services: ServicesDep,
    socket: WebSocket,
    ticket: Annotated[Text, Query(max_length=200)] = "",
    after: Annotated[Text, Query(max_length=100)] = "",
) -> None:
    """Send the events of the ticket's project: those after the cursor, and then new ones as they are committed."""
    # Only browsers send an Origin header.
    if "origin" in socket.headers and not same_origin(socket):
        return await socket.close()  # before accepting: the handshake ends with 403
    await socket.accept()
    try:
        admitted = await _admit(services, ticket, after)
        if isinstance(admitted, Closing):
            return await _close(socket, admitted)
        right, cursor = admitted
        await _serve(socket, services, right, cursor)
    except EngineUnavailable:
        await _close(socket, AWAY)
    return None


async def _admit(services: EventServices, ticket: str, after: str) -> tuple[Right, Cursor | None] | Closing:
    """Use up the ticket and check its right; the right and the cursor, or the reason to close."""
    try:
        cursor = Cursor.parse(after) if after else None
    except InvalidInput:
        return BAD_CURSOR
    spent = await _spend(services, ticket)
    if spent is None:
        return SESSION_ENDED
    right = Right(UserId(spent.user_id), spent.session_id, ProjectId(spent.project_id), spent.key_id)
    return await services.events.check(right) or (right, cursor)


async def _spend(services: EventServices, ticket: str) -> events.Ticket | None:
    """Use up the ticket. It contains its user's id, because it is visible only in that user's scope."""
    name, _, secret = ticket.partition(".")
    try:
        user_id = UserId(UUID(name))
    except ValueError:
        return None
    async with services.database.scope(Scope(user_id=user_id)) as session:
        return await events.spend_ticket(session, digest(secret))


async def _serve(socket: WebSocket, services: EventServices, right: Right, after: Cursor | None) -> None:
    """Serve the socket until either side closes it."""
    cursor = after or await current_cursor(services.database, right.project_id)
    listener = Listener(right, cursor)
    if not services.events.admit(listener, services.settings.auth.sockets_per_user):
        return await _close(socket, TOO_MANY)
    works = [
        asyncio.create_task(_send(socket, services, listener), name="sending events"),
        asyncio.create_task(_until_gone(socket, listener), name="listener's end"),
    ]
    try:
        closing = await listener.closed()
    finally:
        await end(*works)
        await services.events.leave(listener)
    for work in works:
        if not work.cancelled() and (error := work.exception()):
            raise error
    if closing is not GONE:
        await _close(socket, closing)
    return None


async def _send(socket: WebSocket, services: EventServices, listener: Listener) -> None:
    """Send the backlog at the listener's pace, then new events."""
    try:
        await socket.send_text(LiveHelloOut(cursor=str(listener.sent)).model_dump_json())
        async for page, cursor in backlog(services.database, listener.right.project_id, listener.sent):
            for message in page:
                await socket.send_text(message.text)
            listener.sent = cursor
        await services.events.join(listener)
        while True:
            await socket.send_text(await listener.next())
    except EngineUnavailable:
        listener.close(AWAY)
    except (WebSocketDisconnect, RuntimeError):  # raised by Starlette and uvicorn if the client has disconnected
        pass
    finally:
        listener.close(GONE)


async def _until_gone(socket: WebSocket, listener: Listener) -> None:
    """Wait until the client disconnects; its messages are ignored."""
    with suppress(RuntimeError):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass
    listener.close(GONE)


async def _close(socket: WebSocket, closing: Closing) -> None:
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(ENDED_S if closing in (SESSION_ENDED, NO_MEMBER) else CLOSE_S):
            await socket.close(*closing)
