"""Accounts over HTTP: invitations, sessions, passwords, roles and API keys."""

from __future__ import annotations

import itertools
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from kairos.api.access.permissions import LEAST_ROLE, Permission, granted, table
from kairos.api.access.sign_in_limits import PER_ACCOUNT
from kairos.api.access.tokens import digest, new_secret
from kairos.db.models import ApiKeyRow, AuditRow, Role, SessionRow
from kairos.db.repositories.access import members, people, sessions
from kairos.tenancy import Scope, UserId, new_id
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp

PASSWORD = "correct horse battery"


def other(character: str) -> str:
    return "y" if character == "x" else "x"


async def new_member(app: KairosApp, anonymous: Caller, role: Role) -> tuple[UserId, Caller]:
    """Add a member to the app's project, and return the user id and a signed-in caller."""
    user_id = UserId(new_id())
    async with app.database.scope(Scope(app.project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "Some", operator=False)
        await members.add_member(session, app.project_id, user_id, role)
    return user_id, await signed_in(app.parts, anonymous, user_id, app.project_id)


async def operator(app: KairosApp, anonymous: Caller) -> Caller:
    reply = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
    return anonymous.with_token(reply["access_token"])


async def with_password(app: KairosApp) -> str:
    """Give the project's owner a password, and return the owner's e-mail address."""
    token = new_secret()
    async with app.database.scope(Scope(user_id=app.user_id)) as session:
        await sessions.add_link(session, digest(token), app.user_id, "setup", timedelta(hours=1))
    await app.parts.api.accounts.use_link(token, PASSWORD, "test")
    return f"{app.user_id}@test"


async def count_audit_entries(app: KairosApp, action: str) -> int:
    async with app.database.scope(Scope(app.project_id, app.user_id)) as session:
        return await session.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.action == action)) or 0


