"""No error of Redis ends a daemon, and the daemon works again as soon as Redis does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio
from redis import exceptions as faults
from redis._parsers.base import BaseParser
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import end
from kairos.cli.diagnosis import _reachable_redis
from kairos.components import ComponentState, ComponentStatus
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.queue.queue import FairQueue
from kairos.pubsub import Notice, PubSub, Subscribed
from kairos.redis_client import blocking_redis_errors, check_writable, connect, redis_errors
from kairos.tenancy import ProjectId, TaskId
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer
from tests.kit.valkey import ValkeyServer

pytestmark = pytest.mark.timeout(120)
LANE = Lane.BATCH


@pytest_asyncio.fixture
async def client(own_valkey: ValkeyServer) -> AsyncIterator[Redis]:
    client = connect(own_valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
async def app_with_own_redis(
    addresses: Addresses, models: ModelServer, own_valkey: ValkeyServer
) -> AsyncIterator[KairosApp]:
    """A `KairosApp` with a Redis of its own, in which tests may cause faults."""
    async with open_app(replace(addresses, redis_url=own_valkey.url), models) as app:
        yield app


async def run_task(app: KairosApp) -> None:
    task = await app.finished(await app.submit(), within_s=30)
    assert task.state == TaskState.SUCCEEDED


async def blocked(client: Redis) -> list[str]:
    """Return the ids of connections that wait in a blocking command."""
    return [entry["id"] for entry in await client.client_list() if entry["cmd"] == "blpop" and "b" in entry["flags"]]


async def ready(app: KairosApp) -> ComponentStatus:
    return (await app.parts.api.readiness.components())["redis"]


async def test_daemon_survives_a_failover_that_unblocks_workers(app_with_own_redis: KairosApp, client: Redis):
    """A primary that becomes a replica answers BLPOP with UNBLOCKED, and later writes with READONLY."""
    async with app_with_own_redis.working():
        await run_task(app_with_own_redis)
        await eventually(lambda: blocked(client), 10, "a worker waits")
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(EngineUnavailable, match="read only replica"):
            await check_writable(client)
        assert (await ready(app_with_own_redis)).state is ComponentState.DEGRADED
        waiting = await app_with_own_redis.submit()
        await client.execute_command("REPLICAOF", "NO", "ONE")
        assert (await app_with_own_redis.finished(waiting, within_s=30)).state == TaskState.SUCCEEDED
        await run_task(app_with_own_redis)


async def test_unblocked_worker_continues(app_with_own_redis: KairosApp, client: Redis):
    async with app_with_own_redis.working():
        await run_task(app_with_own_redis)
        for _ in range(3):
            waiting_ids = await eventually(lambda: blocked(client), 10, "a worker waits")
            for number in waiting_ids:
                await client.execute_command("CLIENT", "UNBLOCK", number, "ERROR")
        await run_task(app_with_own_redis)


async def test_daemon_survives_flushed_scripts_and_killed_connections(app_with_own_redis: KairosApp, client: Redis):
    async with app_with_own_redis.working():
        await run_task(app_with_own_redis)
        await client.script_flush()
        for kind in ("normal", "pubsub"):
            await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await run_task(app_with_own_redis)


async def test_full_redis_is_reported_as_degraded_until_it_has_room(app_with_own_redis: KairosApp, client: Redis):
    async with app_with_own_redis.working():
        await run_task(app_with_own_redis)
        assert await ready(app_with_own_redis) == ComponentStatus(ComponentState.OK)
        await client.config_set("maxmemory", 1)
        part = await ready(app_with_own_redis)
        assert part.state is ComponentState.DEGRADED
        assert "refuses writes" in part.detail
        assert "Raise its maxmemory" in part.detail
        waiting = await app_with_own_redis.submit()
        await client.config_set("maxmemory", 0)
        assert await ready(app_with_own_redis) == ComponentStatus(ComponentState.OK)
        assert (await app_with_own_redis.finished(waiting, within_s=30)).state == TaskState.SUCCEEDED


async def test_doctor_reports_a_full_redis(own_valkey: ValkeyServer, client: Redis):
    assert (await asyncio.to_thread(_reachable_redis, own_valkey.url)).ok
    await client.config_set("maxmemory", 1)
    found = await asyncio.to_thread(_reachable_redis, own_valkey.url)
    assert not found.ok
    assert "used memory > 'maxmemory'" in found.detail


async def test_killed_redis_is_reported_as_away_until_it_restarts(
    app_with_own_redis: KairosApp, own_valkey: ValkeyServer
):
    async with app_with_own_redis.working():
        await run_task(app_with_own_redis)
        own_valkey.kill()
        assert (await ready(app_with_own_redis)).state is ComponentState.AWAY
        await asyncio.to_thread(own_valkey.start)
        await run_task(app_with_own_redis)


async def test_redis_without_enough_replicas_is_reported():
    server = ValkeyServer("--min-replicas-to-write", "1")
    await asyncio.to_thread(server.start)
    try:
        async with connect(server.url) as client:
            with pytest.raises(EngineUnavailable, match="Not enough good replicas"):
                await check_writable(client)
            with pytest.raises(EngineUnavailable):
                await FairQueue(client).put(LANE, ProjectId(uuid4()), TaskId(uuid4()), order=1)
    finally:
        server.close()


async def test_listener_resumes_after_its_subscription_was_refused(client: Redis, namespace: str):
    """An access list may deny a channel temporarily."""
    channel = redis_keys.statistics_channel(namespace)
    await client.execute_command("ACL", "SETUSER", "default", "resetchannels")
    listening = PubSub(client, namespace=namespace).listen([channel])
    subscribing = asyncio.create_task(anext(listening))
    done, _ = await asyncio.wait([subscribing], timeout=0.5)
    assert not done
    await client.execute_command("ACL", "SETUSER", "default", "allchannels")
    assert isinstance(await asyncio.wait_for(subscribing, 20), Subscribed)
    await PubSub(client, namespace=namespace).publish(channel, b"x")
    assert await asyncio.wait_for(anext(listening), 5) == Notice(channel, b"x")
    await end(subscribing)
    await listening.aclose()


REFUSALS = [
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run the 'blpop' command",
    "NOREPLICAS Not enough good replicas to write.",
    "NOSCRIPT No matching script. Please use EVAL.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "MOVED 1 127.0.0.1:7000",
    "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
    "ERR max number of clients reached",
    "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed",
    "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica.",
]
BUGS = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR unknown command 'BLOB'",
    "ERR wrong number of arguments for 'get' command",
    "ERR value is not an integer or out of range",
]


def parsed(text: str) -> Exception:
    """Return the exception that redis-py creates from an error reply."""
    return BaseParser.parse_error(text)


@pytest.mark.parametrize("text", REFUSALS)
def test_every_refusal_by_server_state_is_an_outage(text: str):
    with pytest.raises(EngineUnavailable), redis_errors(connect("redis://localhost")):
        raise parsed(text)


@pytest.mark.parametrize("text", BUGS)
def test_command_error_is_an_outage_only_in_a_blocking_call(text: str):
    with pytest.raises(faults.ResponseError), redis_errors(connect("redis://localhost")):
        raise parsed(text)
    with pytest.raises(EngineUnavailable), blocking_redis_errors(connect("redis://localhost")):
        raise parsed(text)
