"""A project from its first settings to its archive, over HTTP, and what the queue makes of it."""

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
from kairos.db.repositories import tasks
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
def here(app: KairosApp) -> str:
    return f"/api/projects/{app.project_id}"


async def limits(redis: Redis, app: KairosApp, lane: Lane) -> tuple[str | None, str | None]:
    """Cap and weight as Redis holds them."""
    stem = redis_keys.queue_lane(lane)
    values = [await cast(Any, redis.hget(stem + part, str(app.project_id))) for part in ("cap", "weight")]
    cap, weight = (value.decode() if value is not None else None for value in values)
    return cap, weight


class TestSettings:
    async def test_what_was_not_set_is_shown_too(self, owner: Caller, here: str):
        shown = await owner.get(here)
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

    async def test_only_what_is_given_changes(self, owner: Caller, here: str):
        await owner.call("PATCH", here, json={"settings": {"hold_answers": True, "batch_cap": 3}})
        renamed = await owner.call("PATCH", here, json={"name": " New ", "settings": {"batch_cap": None}})
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
    async def test_unknown_keys_and_wrong_values_are_refused(self, owner: Caller, here: str, settings: dict):
        before = (await owner.get(here))["settings"]
        assert (await owner.call("PATCH", here, json={"settings": settings})).status == 422
        assert (await owner.get(here))["settings"] == before

    async def test_members_may_look_and_admins_may_change(self, app: KairosApp, anybody: Caller, here: str):
        _, member = await person(app, anybody, app.project_id, Role.MEMBER)
        assert (await member.get(here)).status == 200
        assert (await member.call("PATCH", here, json={"name": "x"})).status == 403
        assert (await member.get(f"{here}/export")).status == 403
        _, admin = await person(app, anybody, app.project_id, Role.ADMIN)
        assert (await admin.call("PATCH", here, json={"name": "x"})).status == 200
        assert (await admin.call("DELETE", f"{here}?confirm=x")).status == 403

    async def test_the_project_in_the_address_counts_and_not_the_active_one(self, app: KairosApp, owner: Caller):
        second = await owner.post("/api/projects", {"name": "Second"})
        changed = await owner.call("PATCH", f"/api/projects/{second['id']}", json={"settings": {"weight": 2}})
        assert (changed["name"], changed["active"], changed["settings"]["weight"]) == ("Second", False, 2)
        assert (await owner.get(f"/api/projects/{app.project_id}"))["settings"]["weight"] == 1

    async def test_a_key_reaches_its_own_project_alone(self, owner: Caller, here: str):
        second = await owner.post("/api/projects", {"name": "Second"})
        made = await owner.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
        key = owner.with_token(made["key"])
        assert (await key.get(here)).status == 200
        assert (await key.get(f"/api/projects/{second['id']}")).status == 404
        assert (await key.call("PATCH", here, json={"name": "x"})).status == 403


class TestLimits:
    async def test_they_hold_at_once_and_over_all_daemons(self, app: KairosApp, owner: Caller, here: str, redis: Redis):
        for _ in range(3):
            await app.submit(lane=Lane.BATCH)
        await owner.call("PATCH", here, json={"settings": {"batch_cap": 2, "weight": 5}})
        assert await limits(redis, app, Lane.BATCH) == ("2", "5.0")
        assert await limits(redis, app, Lane.INTERACTIVE) == (None, "5.0")
        taken = [t for t in await FairQueue(redis).take(Lane.BATCH, 50) if t.project_id == app.project_id]
        assert len(taken) == 2, "what any daemon takes comes from this one place"

    async def test_a_redis_that_lost_the_queue_gets_them_back(
        self, app: KairosApp, owner: Caller, here: str, redis: Redis
    ):
        await app.submit(lane=Lane.BATCH)
        await owner.call("PATCH", here, json={"settings": {"batch_cap": 2, "weight": 5}})
        async for key in redis.scan_iter(match=redis_keys.queue_lane(Lane.BATCH) + "*"):
            await redis.delete(key)
        await app.parts.sweeper.sweep()
        assert await limits(redis, app, Lane.BATCH) == ("2", "5.0")

    async def test_a_submission_brings_them_too(self, app: KairosApp, owner: Caller, here: str, redis: Redis):
        await owner.call("PATCH", here, json={"settings": {"batch_cap": 2}})
        await redis.hdel(redis_keys.queue_lane(Lane.BATCH) + "cap", str(app.project_id))
        await app.submit(lane=Lane.BATCH)
        assert (await limits(redis, app, Lane.BATCH))[0] == "2"


