"""The queue and pub/sub on a server that is killed, hangs, is full, loses its scripts, or is a cluster."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis, RedisCluster

from kairos import redis_keys
from kairos.background_tasks import end
from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.queue import queue as queue_module
from kairos.orchestration.queue.queue import Depth, FairQueue, QueueEntry
from kairos.pubsub import Channels, Notice, PubSub, Subscribed
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, TaskId
from tests.kit.conditions import eventually
from tests.kit.valkey import ValkeyServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(90)]

LANE = Lane.BATCH


@pytest_asyncio.fixture
async def client(own_valkey: ValkeyServer) -> AsyncIterator[Redis]:
    client = connect(own_valkey.url)
    yield client
    await client.aclose()


def ids(amount: int) -> tuple[ProjectId, list[TaskId]]:
    return ProjectId(uuid4()), [TaskId(uuid4()) for _ in range(amount)]


async def test_lost_server_is_reported_and_a_new_one_is_used_at_once(own_valkey: ValkeyServer, client: Redis):
    queue, (owner, [first, second]) = FairQueue(client), ids(2)
    await queue.put(LANE, owner, first, order=1)
    own_valkey.kill()
    for call in (queue.take(LANE), queue.put(LANE, owner, second, order=2), queue.wait_for_work([LANE], 1)):
        with pytest.raises(EngineUnavailable, match=str(own_valkey.socket)):
            await call
    own_valkey.wipe()
    own_valkey.start()
    await queue.put(LANE, owner, second, order=2)  # over a broken connection, with a script that is not loaded
    assert [taken.task_id for taken in await queue.take(LANE, 9)] == [second]


async def test_put_survives_a_short_restart(own_valkey: ValkeyServer, client: Redis, monkeypatch):
    """A put can be repeated safely, so a short restart of the server causes no error for the submitter."""
    monkeypatch.setattr(queue_module, "PAUSES_S", (0.05,) * 200)
    queue, (owner, [task]) = FairQueue(client), ids(1)
    own_valkey.kill()
    putting = asyncio.create_task(queue.put(LANE, owner, task, order=1))
    await asyncio.sleep(0)
    await asyncio.to_thread(own_valkey.start)
    await putting
    assert [taken.task_id for taken in await queue.take(LANE)] == [task]


async def test_call_to_a_hanging_server_times_out(own_valkey: ValkeyServer, client: Redis, monkeypatch):
    monkeypatch.setattr(queue_module, "LIMIT_S", 0.3)
    queue, (owner, [task]) = FairQueue(client), ids(1)
    own_valkey.signal(signal.SIGSTOP)
    for call in (queue.take(LANE), queue.put(LANE, owner, task, order=1), queue.wait_for_work([LANE], 60)):
        with pytest.raises(EngineUnavailable, match="no answer in time"):
            await call
    own_valkey.signal(signal.SIGCONT)
    assert await queue.take(Lane.TRAIN) == []


async def test_idle_worker_notices_that_the_server_hangs(own_valkey: ValkeyServer, client: Redis, monkeypatch):
    monkeypatch.setattr(queue_module, "LIMIT_S", 0.3)
    sleeping = asyncio.create_task(FairQueue(client).wait_for_work([LANE], 60))

    async def blocked() -> bool:
        return any(c["cmd"] == "blpop" for c in await client.client_list())

    await eventually(blocked)
    own_valkey.signal(signal.SIGSTOP)
    with pytest.raises(EngineUnavailable, match="no answer in time"):
        await sleeping


async def test_full_server_is_reported_and_still_accepts_done(client: Redis):
    queue, (owner, [first, second, third]) = FairQueue(client), ids(3)
    await queue.put_many(LANE, owner, [QueueEntry(first, 1), QueueEntry(second, 2)])
    await queue.take(LANE)
    await client.config_set("maxmemory", 1)
    with pytest.raises(EngineUnavailable, match="maxmemory"):
        await queue.put(LANE, owner, third, order=3)
    assert await queue.done(LANE, owner, first)
    await client.config_set("maxmemory", 0)
    await queue.put(LANE, owner, third, order=3)
    assert [taken.task_id for taken in await queue.take(LANE, 9)] == [second, third]


async def test_burst_of_calls_waits_for_a_connection(own_valkey: ValkeyServer):
    few, (owner, tasks) = connect(own_valkey.url, connections=2), ids(100)
    queue = FairQueue(few)
    await asyncio.gather(*(queue.put(LANE, owner, task, order=1) for task in tasks))
    assert await queue.depth(LANE) == {owner: Depth(100, 0, 0)}
    await few.aclose()


async def test_flushed_scripts_are_loaded_again(client: Redis):
    queue, (owner, [task]) = FairQueue(client), ids(1)
    await queue.put(LANE, owner, task, order=1)
    await client.script_flush()
    assert [taken.task_id for taken in await queue.take(LANE)] == [task]


async def test_long_wait_is_not_ended_by_the_socket_timeout(client: Redis, monkeypatch):
    """redis-py ends a read after its socket timeout, and an ended blocking pop would look like an outage."""
    monkeypatch.setattr(queue_module, "NAP_S", 0.1)
    impatient = connect(f"unix://{client.connection_pool.connection_kwargs['path']}")
    impatient.connection_pool.connection_kwargs["socket_timeout"] = 0.3
    assert not await FairQueue(impatient).wait_for_work([LANE], 1)
    await impatient.aclose()


async def test_queue_works_on_a_cluster_with_lanes_on_different_nodes():
    """A single node with every slot refuses keys of different slots, as several nodes would."""
    server = ValkeyServer("--cluster-enabled", "yes", "--port", str(port := _free_port()), "--bind", "127.0.0.1")
    server.start()
    admin = connect(server.url)
    await admin.execute_command("CLUSTER", "ADDSLOTS", *range(16384))

    async def formed() -> bool:
        return (await admin.cluster("INFO"))["cluster_state"] == "ok"

    async def blocked() -> bool:
        return any(c["cmd"] == "blpop" for c in await admin.client_list())

    await eventually(formed)
    cluster = RedisCluster(host="127.0.0.1", port=port)
    queue, (owner, [waiting, delayed, running]) = FairQueue(cluster), ids(3)  # type: ignore[arg-type]
    try:
        assert not await queue.wait_for_work(list(Lane), 0.01)
        for lane in Lane:
            await queue.put(lane, owner, running, order=1)
            assert await queue.wait_for_work(list(Lane), 0)
            assert [taken.task_id for taken in await queue.take(lane)] == [running]
            await queue.put(lane, owner, waiting, order=2)
            await queue.put(lane, owner, delayed, order=3, due_in_s=3600)
            assert await queue.depth(lane) == {owner: Depth(1, 1, 1)}
            assert await queue.missing(lane, owner, [waiting, delayed, running]) == []
            assert len(await queue.stale_runs(lane, -1)) == 1
            assert await queue.take(lane, 9)
        waking = asyncio.create_task(queue.wait_for_work(list(Lane), 60))
        await eventually(blocked)
        await queue.put(Lane.TRAIN, owner, TaskId(uuid4()), order=1)
        assert await waking
        assert await queue.start_generation() == await queue.generation()
    finally:
        await cluster.aclose()
        await admin.aclose()
        server.close()


async def test_listener_resumes_after_a_server_restart(own_valkey: ValkeyServer, client: Redis):
    pubsub, (_, [first, second]) = PubSub(client), ids(2)
    received = pubsub.listen([redis_keys.cancel_channel("daemon-1"), "other"])
    assert await anext(received) == Subscribed()
    await pubsub.cancel("daemon-2", second)  # for another daemon
    await pubsub.cancel("daemon-1", first)
    assert await anext(received) == Notice(redis_keys.cancel_channel("daemon-1"), str(first).encode())
    own_valkey.kill()
    with pytest.raises(EngineUnavailable):
        await pubsub.publish("other", b"lost")
    again = asyncio.ensure_future(anext(received))
    await asyncio.to_thread(own_valkey.start)
    assert await again == Subscribed()  # so that the listener reads the state it missed
    await pubsub.publish("other", b"\x00\xff")
    assert await anext(received) == Notice("other", b"\x00\xff")
    await received.aclose()


async def test_channels_added_during_connection_setup_are_subscribed(own_valkey: ValkeyServer, client: Redis):
    pubsub, channels = PubSub(client), Channels("always")
    received: asyncio.Queue[Notice | Subscribed] = asyncio.Queue()

    async def listen() -> None:
        async for message in pubsub.listen(channels):
            received.put_nowait(message)

    listening = asyncio.create_task(listen())
    try:
        names = [f"added-{number}" for number in range(30)]
        for name in names:  # one at each step of the connection setup
            await asyncio.sleep(0)
            await channels.add(name)
        assert await asyncio.wait_for(received.get(), 5) == Subscribed()
        for name in (*names, "always"):
            await eventually(lambda name=name: pubsub.publish(name, b""), 5, f"{name} is subscribed")
            assert await asyncio.wait_for(received.get(), 5) == Notice(name, b"")
    finally:
        await end(listening)


async def test_idle_connection_is_kept_and_a_dead_one_replaced(own_valkey: ValkeyServer, client: Redis):
    """A half-open connection reports no error: only an unanswered ping distinguishes it from an idle one."""
    pubsub = PubSub(client, silence_s=0.1)
    received = pubsub.listen(["news"])
    assert await anext(received) == Subscribed()
    quiet = asyncio.ensure_future(anext(received))
    ended, _ = await asyncio.wait([quiet], timeout=1)  # ten silent periods, each with an answered ping
    assert not ended
    own_valkey.signal(signal.SIGSTOP)
    ended, _ = await asyncio.wait([quiet], timeout=1)
    assert not ended
    own_valkey.signal(signal.SIGCONT)
    assert await quiet == Subscribed()
    await received.aclose()


def _free_port() -> int:
    """Return a free port low enough for the cluster bus, which uses this port + 10,000."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if (port := listener.getsockname()[1]) < 55_000:
                return port
