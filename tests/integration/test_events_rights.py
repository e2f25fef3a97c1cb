"""Permission to listen to events: tickets, sessions and memberships."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, text, update

from kairos.db.models import MembershipRow, SessionRow, TicketRow, UserRow
from kairos.tenancy import ProjectId, Scope, UserId
from tests.kit.api import Caller, serving
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project
from tests.kit.watching import background, watching, with_session


class SignedInOwner:
    """The project's owner, signed in."""

    def __init__(self, app: KairosApp, caller: Caller, session_id: UUID) -> None:
        self.app, self.caller, self.session_id = app, caller, session_id

    async def ticket(self) -> str:
        return (await self.caller.post("/api/events/ticket"))["ticket"]

    async def write(self, statement: Any, project_id: ProjectId | None = None) -> None:
        scope = Scope(project_id, self.app.user_id)
        async with self.app.database.scope(scope) as session:
            assert (await session.execute(statement)).rowcount, "the statement changed nothing"  # type: ignore[attr-defined]

    async def leave(self) -> None:
        await self.write(delete(MembershipRow).where(MembershipRow.user_id == self.app.user_id), self.app.project_id)

    async def end_session(self) -> None:
        ended = update(SessionRow).where(SessionRow.id == self.session_id)
        await self.write(ended.values(revoked_at=func.now()))


@pytest.fixture
async def owner(app: KairosApp) -> AsyncIterator[SignedInOwner]:
    async with serving(app.parts) as anonymous, background(app.parts):
        caller, session_id = await with_session(app.parts, anonymous, app.user_id, app.project_id)
        yield SignedInOwner(app, caller, session_id)


async def refused(caller: Caller, ticket: str) -> int:
    """Open a socket that is refused, and return its close code. Nothing may be sent before it."""
    async with watching(caller, after="0-0", ticket=ticket) as watcher:
        code = await watcher.closed()
    assert watcher.received == []
    return code


async def test_ticket_requires_a_token(owner: SignedInOwner):
    assert (await owner.caller.with_token("").post("/api/events/ticket")).status == 401


async def test_ticket_works_once(owner: SignedInOwner):
    ticket = await owner.ticket()
    async with watching(owner.caller, ticket=ticket) as watcher:
        await watcher.wait_for_hello()
        assert await refused(owner.caller, ticket) == 4401


async def test_ticket_expires(owner: SignedInOwner):
    ticket = await owner.ticket()
    await owner.write(update(TicketRow).values(expires_at=func.now() - text("interval '1 second'")))
    assert await refused(owner.caller, ticket) == 4401


async def test_ticket_is_stored_as_a_hash(owner: SignedInOwner):
    ticket = await owner.ticket()
    secret = ticket.partition(".")[2].encode()
    async with owner.app.database.scope(Scope(user_id=owner.app.user_id)) as session:
        kept = (await session.execute(text("select token_hash from event_tickets"))).scalars().all()
    assert [len(bytes(value)) for value in kept] == [32]
    assert all(secret not in bytes(value) for value in kept)


async def test_ticket_is_invalid_for_another_user(owner: SignedInOwner):
    """The user id in the ticket is changed: the ticket does not exist for that user, and stays valid for its owner."""
    ticket = await owner.ticket()
    _, other_user = await new_project(owner.app.parts)
    assert await refused(owner.caller, f"{other_user}.{ticket.partition('.')[2]}") == 4401
    async with watching(owner.caller, ticket=ticket) as watcher:
        await watcher.wait_for_hello()


@pytest.mark.parametrize("nonsense", ["", ".", "x.y", "00000000-0000-0000-0000-000000000000."])
async def test_malformed_ticket_is_refused(owner: SignedInOwner, nonsense: str):
    assert await refused(owner.caller, nonsense) == 4401


async def test_ticket_ends_with_its_session_and_membership(owner: SignedInOwner):
    first, second = await owner.ticket(), await owner.ticket()
    await owner.leave()
    assert await refused(owner.caller, first) == 4403
    await owner.end_session()
    assert await refused(owner.caller, second) == 4401


async def test_removed_member_is_disconnected_within_two_seconds(owner: SignedInOwner):
    async with watching(owner.caller) as watcher, watching(owner.caller) as another:
        await watcher.wait_for_hello()
        await another.wait_for_hello()
        await owner.leave()
        assert await watcher.closed(within_s=2) == 4403
        assert await another.closed(within_s=1) == 4403
        await owner.app.submit("after that")
    assert watcher.kinds == []


async def test_signed_out_session_is_disconnected_within_two_seconds(owner: SignedInOwner):
    """Another session of the same user stays open."""
    app = owner.app
    other, _ = await with_session(app.parts, owner.caller, app.user_id, app.project_id)
    async with watching(owner.caller) as ended, watching(other) as still_open:
        await ended.wait_for_hello()
        await still_open.wait_for_hello()
        await owner.end_session()
        assert await ended.closed(within_s=2) == 4401
        await app.submit("after that")
        await still_open.wait_for("queued")
    assert ended.kinds == []


async def test_disabled_account_is_disconnected(owner: SignedInOwner):
    async with watching(owner.caller) as watcher:
        await watcher.wait_for_hello()
        async with owner.app.database.scope(Scope(user_id=UserId(owner.app.user_id), operator=True)) as session:
            await session.execute(update(UserRow).where(UserRow.id == owner.app.user_id).values(disabled_at=func.now()))
        assert await watcher.closed(within_s=2) == 4401


async def test_stopping_daemon_closes_its_sockets(app: KairosApp):
    """Clients reconnect with their cursor, to this daemon or another."""
    async with serving(app.parts) as anonymous, background(app.parts):
        caller, _ = await with_session(app.parts, anonymous, app.user_id, app.project_id)
        async with watching(caller) as watcher:
            await watcher.wait_for_hello()
            feed = app.parts.api.events
            await eventually(lambda: feed._listeners, why="the listener is registered")
    assert not feed._listeners
    assert not feed._following