class TestInvitations:
    async def test_invitation_creates_an_account_and_a_membership_once(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        invited = await owner.post("/api/invitations", {"role": "member"})
        assert invited.status == 201
        token = invited["link"].split("/join#")[1]
        shown = await anonymous.post("/api/auth/invitation", {"token": token})
        assert (shown["project_name"], shown["role"], shown["invited_by"]) == ("Test", "member", "Test")

        body = {"token": token, "email": f"{uuid4()}@Test", "name": "Ada", "password": PASSWORD}
        registered = await anonymous.post("/api/auth/register", body)
        assert registered.status == 200
        me = await anonymous.with_token(registered["access_token"]).get("/api/auth/me")
        assert (me["email"], me["role"], me["project_name"]) == (body["email"].lower(), "member", "Test")

        again = await anonymous.post("/api/auth/register", {**body, "email": f"{uuid4()}@test"})
        assert (again.status, again["code"]) == (404, "invitation_gone")
        assert await count_audit_entries(app, "member.joined") == 1

    async def test_invitation_can_be_deleted(self, anonymous: Caller, owner: Caller):
        invited = await owner.post("/api/invitations", {})
        listed = await owner.get("/api/invitations")
        assert [item["id"] for item in listed["items"]] == [invited["id"]]
        assert "link" not in listed["items"][0]
        assert (await owner.call("DELETE", f"/api/invitations/{invited['id']}")).status == 204
        token = invited["link"].split("#")[1]
        assert (await anonymous.post("/api/auth/invitation", {"token": token})).status == 404
        assert (await owner.call("DELETE", f"/api/invitations/{invited['id']}")).status == 404

    async def test_invitation_for_an_address_is_refused_for_others(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        invited = await owner.post("/api/invitations", {"email": "Ada@test"})
        token = invited["link"].split("#")[1]
        body = {"token": token, "email": f"{uuid4()}@test", "name": "Eve", "password": PASSWORD}
        refused = await anonymous.post("/api/auth/register", body)
        assert (refused.status, "ada@test" in refused["detail"]) == (422, True)
        _, other_caller = await new_member(app, anonymous, Role.VIEWER)
        refused = await other_caller.post("/api/auth/accept", {"token": token})
        assert (refused.status, refused["code"]) == (409, "not_your_invitation")

    async def test_existing_account_accepts_an_invitation(self, app: KairosApp, anonymous: Caller, owner: Caller):
        other = await owner.post("/api/projects", {"name": "Other"})
        switched = await owner.post(f"/api/projects/{other['id']}/switch")
        invited = await owner.with_token(switched["access_token"]).post("/api/invitations", {"role": "viewer"})
        token = invited["link"].split("#")[1]
        _, caller = await new_member(app, anonymous, Role.MEMBER)
        joined = await caller.post("/api/auth/accept", {"token": token})
        assert (joined.status, joined["project_name"], joined["role"]) == (200, "Other", "viewer")
        assert [p["name"] for p in (await caller.get("/api/projects"))["items"]] == ["Test", "Other"]

    async def test_admin_cannot_invite_an_owner(self, app: KairosApp, anonymous: Caller):
        _, admin = await new_member(app, anonymous, Role.ADMIN)
        assert (await admin.post("/api/invitations", {"role": "owner"})).status == 403
        assert (await admin.post("/api/invitations", {"role": "admin"})).status == 201


class TestRefresh:
    async def test_refresh_can_be_repeated_after_a_lost_answer(self, app: KairosApp, anonymous: Caller):
        """A refresh token used again within ten seconds returns the same successor."""
        first = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        one = await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})
        two = await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})
        assert one["refresh_token"] == two["refresh_token"] != first.refresh_token

    async def test_reuse_after_the_grace_period_ends_the_session(self, app: KairosApp, anonymous: Caller):
        first = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        renewed = await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})
        async with app.database.scope(Scope(user_id=app.user_id)) as session:
            eleven = func.now() - timedelta(seconds=11)
            await session.execute(update(SessionRow).where(SessionRow.generation == 1).values(rotated_at=eleven))
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})).status == 401
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": renewed["refresh_token"]})).status == 401
        assert (await anonymous.with_token(renewed["access_token"]).get("/api/auth/me")).status == 401
        assert await count_audit_entries(app, "session.token_reused") == 1

    async def test_reuse_of_an_older_token_ends_the_session(self, app: KairosApp, anonymous: Caller):
        first = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        token = first.refresh_token
        for _ in range(2):
            token = (await anonymous.post("/api/auth/refresh", {"refresh_token": token}))["refresh_token"]
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})).status == 401
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": token})).status == 401

    async def test_forged_refresh_token_is_refused_and_ends_no_session(self, app: KairosApp, anonymous: Caller):
        first = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        forged = ("B" if first.refresh_token[30] == "A" else "A").join(
            (first.refresh_token[:30], first.refresh_token[31:])
        )
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": forged})).status == 401
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": first.refresh_token})).status == 200

    async def test_tabs_on_different_projects_are_independent(self, app: KairosApp, anonymous: Caller, owner: Caller):
        other = await owner.post("/api/projects", {"name": "Other"})
        first = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        names = []
        for wanted in (str(app.project_id), other["id"]):
            body = {"refresh_token": first.refresh_token, "project_id": wanted}
            reply = await anonymous.post("/api/auth/refresh", body)
            names.append((await anonymous.with_token(reply["access_token"]).get("/api/auth/me"))["project_name"])
        assert names == ["Test", "Other"]


