"""Projects over HTTP: settings, limits in the queue, archiving and task filters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.db.models import Role, TaskState
from kairos.db.repositories.tasks import tasks
from kairos.embedded import Addresses
from kairos.lanes import Lane
from kairos.orchestration.queue.claim import NewTask
from kairos.orchestration.queue.queue import FairQueue
from kairos.redis_client import connect
from kairos.tenancy import TaskId
from tests.kit.api import Caller
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project
from tests.tenancy.world import person

LEASE = timedelta(seconds=5)


@pytest.fixture
async def redis(addresses: Addresses) -> AsyncIterator[Redis]:
    client = connect(addresses.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def project_path(app: KairosApp) -> str:
    return f"/api/projects/{app.project_id}"


async def limits(redis: Redis, app: KairosApp, lane: Lane) -> tuple[str | None, str | None]:
    """Return the cap and the weight stored in Redis."""
    stem = redis_keys.queue_lane(lane)
    values = [await cast(Any, redis.hget(stem + part, str(app.project_id))) for part in ("cap", "weight")]
    cap, weight = (value.decode() if value is not None else None for value in values)
    return cap, weight


class TestSettings:
    async def test_default_settings_are_shown(self, owner: Caller, project_path: str):
        shown = await owner.get(project_path)
        assert (shown["name"], shown["role"], shown["active"]) == ("Test", "owner", True)
        assert shown["settings"] == {
            "hold_answers": False,
            "interactive_cap": None,
            "batch_cap": None,
            "weight": 1.0,
            "local_only": False,
            "run_tests": True,
            "labelling_guideline": "",
            "disabled_plugins": [],
            "plugin_settings": {},
        }

    async def test_only_given_settings_change(self, owner: Caller, project_path: str):
        await owner.call("PATCH", project_path, json={"settings": {"hold_answers": True, "batch_cap": 3}})
        renamed = await owner.call("PATCH", project_path, json={"name": " New ", "settings": {"batch_cap": None}})
        assert (renamed["name"], renamed["settings"]["hold_answers"], renamed["settings"]["batch_cap"]) == (
            "New",
            True,
            None,
        )
        log = [entry["data"]["changes"] for entry in (await owner.get("/api/audit?action=project.changed"))["items"]]
        assert [{key: each["after"] for key, each in changes.items()} for changes in log] == [
            {"name": "New", "batch_cap": None},
            {"hold_answers": True, "batch_cap": 3},
        ]

    @pytest.mark.parametrize(
        "settings",
        [
            {"colour": "red"},
            {"weight": 0},
            {"weight": 11},
            {"batch_cap": 0},
            {"hold_answers": None},
            {"labelling_guideline": "x" * 20_001},
        ],
    )
    async def test_unknown_keys_and_wrong_values_are_refused(self, owner: Caller, project_path: str, settings: dict):
        before = (await owner.get(project_path))["settings"]
        assert (await owner.call("PATCH", project_path, json={"settings": settings})).status == 422
        assert (await owner.get(project_path))["settings"] == before

    async def test_members_read_and_admins_change(self, app: KairosApp, anonymous: Caller, project_path: str):
        _, member = await person(app, anonymous, app.project_id, Role.MEMBER)
        assert (await member.get(project_path)).status == 200
        assert (await member.call("PATCH", project_path, json={"name": "x"})).status == 403
        assert (await member.get(f"{project_path}/export")).status == 403
        _, admin = await person(app, anonymous, app.project_id, Role.ADMIN)
        assert (await admin.call("PATCH", project_path, json={"name": "x"})).status == 200
        assert (await admin.call("DELETE", f"{project_path}?confirm=x")).status == 403

    async def test_project_in_the_path_counts_and_not_the_active_one(self, app: KairosApp, owner: Caller):
        second = await owner.post("/api/projects", {"name": "Second"})
        changed = await owner.call("PATCH", f"/api/projects/{second['id']}", json={"settings": {"weight": 2}})
        assert (changed["name"], changed["active"], changed["settings"]["weight"]) == ("Second", False, 2)
        assert (await owner.get(f"/api/projects/{app.project_id}"))["settings"]["weight"] == 1

    async def test_api_key_reaches_only_its_own_project(self, owner: Caller, project_path: str):
        second = await owner.post("/api/projects", {"name": "Second"})
        made = await owner.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
        key = owner.with_token(made["key"])
        assert (await key.get(project_path)).status == 200
        assert (await key.get(f"/api/projects/{second['id']}")).status == 404
        assert (await key.call("PATCH", project_path, json={"name": "x"})).status == 403


class TestLimits:
    async def test_limits_take_effect_at_once_for_all_daemons(
        self, app: KairosApp, owner: Caller, project_path: str, redis: Redis
    ):
        for _ in range(3):
            await app.submit(lane=Lane.BATCH)
        await owner.call("PATCH", project_path, json={"settings": {"batch_cap": 2, "weight": 5}})
        assert await limits(redis, app, Lane.BATCH) == ("2", "5.0")
        assert await limits(redis, app, Lane.INTERACTIVE) == (None, "5.0")
        taken = [t for t in await FairQueue(redis).take(Lane.BATCH, 50) if t.project_id == app.project_id]
        assert len(taken) == 2, "the cap is shared by all daemons"

    async def test_sweeper_restores_limits_that_redis_lost(
        self, app: KairosApp, owner: Caller, project_path: str, redis: Redis
    ):
        await app.submit(lane=Lane.BATCH)
        await owner.call("PATCH", project_path, json={"settings": {"batch_cap": 2, "weight": 5}})
        async for key in redis.scan_iter(match=redis_keys.queue_lane(Lane.BATCH) + "*"):
            await redis.delete(key)
        await app.parts.orchestration.sweeper.sweep()
        assert await limits(redis, app, Lane.BATCH) == ("2", "5.0")

    async def test_submission_restores_limits(self, app: KairosApp, owner: Caller, project_path: str, redis: Redis):
        await owner.call("PATCH", project_path, json={"settings": {"batch_cap": 2}})
        await redis.hdel(redis_keys.queue_lane(Lane.BATCH) + "cap", str(app.project_id))
        await app.submit(lane=Lane.BATCH)
        assert (await limits(redis, app, Lane.BATCH))[0] == "2"


class TestArchive:
    async def test_archived_project_accepts_no_tasks_and_keeps_waiting_ones(
        self, app: KairosApp, owner: Caller, project_path: str
    ):
        waiting = await app.submit("say it later", require=("hello",))
        archived = await owner.post(f"{project_path}/archive")
        assert archived["archived_at"] is not None
        refused = await owner.post("/api/tasks", {"prompt": "x"})
        assert (refused.status, refused["code"]) == (409, "project_archived")
        other = await new_project(app.parts)
        async with app.working():
            other_task = await app.parts.orchestration.submissions.submit(other[0], other[1], _greeting())
            await eventually(lambda: _ended(app, other[0], other_task[0].id), why="another project's task succeeds")
            assert (await app.task(waiting)).state == TaskState.QUEUED
            assert (await owner.get(f"/api/tasks/{waiting}")).status == 200, "the task can still be read"
            restored = await owner.post(f"{project_path}/restore")
            assert restored["archived_at"] is None
            assert (await app.finished(waiting)).state == TaskState.SUCCEEDED
        assert (await owner.post("/api/tasks", {"prompt": "x"})).status == 201

    async def test_ended_task_of_an_archived_project_cannot_be_retried(
        self, app: KairosApp, owner: Caller, project_path: str
    ):
        task_id = await app.submit()
        await app.cancel(task_id)
        await owner.post(f"{project_path}/archive")
        assert (await owner.post(f"/api/tasks/{task_id}/retry"))["code"] == "project_archived"

    async def test_task_of_an_archived_project_is_not_claimed_even_if_redis_returns_it(
        self, app: KairosApp, owner: Caller, project_path: str
    ):
        """Redis may have lost the cap, so PostgreSQL decides."""
        task_id = await app.submit()
        await owner.post(f"{project_path}/archive")
        async with app.database.project(app.project_id) as session:
            assert await tasks.claim(session, TaskId(task_id), "w", LEASE) is None
        await owner.post(f"{project_path}/restore")
        async with app.database.project(app.project_id) as session:
            assert await tasks.claim(session, TaskId(task_id), "w", LEASE) is not None

    async def test_archiving_twice_has_no_further_effect(self, owner: Caller, project_path: str):
        first = await owner.post(f"{project_path}/archive")
        assert (await owner.post(f"{project_path}/archive"))["archived_at"] == first["archived_at"]
        log = await owner.get("/api/audit?action=project.archived")
        assert len(log["items"]) == 1


class TestTaskFilters:
    async def test_filter_by_text_model_and_task_type(self, app: KairosApp, owner: Caller):
        a = str(await app.submit("Translate 100% of it", task_type="translation"))
        b = str(await app.submit("sum up", task_type="summary", model="echo"))
        async with app.working():
            await app.finished(UUID(a))
            await app.finished(UUID(b))

        async def found(query: str) -> list[str]:
            return [task["id"] for task in (await owner.get(f"/api/tasks?{query}"))["items"]]

        assert await found("q=TRANSLATE") == [a]
        assert await found("q=100%25") == [a], "a percent sign is not a wildcard"
        assert await found("q=%25nothing") == []
        assert await found("task_type=summary") == [b]
        assert sorted(await found("model=echo")) == sorted([a, b])
        assert await found("model=other") == []

    async def test_filter_by_end_time_and_label(self, app: KairosApp, owner: Caller):
        a, b = str(await app.submit("one")), str(await app.submit("two"))
        waiting = str(await app.submit("later", not_before=datetime.now(UTC) + timedelta(hours=1)))
        async with app.working():
            for task_id in (a, b):
                await app.finished(UUID(task_id))
        ended = {t: (await owner.get(f"/api/tasks/{t}"))["finished_at"] for t in (a, b)}
        first, last = sorted((a, b), key=lambda task_id: ended[task_id])
        await owner.post(f"/api/tasks/{first}/label", {"label": "accept"})

        async def found(**query: str) -> list[str]:
            return [task["id"] for task in (await owner.get(f"/api/tasks?{urlencode(query)}"))["items"]]

        assert await found(ended_since=ended[last]) == [last]
        assert sorted(await found(ended_since=ended[first])) == sorted([a, b]), "a waiting task has not ended"
        assert await found(labelled="true") == [first]
        assert sorted(await found(labelled="false")) == sorted([last, waiting])
        assert (await owner.get("/api/tasks?ended_since=2026-11-27T00:00:00")).status == 422, "the time zone is missing"


def _greeting():
    return NewTask(prompt="say hello", agent="ExecutionAgent")


async def _ended(app: KairosApp, project_id, task_id) -> bool:
    async with app.database.project(project_id) as session:
        row = await tasks.get(session, task_id)
    return row is not None and row.state == TaskState.SUCCEEDED
