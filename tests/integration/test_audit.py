"""The audit log: reading it, entries about refused accesses, and how long entries are kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import make_url

from kairos.api.refusals import PER_WINDOW, ROOM
from kairos.background_tasks import end
from kairos.db.models import AuditAction, Role
from kairos.db.repositories.access import people
from kairos.db.repositories.workers import sweep
from kairos.embedded import Addresses
from kairos.errors import NotFound
from kairos.tenancy import Scope
from tests.kit.api import Caller, signed_in
from tests.kit.kairos_app import KairosApp, new_project
from tests.tenancy.world import person


@pytest.fixture
async def operator(app: KairosApp, anonymous: Caller) -> Caller:
    local = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
    return anonymous.with_token(local["access_token"])


async def wait_until_recorded(app: KairosApp) -> None:
    """Wait until all refusals so far have been recorded."""
    working = asyncio.create_task(app.parts.api.refusals.run())
    await app.parts.api.refusals.join()
    await end(working)


async def write(app: KairosApp, *actions: AuditAction, target: str | None = None) -> None:
    for action in actions:
        async with app.database.scope(Scope(app.project_id, app.user_id)) as session:
            await people.audit(
                session, action, user_id=app.user_id, project_id=app.project_id, target=target, data={"n": 1}
            )


class TestReading:
    async def test_newest_first_with_names_and_pages(self, app: KairosApp, owner: Caller):
        written = [action for action in AuditAction if action.startswith("adapter.")]
        await write(app, *written)
        first = await owner.get("/api/audit?limit=3")
        second = await owner.get(f"/api/audit?limit=3&cursor={first['next']}")
        entries = [entry for entry in first["items"] + second["items"] if entry["action"] in written]
        assert [entry["action"] for entry in entries] == [*reversed(written)]
        assert len(entries) == 5
        assert {(entry["who"], entry["user_id"]) for entry in entries} == {(f"{app.user_id}@test", str(app.user_id))}
        assert entries[0]["data"] == {"n": 1}
        assert second["next"] is None

    async def test_filters(self, app: KairosApp, owner: Caller):
        blue, red = AuditAction.DATASET_IMPORTED, AuditAction.DATASET_ERASED
        await write(app, blue, target="the blue one")
        await write(app, red, target="the red one")

        async def found(query: str) -> list[str]:
            items = (await owner.get(f"/api/audit?{query}"))["items"]
            return [entry["action"] for entry in items if entry["action"] in (blue, red)]

        assert await found(f"action={blue}") == [blue]
        assert await found("q=RED") == [red]
        assert await found("q=%25") == [], "a percent sign is not a wildcard"
        assert await found(f"user_id={app.user_id}") == [red, blue]
        assert await found(f"user_id={uuid4()}") == []
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        assert await found(f"since={(now - hour):%Y-%m-%dT%H:%M:%S}Z") == [red, blue]
        assert await found(f"until={(now - hour):%Y-%m-%dT%H:%M:%S}Z") == []
        assert (await owner.get("/api/audit?cursor=x")).status == 422

    async def test_only_admins_read_the_audit_log(self, app: KairosApp, anonymous: Caller):
        _, member = await person(app, anonymous, app.project_id, Role.MEMBER)
        _, admin = await person(app, anonymous, app.project_id, Role.ADMIN)
        assert (await member.get("/api/audit")).status == 403
        assert (await admin.get("/api/audit")).status == 200

    async def test_system_entries_are_for_operators(self, app: KairosApp, owner: Caller, operator: Caller):
        refused = await owner.get("/api/audit?system=true")
        assert (refused.status, refused["code"]) == (403, "operators_only")
        await write(app, AuditAction.DATASET_IMPORTED)
        items = (await operator.get("/api/audit?system=true&limit=200"))["items"]
        assert "sign_in" in {entry["action"] for entry in items}
        assert "dataset.imported" not in {entry["action"] for entry in items}

    async def test_api_key_with_the_scope_reads_the_project_log(self, owner: Caller):
        made = await owner.post("/api/keys", {"name": "k", "scopes": ["audit:read"]})
        key = owner.with_token(made["key"])
        assert (await key.get("/api/audit")).status == 200
        assert (await key.get("/api/audit?system=true")).status == 403


class TestRefusals:
    @pytest.fixture
    async def other_caller(self, app: KairosApp, owner: Caller) -> tuple[Caller, str]:
        project_id, user_id = await new_project(app.parts)
        return await signed_in(app.parts, owner, user_id, project_id), str(user_id)

    async def refusals(self, owner: Caller) -> list[dict]:
        return (await owner.get("/api/audit?action=access.refused"))["items"]

    async def test_refused_access_is_recorded_in_the_project_of_its_target(
        self, app: KairosApp, owner: Caller, other_caller
    ):
        caller, user_id = other_caller
        task_id = await app.submit()
        for _ in range(3):
            assert (await caller.get(f"/api/tasks/{task_id}")).status == 404
        assert (await caller.get(f"/api/projects/{app.project_id}")).status == 404
        await wait_until_recorded(app)
        entries = await self.refusals(owner)
        assert [(e["target"], e["data"], e["user_id"]) for e in entries] == [
            (str(app.project_id), {"what": "project"}, user_id),
            (str(task_id), {"what": "task"}, user_id),
        ], "one entry for each target"
        assert {entry["who"] for entry in entries} == {None}, "the e-mail address of a non-member is hidden"

    async def test_refused_caller_cannot_detect_the_target(self, app: KairosApp, other_caller):
        """Neither the answer nor their own audit log reveals whether the target exists."""
        caller, _ = other_caller
        task_id, nowhere = await app.submit(), uuid4()
        there, not_there = [await caller.get(f"/api/tasks/{id_}") for id_ in (task_id, nowhere)]
        assert there["detail"].replace(str(task_id), "") == not_there["detail"].replace(str(nowhere), "")
        assert there.headers.keys() == not_there.headers.keys()
        await wait_until_recorded(app)
        assert "access.refused" not in str((await caller.get("/api/audit?limit=200")).body)

    async def test_missing_or_own_targets_are_not_recorded(self, app: KairosApp, owner: Caller):
        await owner.get(f"/api/tasks/{uuid4()}")
        await owner.get(f"/api/projects/{uuid4()}")
        await wait_until_recorded(app)
        assert await self.refusals(owner) == []

    async def test_flood_of_refusals_is_bounded_and_does_not_block(self, app: KairosApp):
        refusals = app.parts.api.refusals
        for _ in range(3 * ROOM):
            refusals.note(app.user_id, app.project_id, NotFound(what="task", id=uuid4()))
        assert refusals._waiting.qsize() == PER_WINDOW <= ROOM


async def test_old_entries_are_removed_and_recent_ones_stay(app: KairosApp, addresses: Addresses, owner: Caller):
    await write(app, AuditAction.ADAPTER_DELETED, AuditAction.ADAPTER_PROMOTED)
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("update audit_log set at = now() - interval '366 days' where action = 'adapter.deleted'")
    async with app.database.system() as connection:
        assert await sweep.prune(connection, app.parts.settings.retention.audit_days) >= 1
    actions = {entry["action"] for entry in (await owner.get("/api/audit?limit=200"))["items"]}
    assert "adapter.promoted" in actions
    assert "adapter.deleted" not in actions


async def test_sweeper_removes_old_entries(app: KairosApp, addresses: Addresses, owner: Caller):
    await write(app, AuditAction.ADAPTER_RULED)
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("update audit_log set at = now() - interval '366 days' where action = 'adapter.ruled'")
    await app.parts.orchestration.sweeper.sweep()
    assert "adapter.ruled" not in {entry["action"] for entry in (await owner.get("/api/audit"))["items"]}
