"""The order of projects depends on virtual time, weight and cap, not on the number of their tasks."""

from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.orchestration.queue.queue import Depth, FairQueue
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, TaskId
from tests.kit.queueing import LANE, fill, project
from tests.kit.valkey import delete_namespace

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

NOTHING = Depth(0, 0, 0)


async def test_new_project_is_served_before_a_backlog_of_another(fair_queue: FairQueue):
    backlog, new_project = project(), project()
    await fill(fair_queue, backlog, 1000)
    await fair_queue.take(LANE, 50)
    await fill(fair_queue, new_project, 1)
    assert [taken.project_id for taken in await fair_queue.take(LANE, 2)].count(new_project) == 1


async def test_idle_project_accumulates_no_credit(fair_queue: FairQueue):
    """It takes turns with the others, and does not catch up on the time without tasks."""
    busy, sleeper = project(), project()
    await fill(fair_queue, busy, 300)
    await fill(fair_queue, sleeper, 1)
    await fair_queue.take(LANE, 200)
    await fill(fair_queue, sleeper, 50)
    served = Counter(taken.project_id for taken in await fair_queue.take(LANE, 20))
    assert abs(served[busy] - served[sleeper]) <= 2  # the difference would be 20 if it had credit


async def test_project_that_submits_one_by_one_gets_only_its_share(fair_queue: FairQueue):
    """It is out of turn whenever it has no waiting task, and must not return to the front each time."""
    backlog, trickle = project(), project()
    await fill(fair_queue, backlog, 100)
    served: Counter[ProjectId] = Counter()
    for _ in range(40):
        await fill(fair_queue, trickle, 1 - (await fair_queue.depth(LANE)).get(trickle, NOTHING).waiting)
        served.update(taken.project_id for taken in await fair_queue.take(LANE))
    assert abs(served[backlog] - served[trickle]) <= 2, served


@pytest.mark.parametrize("lost", [["vt"], ["vt", "turn"], ["last"], ["turn"]])
async def test_loss_of_the_virtual_time_starves_no_project(
    fair_queue: FairQueue, valkey: Redis, namespace: str, lost: list[str]
):
    """Two projects with a large virtual time and a new one take turns, whichever key is lost."""
    early, late, new = project(), project(), project()
    await fill(fair_queue, early, 200)
    await fill(fair_queue, late, 200)
    await fair_queue.take(LANE, 200)
    await valkey.delete(*(redis_keys.queue_lane(LANE, namespace) + part for part in lost))
    await fill(fair_queue, new, 100)
    await fair_queue.missing(LANE, early, [TaskId(uuid4())])
    await fair_queue.missing(LANE, late, [TaskId(uuid4())])
    served = Counter(taken.project_id for taken in await fair_queue.take(LANE, 60))
    assert all(18 <= served[owner] <= 22 for owner in (early, late, new)), served


async def test_project_at_its_cap_does_not_delay_others(fair_queue: FairQueue):
    capped, free = project(), project()
    await fair_queue.set_cap(LANE, capped, 2)
    await fill(fair_queue, capped, 100)
    await fill(fair_queue, free, 100)
    assert Counter(taken.project_id for taken in await fair_queue.take(LANE, 60)) == {capped: 2, free: 58}


@given(weights=st.lists(st.floats(0.05, 20), min_size=2, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_projects_are_served_in_proportion_to_their_weights(valkey_url: str, weights: list[float]):
    """Start-time fair queuing (Goyal 1996): weighted service differs by at most one turn of each project."""
    client, name = connect(valkey_url), f"test-{uuid4().hex}"
    queue, owners, takes = FairQueue(client, namespace=name), [project() for _ in weights], 150
    try:
        for owner, weight in zip(owners, weights, strict=True):
            await queue.set_weight(LANE, owner, weight)
            await fill(queue, owner, takes)
        served = Counter(taken.project_id for taken in await queue.take(LANE, takes))
        assert sum(served.values()) == takes
        for a, wa in zip(owners, weights, strict=True):
            for b, wb in zip(owners, weights, strict=True):
                assert abs(served[a] / wa - served[b] / wb) <= 1 / wa + 1 / wb + 1e-6
    finally:
        await delete_namespace(client, name)
        await client.aclose()


async def test_project_with_zero_weight_is_still_served(fair_queue: FairQueue):
    poor, rich = project(), project()
    await fair_queue.set_weight(LANE, poor, 0)
    await fill(fair_queue, poor, 3)
    await fill(fair_queue, rich, 250)
    taken = await fair_queue.take(LANE, 200) + await fair_queue.take(LANE, 20)
    assert Counter(one.project_id for one in taken)[poor] == 3