class TestArchive:
    async def test_it_takes_no_tasks_and_holds_those_it_has(self, app: KairosApp, owner: Caller, here: str):
        waiting = await app.submit("say it later", require=("hello",))
        archived = await owner.post(f"{here}/archive")
        assert archived["archived_at"] is not None
        refused = await owner.post("/api/tasks", {"prompt": "x"})
        assert (refused.status, refused["code"]) == (409, "project_archived")
        other = await new_project(app.parts)
        async with app.working():
            stranger = await app.parts.services.submissions.submit(other[0], other[1], _greeting())
            await eventually(lambda: _ended(app, other[0], stranger[0].id), why="others work on")
            assert (await app.task(waiting)).state == TaskState.QUEUED
            assert (await owner.get(f"/api/tasks/{waiting}")).status == 200, "it is still there to be read"
            restored = await owner.post(f"{here}/restore")
            assert restored["archived_at"] is None
            assert (await app.finished(waiting)).state == TaskState.SUCCEEDED
        assert (await owner.post("/api/tasks", {"prompt": "x"})).status == 201

    async def test_an_ended_task_is_not_tried_again(self, app: KairosApp, owner: Caller, here: str):
        task_id = await app.submit()
        await app.cancel(task_id)
        await owner.post(f"{here}/archive")
        assert (await owner.post(f"/api/tasks/{task_id}/retry"))["code"] == "project_archived"

    async def test_a_task_that_redis_hands_out_all_the_same_is_not_claimed(
        self, app: KairosApp, owner: Caller, here: str
    ):
        """Redis may have lost the cap a moment ago: PostgreSQL decides."""
        task_id = await app.submit()
        await owner.post(f"{here}/archive")
        async with app.database.project(app.project_id) as session:
            assert await tasks.claim(session, TaskId(task_id), "w", LEASE) is None
        await owner.post(f"{here}/restore")
        async with app.database.project(app.project_id) as session:
            assert await tasks.claim(session, TaskId(task_id), "w", LEASE) is not None

    async def test_twice_is_as_once(self, owner: Caller, here: str):
        first = await owner.post(f"{here}/archive")
        assert (await owner.post(f"{here}/archive"))["archived_at"] == first["archived_at"]
        log = await owner.get("/api/audit?action=project.archived")
        assert len(log["items"]) == 1


class TestTaskFilters:
    async def test_by_words_model_and_type(self, app: KairosApp, owner: Caller):
        a = str(await app.submit("Translate 100% of it", task_type="translation"))
        b = str(await app.submit("sum up", task_type="summary", model="echo"))
        async with app.working():
            await app.finished(UUID(a))
            await app.finished(UUID(b))

        async def found(query: str) -> list[str]:
            return [task["id"] for task in (await owner.get(f"/api/tasks?{query}"))["items"]]

        assert await found("q=TRANSLATE") == [a]
        assert await found("q=100%25") == [a], "a percent sign is a percent sign"
        assert await found("q=%25nothing") == []
        assert await found("task_type=summary") == [b]
        assert sorted(await found("model=echo")) == sorted([a, b])
        assert await found("model=other") == []

    async def test_by_when_they_ended_and_whether_a_person_has_spoken(self, app: KairosApp, owner: Caller):
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
        assert sorted(await found(ended_since=ended[first])) == sorted([a, b]), "what waits has not ended"
        assert await found(labelled="true") == [first]
        assert sorted(await found(labelled="false")) == sorted([last, waiting])
        assert (await owner.get("/api/tasks?ended_since=2026-11-27T00:00:00")).status == 422, "which midnight?"


def _greeting():
    return NewTask(prompt="say hello", agent="ExecutionAgent")


async def _ended(app: KairosApp, project_id, task_id) -> bool:
    async with app.database.project(project_id) as session:
        row = await tasks.get(session, task_id)
    return row is not None and row.state == TaskState.SUCCEEDED