class TestCookie:
    async def signed_in(self, app: KairosApp, anonymous: Caller) -> Reply:
        email = await with_password(app)
        return await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD, "cookie": True})

    async def test_cookie_is_httponly_and_same_site(self, app: KairosApp, anonymous: Caller):
        reply = await self.signed_in(app, anonymous)
        assert reply["refresh_token"] is None
        cookie = reply.headers["Set-Cookie"].lower()
        assert all(
            attribute in cookie for attribute in ("kairos_refresh=", "httponly", "samesite=strict", "path=/api/auth")
        )

    async def test_cookie_refreshes_only_from_pages_of_kairos(self, app: KairosApp, anonymous: Caller):
        reply = await self.signed_in(app, anonymous)
        sent = {"Cookie": reply.headers["Set-Cookie"].split(";")[0]}
        foreign = await anonymous.post("/api/auth/refresh", {}, headers={**sent, "Origin": "http://evil.test"})
        none = await anonymous.post("/api/auth/refresh", {}, headers=sent)
        assert (foreign.status, none.status, foreign["code"]) == (403, 403, "foreign_origin")
        ours = await anonymous.post("/api/auth/refresh", {}, headers={**sent, "Origin": anonymous.address})
        assert (ours.status, ours["refresh_token"]) == (200, None)
        assert "kairos_refresh=" in ours.headers["Set-Cookie"]


class TestSessions:
    async def test_sessions_are_listed_and_ended(self, app: KairosApp, anonymous: Caller, owner: Caller):
        other = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        items = (await owner.get("/api/auth/sessions"))["items"]
        assert sorted(item["current"] for item in items) == [False, True]
        away = next(item["id"] for item in items if not item["current"])
        assert (await owner.call("DELETE", f"/api/auth/sessions/{away}")).status == 204
        assert (await other.get("/api/auth/me")).status == 401
        assert (await owner.get("/api/auth/me")).status == 200

    async def test_session_of_another_user_cannot_be_ended(self, app: KairosApp, anonymous: Caller, owner: Caller):
        _, other_caller = await new_member(app, anonymous, Role.ADMIN)
        mine = (await owner.get("/api/auth/sessions"))["items"][0]["id"]
        theirs = await other_caller.call("DELETE", f"/api/auth/sessions/{mine}")
        nowhere = await other_caller.call("DELETE", f"/api/auth/sessions/{uuid4()}")
        assert theirs.status == nowhere.status == 404
        assert (await owner.get("/api/auth/me")).status == 200

    async def test_sign_out_everywhere_ends_all_sessions(self, app: KairosApp, anonymous: Caller, owner: Caller):
        other = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        assert (await owner.post("/api/auth/logout-everywhere")).status == 204
        assert (await owner.get("/api/auth/me")).status == (await other.get("/api/auth/me")).status == 401


class TestPasswords:
    async def test_password_change_requires_the_old_one_and_ends_other_sessions(
        self, app: KairosApp, anonymous: Caller
    ):
        email = await with_password(app)
        mine, other = [
            anonymous.with_token(
                (await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD}))["access_token"]
            )
            for _ in range(2)
        ]
        wrong = await mine.post("/api/auth/password", {"current": "guess", "new": "another long one"})
        assert (wrong.status, "current" in wrong["detail"]) == (422, True)
        right = await mine.post("/api/auth/password", {"current": PASSWORD, "new": "another long one"})
        assert right.status == 204
        assert ((await mine.get("/api/auth/me")).status, (await other.get("/api/auth/me")).status) == (200, 401)
        assert (await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD})).status == 401

    async def test_operator_creates_a_reset_link(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app)
        owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        assert (await owner.post(f"/api/users/{app.user_id}/reset-link")).status == 403
        operator_caller = await operator(app, anonymous)
        link = (await operator_caller.post(f"/api/users/{app.user_id}/reset-link"))["link"]
        token = link.split("/reset#")[1]
        assert (await anonymous.post("/api/auth/setup", {"token": token, "password": "brand new one"})).status == 200
        assert (await anonymous.post("/api/auth/setup", {"token": token, "password": "brand new one"})).status == 401
        assert (await owner.get("/api/auth/me")).status == 401, "earlier sessions have ended"
        assert (await anonymous.post("/api/auth/login", {"email": email, "password": "brand new one"})).status == 200

    async def test_guesses_block_their_account_and_no_other(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app)
        for _ in range(PER_ACCOUNT):
            assert (await anonymous.post("/api/auth/login", {"email": email, "password": "guess"})).status == 401
        stopped = await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD})
        assert (stopped.status, stopped["code"]) == (429, "rate_limited")
        assert 0 < int(stopped.headers["Retry-After"]) <= 300
        other = await anonymous.post("/api/auth/login", {"email": f"{uuid4()}@test", "password": "guess"})
        assert other.status == 401


