"""Idle workers sleep, and wake as soon as there may be work, not earlier."""

import asyncio

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.lanes import Lane
from kairos.orchestration.queue import queue as queue_module
from kairos.orchestration.queue.queue import FairQueue
from kairos.redis_client import connect
from tests.kit.conditions import eventually
from tests.kit.queueing import LANE, fill, project, take_ids, tasks

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


def named(url: str, name: str) -> Redis:
    client = connect(url)
    client.connection_pool.connection_kwargs["client_name"] = name
    return client


async def wait_until_blocked(client: Redis) -> None:
    """Wait until the worker blocks on a bell."""

    async def blocked() -> bool:
        return any(c["name"] == "sleeper" and "b" in c["flags"] for c in await client.client_list())

    await eventually(blocked)


async def test_idle_worker_wakes_at_a_put_in_any_of_its_lanes(
    valkey_url: str, namespace: str, valkey: Redis, monkeypatch
):
    monkeypatch.setattr(queue_module, "NAP_S", 60)  # so that only the bell can wake the worker
    sleeper = named(valkey_url, "sleeper")
    for lane in (Lane.BATCH, Lane.INTERACTIVE):
        waking = asyncio.create_task(FairQueue(sleeper, namespace=namespace).wait_for_work(list(Lane), 60))
        await wait_until_blocked(valkey)
        queue, owner, [task] = FairQueue(valkey, namespace=namespace), project(), tasks(1)
        await queue.put(lane, owner, task, order=1)
        assert await waking
        assert await queue.take(lane)
    await sleeper.aclose()


@pytest.mark.parametrize("change", ["cap", "done", "forward", "sooner"])
async def test_idle_worker_wakes_when_a_project_has_room_or_work(
    valkey_url: str, namespace: str, valkey: Redis, monkeypatch, change: str
):
    """One project is at its cap, the other's task is due in an hour: only a change can wake the worker."""
    monkeypatch.setattr(queue_module, "NAP_S", 60)
    queue, capped, other, [delayed] = FairQueue(valkey, namespace=namespace), project(), project(), tasks(1)
    running, waiting = await fill(queue, capped, 2)
    await queue.set_cap(LANE, capped, 1)
    await queue.put(LANE, other, delayed, order=1, due_in_s=3600)
    assert await take_ids(queue, 9) == [running]
    sleeper = named(valkey_url, "sleeper")
    idle_queue = FairQueue(sleeper, namespace=namespace)
    waking = asyncio.create_task(idle_queue.wait_for_work([LANE], 60))
    await wait_until_blocked(valkey)
    expected = waiting
    if change == "cap":
        await queue.set_cap(LANE, capped, 2)
    elif change == "done":
        await queue.done(LANE, capped, running)
    elif change == "forward":
        await queue.put(LANE, other, expected := delayed, order=1)
    else:  # earlier than the due time that the worker waits for: it wakes, and waits for the new one
        await queue.put(LANE, other, expected := tasks(1)[0], order=1, due_in_s=0.1)
        assert await waking
        waking = asyncio.create_task(idle_queue.wait_for_work([LANE], 60))
    assert await waking
    assert await take_ids(queue, 9) == [expected]
    await sleeper.aclose()


async def test_waiting_ends_without_work(fair_queue: FairQueue):
    await fair_queue.put(LANE, project(), tasks(1)[0], order=1, due_in_s=3600)
    assert await fair_queue.take(LANE) == []
    assert not await fair_queue.wait_for_work(list(Lane), 0.05)


async def test_worker_does_not_sleep_while_work_waits_and_the_bell_is_lost(
    fair_queue: FairQueue, valkey: Redis, namespace: str
):
    await fill(fair_queue, project(), 1)
    await valkey.delete(redis_keys.queue_bell(LANE, namespace))
    assert await fair_queue.wait_for_work([LANE], 0)


async def test_bell_is_bounded_and_empty_when_every_task_is_taken(fair_queue: FairQueue, valkey: Redis, namespace: str):
    bell, owner = redis_keys.queue_bell(LANE, namespace), project()
    for order, task in enumerate(tasks(200)):
        await fair_queue.put(LANE, owner, task, order=order)
    assert 0 < await valkey.llen(bell) <= 64
    await fair_queue.take(LANE, 200)
    assert await valkey.llen(bell) == 0
