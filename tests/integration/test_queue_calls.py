"""The guarantees of each queue call, on a real server."""

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.lanes import Lane
from kairos.orchestration.queue.queue import Depth, FairQueue, QueueEntry
from kairos.tenancy import TaskId
from tests.kit.queueing import LANE, fill, project, take_ids, tasks
from tests.kit.valkey import delete_namespace

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


async def test_tasks_are_ordered_by_priority_and_then_age(fair_queue: FairQueue):
    owner, (old, young, urgent) = project(), tasks(3)
    await fair_queue.put(LANE, owner, young, order=2)
    await fair_queue.put(LANE, owner, old, order=1)
    await fair_queue.put(LANE, owner, urgent, order=3, priority=1)
    assert await take_ids(fair_queue, 5) == [urgent, old, young]


async def test_lanes_are_independent(fair_queue: FairQueue):
    [task] = tasks(1)
    await fair_queue.put(Lane.TRAIN, project(), task, order=1)
    assert await fair_queue.take(Lane.BATCH, 9) == []
    assert [taken.lane for taken in await fair_queue.take(Lane.TRAIN, 9)] == [Lane.TRAIN]


async def test_second_put_changes_nothing(fair_queue: FairQueue):
    owner, (first, second) = project(), tasks(2)
    await fair_queue.put(LANE, owner, first, order=1)
    await fair_queue.put(LANE, owner, second, order=2)
    await fair_queue.put(LANE, owner, second, order=0, priority=9)
    assert await take_ids(fair_queue, 1) == [first]
    await fair_queue.put(LANE, owner, first, order=0)  # it is running
    assert await take_ids(fair_queue, 9) == [second]


async def test_done_frees_one_slot_once(fair_queue: FairQueue):
    owner = project()
    await fair_queue.set_cap(LANE, owner, 1)
    first, second, third = await fill(fair_queue, owner, 3)
    assert await take_ids(fair_queue, 9) == [first]
    assert await fair_queue.done(LANE, owner, first)
    assert not await fair_queue.done(LANE, owner, first)
    assert not await fair_queue.done(LANE, owner, third)  # it is waiting, not running
    assert await take_ids(fair_queue, 9) == [second]


async def test_cap_below_the_number_of_running_tasks_blocks_until_enough_have_ended(fair_queue: FairQueue):
    owner = project()
    await fill(fair_queue, owner, 9)
    running = await take_ids(fair_queue, 4)
    await fair_queue.set_cap(LANE, owner, 2)
    for task in running[:2]:
        assert await fair_queue.take(LANE) == []
        await fair_queue.done(LANE, owner, task)
    assert await fair_queue.take(LANE) == []
    await fair_queue.done(LANE, owner, running[2])
    assert len(await fair_queue.take(LANE, 9)) == 1
    await fair_queue.set_cap(LANE, owner, None)
    assert len(await fair_queue.take(LANE, 9)) == 4


async def test_removed_task_is_not_returned(fair_queue: FairQueue):
    owner, (waiting, delayed) = project(), tasks(2)
    await fair_queue.put(LANE, owner, waiting, order=1)
    await fair_queue.put(LANE, owner, delayed, order=1, due_in_s=3600)
    await fair_queue.remove(LANE, owner, waiting)
    await fair_queue.remove(LANE, owner, delayed)
    assert await fair_queue.take(LANE, 9) == []
    assert await fair_queue.depth(LANE) == {}


async def test_delayed_task_is_returned_when_due_and_in_order(fair_queue: FairQueue):
    owner, (late, soon) = project(), tasks(2)
    await fair_queue.put(LANE, owner, soon, order=1, due_in_s=0.05)
    await fair_queue.put(LANE, owner, late, order=2)
    assert await take_ids(fair_queue, 1) == [late]
    assert await fair_queue.wait_for_work([LANE], 30)
    assert await take_ids(fair_queue, 9) == [soon]


async def test_put_without_delay_makes_a_delayed_task_due(fair_queue: FairQueue):
    owner, [task] = project(), tasks(1)
    await fair_queue.put(LANE, owner, task, order=1, due_in_s=3600)
    await fair_queue.put(LANE, owner, task, order=1, due_in_s=0.001)  # it stays delayed, with the same due time
    assert await fair_queue.take(LANE) == []
    assert not await fair_queue.wait_for_work([LANE], 0.1)
    assert await fair_queue.depth(LANE) == {owner: Depth(0, 0, 1)}
    await fair_queue.put(LANE, owner, task, order=1)
    assert await fair_queue.depth(LANE) == {owner: Depth(1, 0, 0)}
    await fair_queue.put(LANE, owner, task, order=1, due_in_s=3600)  # it stays waiting
    assert await take_ids(fair_queue, 9) == [task]


