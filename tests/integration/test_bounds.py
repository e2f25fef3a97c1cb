"""Limits on what one person, one project and one response may contain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import insert

from kairos.config import AuthSettings
from kairos.db.models import AuditAction, SampleRow, TaskRow
from kairos.db.repositories.access import people
from kairos.db.repositories.excerpts import EXCERPT, ITEMS
from kairos.tenancy import Scope, new_id
from tests.kit.api import Caller, serving, signed_in
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.watching import background, watching

LONG = "ş" * 400_000
LOW_LIMITS = AuthSettings(
    sessions_per_user=3, sockets_per_user=2, projects_per_user=3, keys_per_project=3, invitations_per_project=3
)


@asynccontextmanager
async def limited_app(addresses, models) -> AsyncIterator[tuple[KairosApp, Caller]]:
    """Open a Kairos with low limits, and a caller for the owner of a project."""
    async with (
        open_app(addresses, models, auth=LOW_LIMITS) as app,
        serving(app.parts) as anonymous,
        background(app.parts),
    ):
        yield app, await signed_in(app.parts, anonymous, app.user_id, app.project_id)


class TestCounts:
    @pytest.mark.parametrize(
        ("path", "body", "before"),
        [
            ("/api/projects", {"name": "P"}, 1),
            ("/api/keys", {"name": "k", "scopes": ["tasks:read"]}, 0),
            ("/api/invitations", {"role": "viewer"}, 0),
        ],
    )
    async def test_parallel_requests_do_not_pass_the_limit(self, addresses, models, path: str, body, before: int):
        async with limited_app(addresses, models) as (_, owner):
            replies = await asyncio.gather(*(owner.post(path, body) for _ in range(12)))
            statuses = [reply.status for reply in replies]
            assert statuses.count(201) == 3 - before
            assert {reply["code"] for reply in replies if reply.status != 201} == {"limit_reached"}

    async def test_deleted_invitation_frees_its_place(self, addresses, models):
        async with limited_app(addresses, models) as (_, owner):
            made = [await owner.post("/api/invitations", {"role": "viewer"}) for _ in range(4)]
            assert [reply.status for reply in made] == [201, 201, 201, 409]
            await owner.call("DELETE", f"/api/invitations/{made[0]['id']}")
            assert (await owner.post("/api/invitations", {"role": "viewer"})).status == 201

    async def test_new_session_ends_the_oldest(self, addresses, models):
        async with limited_app(addresses, models) as (app, first):
            later = [await signed_in(app.parts, first, app.user_id, app.project_id) for _ in range(3)]
            assert (await first.get("/api/auth/me")).status == 401
            assert [(await caller.get("/api/auth/me")).status for caller in later] == [200, 200, 200]

    async def test_sockets_and_tickets_of_a_user_are_limited(self, addresses, models):
        async with limited_app(addresses, models) as (_, owner), watching(owner) as one, watching(owner) as two:
            await one.wait_for_hello()
            await two.wait_for_hello()
            async with watching(owner) as three:
                assert await three.closed() == 4429
            assert [(await owner.post("/api/events/ticket")).status for _ in range(5)] == [200] * 4 + [429]


class TestLists:
    async def test_task_list_contains_excerpts_and_a_task_its_full_text(self, app: KairosApp, owner: Caller):
        async with app.database.project(app.project_id) as session:
            for _ in range(20):
                await session.execute(insert(TaskRow).values(_task(app)))
        reply = await owner.get("/api/tasks?limit=200")
        assert len(str(reply.body)) < 20 * (3 * EXCERPT + 1_000)
        item = reply["items"][0]
        assert (item["prompt"], item["output"]) == (LONG[:EXCERPT], LONG[:EXCERPT])
        assert item["error"] == {"code": "x", "message": LONG[:EXCERPT]}
        whole = await owner.get(f"/api/tasks/{item['id']}")
        assert (whole["prompt"], whole["output"], whole["error"]["message"]) == (LONG, LONG, LONG)

    async def test_short_tasks_are_complete_in_a_list(self, app: KairosApp, owner: Caller):
        await owner.post("/api/tasks", {"prompt": "short"})
        item = (await owner.get("/api/tasks"))["items"][0]
        assert (item["prompt"], item["output"], item["error"]) == ("short", None, None)

    async def test_sample_list_contains_excerpts_and_a_sample_its_full_text(self, app: KairosApp, owner: Caller):
        prompt = [{"role": "user", "content": LONG, "name": "n"}] * (ITEMS + 5)
        secrets = [{"kind": "k", "where": "w"}] * (ITEMS + 5)
        values = {
            "faulty_output": LONG,
            "corrected_output": LONG,
            "reason": "r",
            "secrets": secrets,
            "source": "person",
        }
        sample_id = new_id()
        async with app.database.project(app.project_id) as session:
            row = {"project_id": app.project_id, "id": sample_id, "prompt": prompt, **values}
            await session.execute(insert(SampleRow).values(row))
        item = (await owner.get("/api/dataset"))["items"][0]
        assert item["prompt"] == [{"role": "user", "content": LONG[:EXCERPT]}] * ITEMS
        assert (item["faulty_output"], item["corrected_output"]) == (LONG[:EXCERPT], LONG[:EXCERPT])
        assert len(item["secrets"]) == ITEMS
        whole = await owner.get(f"/api/dataset/{sample_id}")
        assert (whole["prompt"], whole["faulty_output"]) == (prompt, LONG)

    async def test_audit_log_contains_excerpts(self, app: KairosApp, owner: Caller):
        async with app.database.scope(Scope(app.project_id, app.user_id)) as session:
            ids = {"user_id": app.user_id, "project_id": app.project_id}
            await people.audit(session, AuditAction.DATASET_IMPORTED, **ids, target=LONG, data={"value": LONG})
            await people.audit(session, AuditAction.DATASET_ERASED, **ids, target="t", data={"value": "v"})
        items = {item["action"]: item for item in (await owner.get("/api/audit"))["items"]}
        long, short = items[AuditAction.DATASET_IMPORTED], items[AuditAction.DATASET_ERASED]
        assert short["data"] == {"value": "v"}
        assert list(long["data"]) == ["excerpt"]
        assert (
            len(items[AuditAction.DATASET_IMPORTED]["data"]["excerpt"])
            == len(items[AuditAction.DATASET_IMPORTED]["target"])
            == EXCERPT
        )


def _task(app: KairosApp) -> dict:
    return {
        "project_id": app.project_id,
        "id": new_id(),
        "prompt": LONG,
        "output": LONG,
        "error": {"code": "x", "message": LONG, "more": LONG},
        "agent": "ExecutionAgent",
        "lane": "interactive",
        "state": "failed",
        "timeout_s": 1,
        "max_attempts": 1,
    }


async def test_api_key_lists_only_its_own_project(app: KairosApp, owner: Caller):
    await owner.post("/api/projects", {"name": "Other"})
    made = await owner.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
    by_key = owner.with_token(made["key"])
    assert [item["id"] for item in (await by_key.get("/api/projects"))["items"]] == [str(app.project_id)]
    assert len((await owner.get("/api/projects"))["items"]) == 2