class TestRoles:
    async def test_permission_table_is_complete_and_roles_are_cumulative(self):
        """Every permission is in the table, and a higher role has all permissions of a lower one."""
        print(table())
        assert set(LEAST_ROLE) == set(Permission)
        ranks = [granted(role) for role in (None, Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)]
        assert all(less < more for less, more in itertools.pairwise(ranks))

    async def test_demotion_takes_effect_at_once(self, app: KairosApp, anonymous: Caller, owner: Caller):
        user_id, caller = await new_member(app, anonymous, Role.MEMBER)
        assert (await caller.post("/api/tasks", {"prompt": "x"})).status == 201
        assert (await owner.call("PATCH", f"/api/members/{user_id}", json={"role": "viewer"})).status == 204
        assert (await caller.post("/api/tasks", {"prompt": "x"})).status == 403
        assert (await caller.get("/api/tasks")).status == 200

    async def test_removal_takes_effect_at_once(self, app: KairosApp, anonymous: Caller, owner: Caller):
        user_id, caller = await new_member(app, anonymous, Role.ADMIN)
        key = await caller.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
        assert (await owner.call("DELETE", f"/api/members/{user_id}")).status == 204
        assert (await caller.get("/api/tasks")).status == 409, "their session stays valid, without a project"
        assert (await caller.get("/api/projects"))["items"] == []
        assert (await anonymous.with_token(key["key"]).get("/api/tasks")).status == 401

    async def test_last_owner_cannot_leave(self, app: KairosApp, anonymous: Caller, owner: Caller):
        me = app.user_id
        for reply in (
            await owner.call("PATCH", f"/api/members/{me}", json={"role": "admin"}),
            await owner.call("DELETE", f"/api/members/{me}"),
        ):
            assert (reply.status, reply["code"]) == (409, "last_owner")
        _, second = await new_member(app, anonymous, Role.OWNER)
        assert (await second.call("DELETE", f"/api/members/{me}")).status == 204

    async def test_members_cannot_change_higher_roles(self, app: KairosApp, anonymous: Caller):
        user_id, admin = await new_member(app, anonymous, Role.ADMIN)
        for path in (f"/api/members/{user_id}", f"/api/members/{app.user_id}"):
            assert (await admin.call("PATCH", path, json={"role": "owner"})).status == 403
        assert (await admin.call("DELETE", f"/api/members/{app.user_id}")).status == 403
        _, viewer = await new_member(app, anonymous, Role.VIEWER)
        assert (await viewer.call("DELETE", f"/api/members/{user_id}")).status == 403

    async def test_any_member_may_leave(self, app: KairosApp, anonymous: Caller):
        user_id, viewer = await new_member(app, anonymous, Role.VIEWER)
        assert (await viewer.call("DELETE", f"/api/members/{user_id}")).status == 204


