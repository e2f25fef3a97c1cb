"""When a credential ends, sockets and downloads opened with it end within two seconds, on every daemon."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import aiohttp
import pytest
from sqlalchemy import func, update

from kairos.api.access.tokens import digest, new_secret
from kairos.api.live import watched_download
from kairos.db.models import ApiKeyRow, Role, SampleRow
from kairos.db.repositories.access import members, people, sessions
from kairos.tenancy import Scope, UserId, new_id
from tests.kit.api import Caller, serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.watching import background, watching

PASSWORD = "correct horse battery"


@pytest.fixture
async def second_daemon(app: KairosApp, addresses, models) -> AsyncIterator[Caller]:
    """The API of a second daemon. Sockets are opened there; changes are made at the first."""
    async with open_app(addresses, models) as other, serving(other.parts) as caller, background(other.parts):
        yield caller


@asynccontextmanager
async def listening(second_daemon: Caller, credential: str):
    """Open a socket at the second daemon with a credential."""
    async with watching(second_daemon.with_token(credential)) as watcher:
        await watcher.wait_for_hello()
        yield watcher


async def create_key(owner: Caller) -> tuple[str, str]:
    made = await owner.post("/api/keys", {"name": "k", "scopes": ["events:read", "dataset:read", "project:export"]})
    return made["key"], made["id"]


async def link(app: KairosApp, user_id: UserId) -> str:
    token = new_secret()
    async with app.database.scope(Scope(user_id=user_id)) as session:
        await sessions.add_link(session, digest(token), user_id, "reset", timedelta(hours=1))
    return token


class TestKeys:
    async def test_revoked_key_closes_its_sockets(self, second_daemon: Caller, owner: Caller):
        key, key_id = await create_key(owner)
        _, other_id = await create_key(owner)
        async with listening(second_daemon, key) as watcher:
            await owner.call("DELETE", f"/api/keys/{other_id}")
            await owner.call("DELETE", f"/api/keys/{key_id}")
            assert await watcher.closed(within_s=2) == 4401

    async def test_expired_key_closes_its_sockets(self, app: KairosApp, second_daemon: Caller, owner: Caller):
        key, key_id = await create_key(owner)
        async with listening(second_daemon, key) as watcher:
            async with app.database.project(app.project_id) as session:
                expired = update(ApiKeyRow).where(ApiKeyRow.id == UUID(key_id))
                await session.execute(expired.values(expires_at=func.now()))
            assert await watcher.closed(within_s=2) == 4401

    async def test_ticket_of_a_revoked_key_opens_no_socket(self, second_daemon: Caller, owner: Caller):
        key, key_id = await create_key(owner)
        ticket = (await second_daemon.with_token(key).post("/api/events/ticket"))["ticket"]
        await owner.call("DELETE", f"/api/keys/{key_id}")
        async with watching(second_daemon, ticket=ticket) as watcher:
            assert await watcher.closed(within_s=2) == 4401
        assert watcher.received == []

    async def test_key_of_a_removed_member_closes_its_sockets(
        self, app: KairosApp, second_daemon: Caller, owner: Caller
    ):
        user_id, admin = await new_member(app, owner, Role.ADMIN)
        key, _ = await create_key(admin)
        async with listening(second_daemon, key) as watcher:
            assert (await owner.call("DELETE", f"/api/members/{user_id}")).status == 204
            assert await watcher.closed(within_s=2) == 4403


async def new_member(app: KairosApp, anonymous: Caller, role: Role) -> tuple[UserId, Caller]:
    user_id = UserId(new_id())
    async with app.database.scope(Scope(app.project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "Some", operator=False)
        await members.add_member(session, app.project_id, user_id, role)
    return user_id, await signed_in(app.parts, anonymous, user_id, app.project_id)


class TestPeople:
    @pytest.mark.parametrize("how", ["reset", "change", "sign_out", "everywhere", "disabled", "removed"])
    async def test_ending_a_session_closes_its_sockets(
        self, app: KairosApp, second_daemon: Caller, owner: Caller, how: str
    ):
        user_id, caller = await new_member(app, owner, Role.MEMBER)
        setup = await owner.with_token("").post(
            "/api/auth/setup", {"token": await link(app, user_id), "password": PASSWORD}
        )
        first = owner.with_token(setup["access_token"])
        second = await signed_in(app.parts, owner, user_id, app.project_id)
        operator_caller = owner.with_token(
            (await owner.post("/api/auth/local", {"secret": app.parts.api.local_secret}))["access_token"]
        )
        body = {"current": PASSWORD, "new": "an other one than that"}
        actions: dict[str, Callable[[], Awaitable]] = {
            "reset": lambda: reset(app, owner, user_id),
            "change": lambda: first.post("/api/auth/password", body),
            "sign_out": lambda: second.post("/api/auth/logout"),
            "everywhere": lambda: first.post("/api/auth/logout-everywhere"),
            "disabled": lambda: operator_caller.call("PATCH", f"/api/users/{user_id}", json={"disabled": True}),
            "removed": lambda: owner.call("DELETE", f"/api/members/{user_id}"),
        }
        async with listening(second_daemon, second.token) as watcher:
            assert (await actions[how]()).status < 300
            assert await watcher.closed(within_s=2) == (4403 if how == "removed" else 4401)
        assert caller.token != second.token


async def reset(app: KairosApp, anonymous: Caller, user_id: UserId):
    body = {"token": await link(app, user_id), "password": "an other one than that"}
    return await anonymous.with_token("").post("/api/auth/setup", body)


class TestDownloads:
    async def test_export_ends_with_its_key(self, app: KairosApp, second_daemon: Caller, owner: Caller, caplog):
        caplog.set_level(logging.INFO, watched_download.__name__)
        key, key_id = await create_key(owner)
        await add_samples(app, 40, 200_000)
        headers = {"Authorization": f"Bearer {key}"}
        async with second_daemon._session.get("/api/dataset/export", headers=headers) as answer:
            assert answer.status == 200
            await answer.content.readany()
            await owner.call("DELETE", f"/api/keys/{key_id}")
            await eventually(lambda: "download was aborted" in caplog.text, 3, "the server aborts the download")
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await answer.read()

    async def test_export_is_complete_while_the_right_holds(self, app: KairosApp, second_daemon: Caller, owner: Caller):
        key, _ = await create_key(owner)
        await add_samples(app, 3, 1_000)
        reply = await second_daemon.with_token(key).get("/api/dataset/export")
        assert len(reply.body.splitlines()) == 3


async def add_samples(app: KairosApp, rows: int, length: int) -> None:
    async with app.database.project(app.project_id) as session:
        for _ in range(rows):
            row = SampleRow(
                project_id=app.project_id,
                id=new_id(),
                prompt=[{"role": "user", "content": "q" * length}],
                corrected_output="a" * length,
                reason="r",
                state="approved",
                source="person",
            )
            session.add(row)


class TestInvitations:
    async def test_invitation_of_a_removed_admin_is_invalid(self, app: KairosApp, anonymous: Caller, owner: Caller):
        user_id, admin = await new_member(app, owner, Role.ADMIN)
        token = (await admin.post("/api/invitations", {"role": "admin"}))["link"].split("#")[1]
        assert (await anonymous.post("/api/auth/invitation", {"token": token})).status == 200
        await owner.call("DELETE", f"/api/members/{user_id}")
        assert (await anonymous.post("/api/auth/invitation", {"token": token})).status == 404

    async def test_invitation_ends_with_its_creators_right_to_invite(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        user_id, admin = await new_member(app, owner, Role.ADMIN)
        token = (await admin.post("/api/invitations", {"role": "viewer"}))["link"].split("#")[1]
        await owner.call("PATCH", f"/api/members/{user_id}", json={"role": "member"})
        assert (await anonymous.post("/api/auth/invitation", {"token": token})).status == 404
