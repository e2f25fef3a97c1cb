"""Cache, queue and dataset keep projects apart."""

from __future__ import annotations

from uuid import UUID, uuid4

from kairos.db.models import TaskState
from kairos.db.repositories.tasks import history, labels, tasks
from kairos.lanes import Lane
from kairos.llm.cache.response_key import CacheKey
from kairos.orchestration.tasks.labels import Label, NewLabel
from kairos.tenancy import TaskId
from tests.kit.caching import keep, served
from tests.kit.conditions import eventually
from tests.tenancy.checks import cache_keeps_projects_apart, lists_keep_projects_apart
from tests.tenancy.world import World


async def test_lists_keep_projects_apart(world: World):
    await lists_keep_projects_apart(world)


async def test_cache_keeps_projects_apart(world: World):
    await cache_keeps_projects_apart(world)


async def test_flushing_a_cache_keeps_those_of_other_projects(world: World):
    cache, digest = world.app.parts.llm.router.cache, uuid4().bytes * 2
    in_x, in_y = (CacheKey(project_id, digest, False) for project_id in (world.x, world.y))
    await keep(cache, in_x)
    await keep(cache, in_y)
    assert (await world.a.post("/api/cache/flush")).status == 200
    assert not await served(cache, in_x)
    assert await served(cache, in_y)


async def test_queue_entry_with_the_wrong_project_runs_nothing(world: World):
    """B's task is queued under A's project: the claim finds no row in A's scope, so nothing runs."""
    app, task_id = world.app, await world.task()
    queue = app.parts.orchestration.submissions._queue
    await queue.remove(Lane.INTERACTIVE, world.y, TaskId(task_id))
    await queue.put(Lane.INTERACTIVE, world.x, TaskId(task_id), priority=0, order=0)
    mine = UUID((await world.a.post("/api/tasks", {"prompt": "mine"}))["id"])

    async def ended() -> bool:
        async with app.database.project(world.x) as session:
            row = await tasks.get(session, mine)
        return row is not None and row.state == TaskState.SUCCEEDED

    async with app.working():
        await eventually(ended, 20, "A's own task, queued after it, succeeds")
        async with app.database.project(world.x) as session:
            assert await history.events(session, task_id) == []
            assert await tasks.get(session, task_id) is None


async def test_label_changes_only_the_dataset_of_its_project(world: World):
    task_id = await world.task(TaskState.SUCCEEDED)
    await world.app.parts.orchestration.labels.save(
        world.y, world.b_id, TaskId(task_id), NewLabel(Label.EDIT, "better")
    )
    for project_id, rows in ((world.x, 0), (world.y, 1)):
        async with world.app.database.project(project_id) as session:
            assert len(await history.samples(session, task_id)) == rows
            assert (await labels.get(session, task_id) is not None) is bool(rows)