class TestKeys:
    async def test_api_key_is_limited_to_its_scopes(self, app: KairosApp, anonymous: Caller, owner: Caller):
        made = await owner.post("/api/keys", {"name": "ci", "scopes": ["tasks:read"]})
        assert made.status == 201
        key = anonymous.with_token(made["key"])
        assert (await key.get("/api/tasks")).status == 200
        refused = await key.post("/api/tasks", {"prompt": "x"})
        assert (refused.status, "tasks:write" in refused["detail"]) == (403, True)
        assert (await key.post("/api/auth/logout"))["code"] == "people_only"
        listed = (await owner.get("/api/keys"))["items"]
        assert listed[0]["last_used_at"] is not None
        assert made["key"] not in str(listed)

    async def test_stored_key_hash_cannot_be_used(self, app: KairosApp, owner: Caller):
        made = await owner.post("/api/keys", {"name": "ci", "scopes": ["tasks:read"]})
        async with app.database.project(app.project_id) as session:
            row = (await session.execute(select(ApiKeyRow).where(ApiKeyRow.id == UUID(made["id"])))).scalar_one()
        assert made["key"] not in str(vars(row))
        assert row.key_hash != digest(made["key"]), "a plain hash could be tried against leaked keys"

    async def test_api_key_ends_with_revocation_expiry_and_its_creators_rights(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        user_id, admin = await new_member(app, anonymous, Role.ADMIN)
        scopes = ["tasks:read", "tasks:write"]
        one, two, three = [await admin.post("/api/keys", {"name": "k", "scopes": scopes, "days": 1}) for _ in range(3)]
        assert (await owner.call("DELETE", f"/api/keys/{one['id']}")).status == 204
        async with app.database.project(app.project_id) as session:
            past = func.now() - timedelta(seconds=1)
            await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == UUID(two["id"])).values(expires_at=past))
        assert (await anonymous.with_token(one["key"]).get("/api/tasks")).status == 401
        assert (await anonymous.with_token(two["key"]).get("/api/tasks")).status == 401
        await owner.call("PATCH", f"/api/members/{user_id}", json={"role": "viewer"})
        key = anonymous.with_token(three["key"])
        assert (await key.get("/api/tasks")).status == 200
        assert (await key.post("/api/tasks", {"prompt": "x"})).status == 403

    async def test_api_key_cannot_create_keys_or_act_as_operator(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        refused = await owner.post("/api/keys", {"name": "k", "scopes": ["keys:manage"]})
        assert (refused.status, "keys:manage" in refused["detail"]) == (422, True)
        operator_caller = await operator(app, anonymous)
        made = await operator_caller.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
        assert (await anonymous.with_token(made["key"]).get("/api/users")).status == 403

    @pytest.mark.parametrize(
        "spoil", [lambda k: k[:-1], lambda k: k[:-7] + other(k[-7]) + k[-6:], lambda k: "kairos_x"]
    )
    async def test_mistyped_key_is_refused(self, anonymous: Caller, owner: Caller, spoil):
        made = await owner.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
        assert (await anonymous.with_token(spoil(made["key"])).get("/api/tasks")).status == 401


class TestOperators:
    async def test_last_operator_cannot_resign(self, app: KairosApp, anonymous: Caller):
        operator_caller = await operator(app, anonymous)
        me = (await operator_caller.get("/api/auth/me"))["user_id"]
        others = [
            u["id"] for u in (await operator_caller.get("/api/users"))["items"] if u["operator"] and u["id"] != me
        ]
        for other in others:  # from other tests
            assert (await operator_caller.call("PATCH", f"/api/users/{other}", json={"operator": False})).status == 204
        refused = await operator_caller.call("PATCH", f"/api/users/{me}", json={"operator": False})
        assert (refused.status, refused["code"]) == (409, "last_operator")

    async def test_disabled_account_is_signed_out_and_can_be_enabled_again(self, app: KairosApp, anonymous: Caller):
        user_id, caller = await new_member(app, anonymous, Role.MEMBER)
        operator_caller = await operator(app, anonymous)
        assert (await operator_caller.call("PATCH", f"/api/users/{user_id}", json={"disabled": True})).status == 204
        assert (await caller.get("/api/auth/me")).status == 401
        assert (await operator_caller.call("PATCH", f"/api/users/{user_id}", json={"disabled": False})).status == 204
        again = await signed_in(app.parts, anonymous, user_id, app.project_id)
        assert (await again.get("/api/auth/me")).status == 200

    async def test_tokens_stay_valid_after_a_signing_key_rotation(
        self, app: KairosApp, anonymous: Caller, owner: Caller
    ):
        operator_caller = await operator(app, anonymous)
        kid = (await operator_caller.post("/api/system/signing-keys/rotate"))["kid"]
        assert (await owner.get("/api/auth/me")).status == 200
        fresh = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        import jwt

        assert jwt.get_unverified_header(fresh.token)["kid"] == kid
        assert (await fresh.get("/api/auth/me")).status == 200
