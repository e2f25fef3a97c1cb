"""A deleted project is unavailable at once, and later erased from every table and every Redis key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, select, update

from kairos.db.engine import ProjectGone
from kairos.db.models import PROJECT_OWNED, AuditRow, MetricRow, PositionRow, TaskEventRow, TaskRow, TaskState
from kairos.db.repositories.routing import statistics
from kairos.db.repositories.routing.statistics import Fading, Judgement, QualitySource
from kairos.embedded import Addresses
from kairos.lanes import Lane
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.orchestration.projects import erasure as erasure_module
from kairos.pubsub import PubSub
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, Scope, new_id
from tests.kit.api import Caller, signed_in
from tests.kit.conditions import eventually
from tests.kit.erasing import erasure_of
from tests.kit.filling import fill, redis_names, rows_of
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer

REDIS_NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer, tmp_path: Path) -> AsyncIterator[KairosApp]:
    async with open_app(addresses, models, data_dir=tmp_path) as app:
        yield app


@pytest.fixture
async def redis(addresses: Addresses) -> AsyncIterator[Redis]:
    client = connect(addresses.redis_url)
    yield client
    await client.aclose()


async def delete(owner: Caller, project_id: ProjectId) -> None:
    reply = await owner.call("DELETE", f"/api/projects/{project_id}?confirm=Test")
    assert (reply.status, reply.body) == (202, None)


async def erasure_entry(app: KairosApp, project_id: ProjectId) -> AuditRow | None:
    """Return the audit entry about the completed erasure of the project."""
    wanted = (AuditRow.action == "project.erased", AuditRow.target == str(project_id))
    async with app.database.scope(Scope(operator=True)) as session:
        return (await session.execute(select(AuditRow).where(*wanted))).scalar_one_or_none()


async def test_deleted_project_is_unavailable_at_once(app: KairosApp, owner: Caller):
    here = f"/api/projects/{app.project_id}"
    wrong = await owner.call("DELETE", f"{here}?confirm=test")
    assert (wrong.status, "confirm" in wrong["detail"]) == (422, True)
    assert (await owner.call("DELETE", here)).status == 422
    task_id = await app.submit()
    await delete(owner, app.project_id)
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", "?confirm=Test"),
        ("POST", "/switch"),
        ("GET", "/export"),
    ):
        reply = await owner.call(method, here + path, json={})
        assert reply.status == 404, (method, path)
    assert (await owner.get(f"/api/tasks/{task_id}"))["code"] == "no_project"
    assert (await owner.get("/api/projects"))["items"] == []
    assert (await owner.post("/api/projects", {"name": "Next"})).status == 201, "the session itself is still valid"


async def test_erasure_leaves_no_row_and_no_key(app: KairosApp, owner: Caller, addresses: Addresses, redis: Redis):
    async with app.working():
        for _ in range(2):  # the second is a cache hit
            await app.finished(await app.submit(temperature=0.0, require=("hello",)))
    await fill(app.database, app.project_id, app.user_id)
    for lane in (Lane.INTERACTIVE, Lane.BATCH):
        await app.submit("wait", lane=lane)
    await owner.post("/api/invitations", {"role": "viewer"})
    adapters = app.parts.settings.data_dir / "models" / "lora_adapters" / str(app.project_id)
    adapters.mkdir(parents=True)
    (adapters / "weights").write_bytes(b"x")
    before = rows_of(addresses, app.project_id)
    assert all(before[row.__tablename__] for row in PROJECT_OWNED), before
    assert await redis_names(redis, app.project_id)
    other = await new_project(app.parts)
    await fill(app.database, *other)
    async with app.database.project(other[0]) as session:  # else the sweeper queues it, and a worker runs it
        await session.execute(update(TaskRow).values(state=TaskState.SUCCEEDED))
    others = rows_of(addresses, other[0])

    await delete(owner, app.project_id)
    async with app.working():
        entry = await eventually(lambda: erasure_entry(app, app.project_id), why="the project is erased")

    assert {name: count for name, count in rows_of(addresses, app.project_id).items() if count} == {}
    assert await redis_names(redis, app.project_id) == []
    assert not adapters.exists()
    assert rows_of(addresses, other[0]) == others, "another project keeps all its rows"
    assert set(entry.data) == {"deleted"}
    assert entry.data["deleted"]["tasks"] == before["tasks"]
    assert entry.user_id is None


async def test_running_tasks_are_stopped_before_erasure(
    app: KairosApp, owner: Caller, models: ModelServer, addresses: Addresses
):
    models.fail("echo", Fault(FaultKind.HANG))
    async with app.working():
        task_id = await app.submit()
        await app.in_state(task_id, TaskState.RUNNING)
        await delete(owner, app.project_id)
        await eventually(lambda: erasure_entry(app, app.project_id), why="the project is erased")
        assert len(app.parts.orchestration.coordinator.running(app.project_id)) == 0
    assert not any(rows_of(addresses, app.project_id).values())


async def test_erasure_continues_in_batches_until_no_row_is_left(
    app: KairosApp, owner: Caller, addresses: Addresses, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(erasure_module, "BATCH", 7)
    task_id = await fill(app.database, app.project_id, app.user_id)
    call = {"project_id": app.project_id, "model": "m", "task_type": "t", "success": True, "duration_s": 1.0}
    event = {"project_id": app.project_id, "task_id": task_id, "attempt": 1, "kind": "k"}
    async with app.database.project(app.project_id) as session:
        await session.execute(insert(MetricRow), [{**call, "id": new_id()} for _ in range(50)])
        await session.execute(insert(TaskEventRow), [event for _ in range(49)])
    await delete(owner, app.project_id)
    assert await erasure_of(app.parts, redis).erase_all() == 1
    assert not any(rows_of(addresses, app.project_id).values())
    entry = await erasure_entry(app, app.project_id)
    assert entry is not None
    assert entry.data["deleted"]["model_performance_metrics"] == 51
    assert entry.data["deleted"]["task_events"] == 50


async def test_killed_erasure_is_finished_by_another_daemon(
    app: KairosApp, owner: Caller, addresses: Addresses, redis: Redis
):
    await fill(app.database, app.project_id, app.user_id)
    await delete(owner, app.project_id)
    urls = (addresses.database_url, addresses.migration_url, addresses.system_url, addresses.redis_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.erasing", "tasks", *urls, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await asyncio.wait_for(process.stdout.readline(), 60)).strip() == b"half"
    assert await erasure_of(app.parts, redis).erase_all() == 0, "one erasure at a time"
    process.kill()
    await process.wait()
    left = rows_of(addresses, app.project_id)
    assert left["tasks"] == 1
    assert left["verdicts"] == 0, "child rows are deleted first"
    erasure = erasure_of(app.parts, redis)
    await eventually(erasure.erase_all, why="PostgreSQL has released the killed process's lock")
    assert not any(rows_of(addresses, app.project_id).values())
    assert await erasure_entry(app, app.project_id) is not None


async def test_statistics_of_an_erased_project_are_dropped_without_error(
    app: KairosApp, monkeypatch: pytest.MonkeyPatch
):
    settings = app.parts.settings.router
    pubsub = PubSub(app_redis := connect(REDIS_NOWHERE))
    shared = SharedStatistics(app.database, pubsub, Fading(0.99, 0.9, 1.0), settings, lambda *_: None)
    gone = ProjectId(new_id())

    async def observe(session, project_id, *_):
        await session.execute(insert(PositionRow).values(project_id=project_id, task_type="t"))

    monkeypatch.setattr(statistics, "observe", observe)
    with pytest.raises(ProjectGone):
        async with app.database.project(gone) as session:
            await observe(session, gone)
    await shared.record(gone, Judgement(new_id(), 1.0, QualitySource.JUDGE), at_once=True)
    await shared.flush(gone)
    assert not shared._waiting.get(gone)
    await app_redis.aclose()


async def test_erased_project_keeps_no_entry_about_refused_access(app: KairosApp, owner: Caller, addresses: Addresses):
    other, other_user = await new_project(app.parts)
    other_caller = await signed_in(app.parts, owner, other_user, other)
    await delete(owner, app.project_id)
    assert (await other_caller.get(f"/api/projects/{app.project_id}")).status == 404
    async with app.working():
        await app.parts.api.refusals.join()
        await eventually(lambda: erasure_entry(app, app.project_id), why="the project is erased")
    assert not any(rows_of(addresses, app.project_id).values())
