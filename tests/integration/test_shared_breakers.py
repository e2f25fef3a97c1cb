"""Three replicas on one Valkey share circuit breakers: one failing replica opens them for all, and only one probes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.llm.calls.providers import ModelRefused
from kairos.llm.health import shared_breakers
from kairos.llm.health.breaker import PERIOD_S, PROBE_S
from kairos.llm.health.shared_breakers import identity
from kairos.redis_client import connect
from tests.kit.conditions import eventually
from tests.kit.replicas import MODEL, Replica, server_error
from tests.kit.valkey import ValkeyServer

NOW = 1000.0
"""The tests pass the time explicitly, so that none waits for a period."""
LATER = NOW + PERIOD_S


@pytest.fixture
async def three(valkey: Redis, namespace: str) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        replicas = [Replica(valkey, namespace) for _ in range(3)]
        yield [await stack.enter_async_context(replica.running()) for replica in replicas]


async def all_open(replicas: list[Replica], now: float = NOW, is_open: bool = True) -> None:
    await eventually(lambda: all(replica.open(now) is is_open for replica in replicas), 5, f"all {is_open=} at {now}")


async def opened(replicas: list[Replica]) -> None:
    await replicas[0].fail(NOW, 3)
    await all_open(replicas)


async def test_three_failures_in_one_replica_open_the_breaker_for_all(three: list[Replica]):
    await opened(three)
    assert "503" in three[2].health.status("m", NOW).detail, "the other replicas know the reason"


async def test_consecutive_failures_count_over_all_replicas(three: list[Replica]):
    for replica in three:
        await replica.fail(NOW)
        await eventually(
            lambda: len({other.health.snapshot("m")[0].errors for other in three}) == 1,
            5,
            "all replicas know of the error",
        )
    await all_open(three)


async def test_one_call_of_all_replicas_probes_an_open_breaker(three: list[Replica]):
    await opened(three)
    permits = await asyncio.gather(*(replica.acquire(LATER) for _ in range(30) for replica in three))
    assert sum(permit is not None for permit in permits) == 1


async def test_successful_probe_closes_the_breaker_for_all(three: list[Replica]):
    await opened(three)
    permit = await three[1].acquire(LATER)
    assert permit is not None
    three[1].health.succeeded("m", permit, LATER)
    await eventually(
        lambda: not any(replica.health.is_probe("m", LATER) for replica in three),
        5,
        "all replicas know the breaker is closed",
    )
    assert all([await replica.acquire(LATER) is not None for replica in three])


async def test_failed_probe_doubles_the_open_period_for_all(three: list[Replica]):
    await opened(three)
    permit = await three[1].acquire(LATER)
    assert permit is not None
    three[1].health.failed("m", permit, server_error(), LATER)
    await all_open(three, LATER + 2 * PERIOD_S - 1)
    await all_open(three, LATER + 2 * PERIOD_S, is_open=False)


async def test_outcome_of_a_probe_is_read_before_the_next_probe(valkey: Redis, namespace: str):
    """The replicas do not listen, so their state is outdated; claiming a probe reveals that."""
    one, other = Replica(valkey, namespace), Replica(valkey, namespace)
    await one.fail(NOW, 3)
    await one.breakers.exchange()
    await other.breakers.exchange()
    permit = await one.acquire(LATER)
    assert permit is not None
    refusal = ModelRefused(model="m", reason="no", http_status=401, remedy="")
    one.health.failed("m", permit, refusal, LATER)
    await one.breakers.exchange()
    assert other.health.is_probe("m", LATER), "its state is outdated"
    assert await other.acquire(LATER) is None
    assert other.health("m", LATER).retry_at is None, "the claim has updated its state"


async def test_another_replica_may_probe_after_a_cancelled_probe(three: list[Replica]):
    await opened(three)
    permit = await three[0].acquire(LATER)
    assert permit is not None
    await all_open(three, LATER)
    three[0].health.abandoned("m", permit)
    await all_open(three, LATER, is_open=False)
    assert await three[1].acquire(LATER) is not None


async def test_call_cancelled_while_claiming_the_probe_releases_it(three: list[Replica]):
    await opened(three)
    for steps in range(1, 12):
        claim = asyncio.create_task(three[0].acquire(LATER))
        for _ in range(steps):
            await asyncio.sleep(0)
        claim.cancel()
        await asyncio.wait([claim])
        if not claim.cancelled() and (
            permit := claim.result()
        ):  # it had finished, or redis-py suppressed the cancellation
            three[0].health.abandoned("m", permit)
    await eventually(lambda: three[1].acquire(LATER), 5, "another replica claims the probe")


async def test_manual_reset_applies_to_all_replicas(three: list[Replica]):
    permit = await three[0].acquire(NOW)
    assert permit is not None
    refusal = ModelRefused(model="m", reason="no", http_status=401, remedy="")
    three[0].health.failed("m", permit, refusal, NOW)
    await all_open(three, NOW + 1e6)
    three[2].health.reset("m")
    await all_open(three, is_open=False)


async def test_other_api_key_or_address_has_its_own_breaker(valkey: Redis, namespace: str):
    changed = [replace(MODEL, api_key="new"), replace(MODEL, base_url="http://elsewhere.test/v1")]
    old = Replica(valkey, namespace)
    await old.fail(NOW, 3)
    await old.breakers.exchange()
    for model in changed:
        replica = Replica(valkey, namespace, [model])
        await replica.breakers.exchange()
        assert not replica.open(NOW)


async def test_api_key_is_not_stored_in_redis(valkey: Redis, namespace: str):
    replica = Replica(valkey, namespace)
    await replica.fail(NOW, 3, reason="the key a-secret-key is overloaded")
    await replica.breakers.exchange()
    assert "a-secret-key" not in str(await valkey.hgetall(redis_keys.breakers(namespace)))


async def test_poll_compensates_for_a_lost_notice(valkey: Redis, namespace: str):
    without_notices = Replica(valkey, namespace)
    without_notices.breakers._channel = "nobody publishes here"
    async with without_notices.running():
        other = Replica(valkey, namespace)
        await other.fail(NOW, 3)
        await other.breakers.exchange()
        await eventually(lambda: without_notices.open(NOW), 3, "the poll has read the state")


async def test_new_replica_reads_the_shared_state(three: list[Replica], namespace: str):
    await opened(three)
    late = Replica(three[0].redis, namespace)
    await late.breakers.exchange()
    assert late.open(NOW)


async def test_state_written_by_another_version_is_ignored(valkey: Redis, namespace: str):
    await valkey.hset(redis_keys.breakers(namespace), identity(MODEL), b'{"shape": "unknown"}')
    replica = Replica(valkey, namespace)
    await replica.breakers.exchange()
    await replica.fail(NOW, 3)
    await replica.breakers.exchange()
    assert replica.open(NOW)


async def test_lost_reply_does_not_count_an_error_twice(valkey: Redis, namespace: str):
    """Redis stored the change, and the connection broke before the reply."""
    replica = Replica(valkey, namespace)
    script = replica.breakers._script

    async def lossy(keys: list[str], args: list[Any]) -> None:
        await script(keys, args)
        replica.breakers._script = script
        raise ConnectionError("lost")

    replica.breakers._script = lossy  # type: ignore[assignment]  # simulates a broken connection
    await replica.fail(NOW, 2)
    with pytest.raises(shared_breakers.EngineUnavailable):
        await replica.breakers.exchange()
    await replica.breakers.exchange()
    assert replica.health.snapshot("m")[0].errors == 2


async def test_another_replica_probes_after_the_probing_one_is_killed(valkey_url: str, three: list[Replica], namespace):
    await opened(three)
    arguments = ["-m", "tests.kit.replicas", valkey_url, namespace, str(LATER), str(PROBE_S)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"probing\n"
        await all_open(three, LATER)
    finally:
        process.kill()  # SIGKILL
        await process.wait()
    assert await three[0].acquire(LATER + PROBE_S - 1) is None
    permits = await asyncio.gather(*(replica.acquire(LATER + PROBE_S) for replica in three))
    assert sum(permit is not None for permit in permits) == 1


async def test_replicas_use_their_own_breakers_without_redis_and_share_them_again(
    own_valkey: ValkeyServer, namespace: str
):
    async with AsyncExitStack() as stack:
        clients = [connect(own_valkey.url) for _ in range(3)]
        three = [Replica(client, namespace) for client in clients]
        for replica in three:
            await stack.enter_async_context(replica.running())
        own_valkey.kill()
        await eventually(
            lambda: all(replica.health.redis_unavailable for replica in three), 10, "all are marked degraded"
        )
        await three[0].fail(NOW, 3)
        assert [replica.open(NOW) for replica in three] == [True, False, False]
        permit = await asyncio.wait_for(three[0].acquire(LATER), 1)
        assert permit is not None, "the replica probes on its own"
        three[0].health.failed("m", permit, server_error(), LATER)
        own_valkey.start()
        await eventually(
            lambda: not any(replica.health.redis_unavailable for replica in three), 10, "all replicas share state again"
        )
        await all_open(three, LATER + 2 * PERIOD_S - 1)
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize("person_resets", [False, True])
async def test_state_lost_by_redis_is_written_again(own_valkey: ValkeyServer, namespace: str, person_resets: bool):
    """An empty Redis does not close an open breaker, and a reset during the outage is kept."""
    client = connect(own_valkey.url)
    one, other = Replica(client, namespace), Replica(client, namespace)
    await one.fail(NOW, 3)
    await one.breakers.exchange()
    await other.breakers.exchange()
    own_valkey.kill()
    own_valkey.wipe()
    if person_resets:
        other.health.reset("m")
    own_valkey.start()
    await client.connection_pool.disconnect()
    for replica in (one, other, one):
        await replica.breakers.exchange()
    late = Replica(client, namespace)
    await late.breakers.exchange()
    assert [replica.open(NOW) for replica in (one, other, late)] == [not person_resets] * 3
    await client.aclose()


async def test_breakers_of_adapters_are_not_shared(valkey: Redis, namespace: str):
    """Adapters are added at runtime: the replicas were not built with them and do not share their failures."""
    one, two = Replica(valkey, namespace), Replica(valkey, namespace)
    await one.fail(NOW, 3, model="adapter")
    for replica in (one, two):
        await replica.breakers.exchange()
    assert one.open(NOW, "adapter")
    assert not two.open(NOW, "adapter")
    permit = await one.acquire(LATER, "adapter")
    assert permit is not None, "the replica's own probe"
    assert await one.acquire(LATER, "adapter") is None
    one.health.succeeded("adapter", permit, LATER, 0.1)
    assert not one.open(LATER, "adapter")