async def test_many_delayed_tasks_become_due_at_once(fair_queue: FairQueue):
    """There are more tasks than one call promotes; the following calls promote the rest."""
    owners, each = [project() for _ in range(40)], 120
    for owner in owners:
        await fair_queue.put_many(LANE, owner, [QueueEntry(task, 1, due_in_s=0.001) for task in tasks(each)])
    taken: list[TaskId] = []
    while await fair_queue.wait_for_work([LANE], 0.2):
        taken += await take_ids(fair_queue, 100)
    assert len(taken) == len(set(taken)) == len(owners) * each


async def test_missing_returns_unknown_tasks_and_restores_the_turn(
    fair_queue: FairQueue, valkey: Redis, namespace: str
):
    owner, nowhere = project(), tasks(700)
    [running, waiting] = await fill(fair_queue, owner, 2)
    [delayed] = tasks(1)
    await fair_queue.put(LANE, owner, delayed, order=1, due_in_s=3600)
    assert await take_ids(fair_queue, 1) == [running]
    await valkey.delete(
        redis_keys.queue_lane(LANE, namespace) + "turn"
    )  # the project is out of turn with work and room
    assert await fair_queue.missing(LANE, owner, [running, *nowhere, waiting, delayed]) == nowhere
    assert await take_ids(fair_queue, 9) == [waiting]


async def test_stale_runs_are_tasks_taken_long_ago(fair_queue: FairQueue, valkey: Redis, namespace: str):
    owner = project()
    old, young = await fill(fair_queue, owner, 2)
    await fair_queue.take(LANE, 2)
    run = f"{redis_keys.queue_lane(LANE, namespace)}run:{owner}"
    await valkey.zincrby(run, -60_000, str(old))
    assert [taken.task_id for taken in await fair_queue.stale_runs(LANE, 30)] == [old]
    assert {taken.task_id for taken in await fair_queue.stale_runs(LANE, -1)} == {old, young}


async def test_adopted_tasks_count_towards_the_cap(fair_queue: FairQueue, valkey: Redis, namespace: str):
    """After a loss of Redis, PostgreSQL knows the running tasks; otherwise a capped project could run twice as many."""
    owner = project()
    await fair_queue.set_cap(LANE, owner, 2)
    ids = await fill(fair_queue, owner, 5)
    running = await take_ids(fair_queue, 2)
    await delete_namespace(valkey, namespace)
    await fair_queue.set_cap(LANE, owner, 2)
    await fair_queue.put_many(LANE, owner, [QueueEntry(task, 1) for task in ids])  # including running ones, by mistake
    await fair_queue.adopt(LANE, owner, running)
    assert await fair_queue.take(LANE, 9) == []
    assert await fair_queue.depth(LANE) == {owner: Depth(3, 2, 0)}


async def test_adopted_task_is_no_longer_delayed(fair_queue: FairQueue):
    """Otherwise it would become due while it runs, and be returned a second time."""
    owner, [task] = project(), tasks(1)
    await fair_queue.put(LANE, owner, task, order=1, due_in_s=3600)
    await fair_queue.adopt(LANE, owner, [task])
    assert await fair_queue.depth(LANE) == {owner: Depth(0, 1, 0)}


async def test_generation_is_lost_with_the_data(fair_queue: FairQueue, valkey: Redis, namespace: str):
    assert await fair_queue.generation() is None
    mark = await fair_queue.start_generation()
    assert await fair_queue.generation() == mark
    await valkey.delete(redis_keys.queue_generation(Lane.TRAIN, namespace))  # one node of a cluster has lost its slots
    assert await fair_queue.generation() is None
    assert await fair_queue.start_generation() != mark
    await delete_namespace(valkey, namespace)
    assert await fair_queue.generation() is None


async def test_empty_queue_leaves_only_settings(fair_queue: FairQueue, valkey: Redis, namespace: str):
    owner = project()
    ids = await fill(fair_queue, owner, 3)
    await fair_queue.put_many(LANE, owner, [QueueEntry(task, 1, due_in_s=0.001) for task in tasks(3)])
    while await fair_queue.wait_for_work([LANE], 0.2):
        for taken in await fair_queue.take(LANE, 9):
            await fair_queue.done(LANE, owner, taken.task_id)
    await fair_queue.done(LANE, owner, ids[0])
    left = {name.decode().rsplit("}:", 1)[1] async for name in valkey.scan_iter(f"{namespace}:*")}
    assert left <= {"vt", "last"}


async def test_remains_of_a_lost_key_are_deleted(fair_queue: FairQueue, valkey: Redis, namespace: str):
    owner, [task] = project(), tasks(1)
    await fair_queue.put(LANE, owner, task, order=1, due_in_s=3600)
    await valkey.delete(f"{redis_keys.queue_lane(LANE, namespace)}later:{owner}")
    await fair_queue.remove(LANE, owner, task)
    assert [name async for name in valkey.scan_iter(f"{namespace}:*{owner}")] == []


async def test_weight_must_be_finite(fair_queue: FairQueue):
    with pytest.raises(ValueError, match="finite"):
        await fair_queue.set_weight(LANE, project(), float("nan"))
