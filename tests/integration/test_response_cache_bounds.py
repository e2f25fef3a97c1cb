"""The response cache on a real server: limits, and behaviour while Redis is unavailable."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.errors import EngineUnavailable
from kairos.llm.cache import response_store
from kairos.llm.cache.response_cache import Miss, ResponseCache
from kairos.llm.cache.response_store import CacheSettings
from kairos.redis_client import connect
from kairos.tenancy import ProjectId
from tests.kit.caching import PATIENT, Model, answer, keep, key, lease_of, opened, served, text_of
from tests.kit.conditions import eventually
from tests.kit.valkey import ValkeyServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


# Limits


async def contents(valkey: Redis, project: ProjectId) -> tuple[int, int, int]:
    """Return the actual bytes, the entries and the stored decisions."""
    stem = redis_keys.response_cache(project)
    values = await valkey.hvals(stem + "answers")  # pyright: ignore[reportGeneralTypeIssues]
    assert await valkey.zcard(stem + "used") == len(values)
    decisions = await valkey.hlen(stem + "decisions")  # pyright: ignore[reportGeneralTypeIssues]
    return sum(len(value) + 400 for value in values), len(values), decisions


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 900), st.sampled_from("psd")), max_size=25))
async def test_bytes_stay_within_the_limit_and_are_counted_correctly(
    steps: list[tuple[str, int, str]], valkey: Redis, namespace: str
) -> None:
    project, limit = ProjectId(uuid4()), 3000
    async with opened(valkey, namespace, replace(PATIENT, project_bytes=limit, total_bytes=None)) as cache:
        for name, length, step in steps:
            at = key(project, name)
            if step == "d":
                await cache._store.drop(at)
            elif step == "s" and await served(cache, at):
                pass
            else:
                await keep(cache, at, "x" * length)
                assert await served(cache, at), "the newest answer is kept"
            real, entries, decisions = await contents(valkey, project)
            stats = await cache.stats(project)
            assert real == stats.bytes <= limit
            assert entries == stats.entries == decisions
        await cache.flush(project)


async def test_least_recently_used_answer_is_evicted_first(valkey: Redis, namespace: str, project: ProjectId) -> None:
    async with opened(valkey, namespace, replace(PATIENT, project_bytes=2000)) as cache:
        for name in "abc":
            await keep(cache, key(project, name))
            await next_millisecond(valkey)
        await cache.lookup(key(project, "a"))
        await next_millisecond(valkey)
        await keep(cache, key(project, "d"), "x" * 300)
        assert [await served(cache, key(project, name)) for name in "abcd"] == [True, False, True, True]


async def next_millisecond(valkey: Redis) -> None:
    async def now() -> int:
        seconds, micros = await valkey.time()
        return seconds * 1000 + micros // 1000

    began = await now()
    while await now() == began:
        pass


async def test_oversized_answer_is_served_to_waiters_and_not_stored(
    valkey: Redis, namespace: str, project: ProjectId
) -> None:
    for bound in (replace(PATIENT, entry_bytes=100), replace(PATIENT, project_bytes=500)):
        async with opened(valkey, namespace, bound) as cache:
            lease = lease_of(await cache.lookup(key(project)))
            waiter = asyncio.create_task(cache.lookup(key(project)))
            await asyncio.sleep(0)
            assert not await cache.store(lease, answer("x" * 200))
            assert text_of(await waiter) == "x" * 200
            assert not await served(cache, key(project))


async def test_lowered_limit_applies_from_the_next_answer(valkey: Redis, namespace: str, project: ProjectId) -> None:
    async with opened(valkey, namespace) as cache:
        for i in range(20):
            await keep(cache, key(project, str(i)))
    async with opened(valkey, namespace, replace(PATIENT, project_bytes=1500)) as cache:
        await keep(cache, key(project, "new"))
        assert (await cache.stats(project)).bytes <= 1500
        assert await served(cache, key(project, "new"))


async def test_total_limit_evicts_from_the_largest_project(valkey: Redis, namespace: str) -> None:
    small, large = ProjectId(uuid4()), ProjectId(uuid4())
    async with opened(valkey, namespace, replace(PATIENT, total_bytes=6000)) as cache:
        for i in range(3):
            await keep(cache, key(small, str(i)))
        for i in range(30):
            await keep(cache, key(large, str(i)))

        async def bounded() -> bool:
            sizes = [(await cache.stats(project)).bytes for project in (small, large)]
            return not cache._tasks and sum(sizes) <= 6000

        await eventually(bounded)
        assert (await cache.stats(small)).entries == 3
        assert (await cache.stats(large)).entries > 3
        assert [await cache.flush(project) > 0 for project in (small, large)] == [True, True]


async def test_flushed_project_is_not_counted_forever(valkey: Redis, namespace: str) -> None:
    gone, here = ProjectId(uuid4()), ProjectId(uuid4())
    async with opened(valkey, namespace, replace(PATIENT, total_bytes=4000)) as cache:
        for i in range(4):
            await keep(cache, key(gone, str(i)))
        await eventually(lambda: not cache._tasks)
        await cache.flush(gone)  # no process reports this
        for i in range(40):
            await keep(cache, key(here, str(i % 5)))
        await eventually(lambda: not cache._tasks)
        assert (await cache.stats(here)).entries == 5
        await cache.flush(here)


async def test_invalid_entry_is_a_miss(cache: ResponseCache, valkey: Redis, project: ProjectId) -> None:
    await keep(cache, key(project))
    at, field = redis_keys.response_cache(project) + "answers", key(project).digest
    value = await valkey.execute_command("HGET", at, field)
    assert value
    await valkey.execute_command("HSET", at, field, b" ".join([*value.split(b" ", 3)[:3], b"nonsense"]))
    assert lease_of(await cache.lookup(key(project))).shared


# Redis unavailable


@pytest.fixture
async def unreliable(own_valkey: ValkeyServer) -> AsyncIterator[Redis]:
    client = connect(own_valkey.url)
    yield client
    await client.aclose()


async def test_lookup_without_redis_is_a_degraded_miss(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_store, "PAUSE_S", 3600)
    async with opened(unreliable, "test") as cache:
        await keep(cache, key(project))
        own_valkey.kill()
        found = await cache.lookup(key(project))
        assert isinstance(found, Miss)
        assert found.degraded
        own_valkey.start()
        other = await cache.lookup(key(project, "other"))
        assert isinstance(other, Miss)
        assert other.degraded, "Redis is not called during the pause, though it is back"
        monkeypatch.setattr(cache._store, "_retry_at", 0.0)
        assert not await cache.store(found.lease, answer("not known to be wanted"))
        again = await cache.lookup(key(project, "third"))
        assert isinstance(again, Miss)
        assert not again.degraded


async def test_hanging_redis_costs_at_most_the_lookup_budget(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_store, "PAUSE_S", 3600)
    async with opened(unreliable, "test", CacheSettings(lookup_budget_s=0.5)) as cache:
        own_valkey.signal(signal.SIGSTOP)
        began = time.monotonic()
        found = await asyncio.gather(*(cache.lookup(key(project, str(i))) for i in range(100)))
        took = time.monotonic() - began
        own_valkey.signal(signal.SIGCONT)
        assert all(isinstance(miss, Miss) and miss.degraded for miss in found)
        assert took < 15, "all lookups together waited for one budget, not each for its own: these are 50 s"


async def test_waiters_are_served_if_redis_dies_during_the_call(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId
) -> None:
    async with opened(unreliable, "test") as cache:
        model = Model(cache)
        requests = [asyncio.create_task(model.ask(key(project))) for _ in range(20)]
        await eventually(lambda: model.calls)
        own_valkey.kill()
        model.may_answer.set()
        assert sorted(await asyncio.gather(*requests)) == ["answer 1"] * 19 + ["own"]


async def test_process_makes_one_call_for_equal_requests_without_redis(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId
) -> None:
    own_valkey.kill()
    async with opened(unreliable, "test") as cache:
        model = Model(cache)
        requests = [asyncio.create_task(model.ask(key(project))) for _ in range(50)]
        await eventually(lambda: model.calls)
        model.may_answer.set()
        await asyncio.gather(*requests)
        assert model.calls == 1


async def test_waiter_for_another_process_calls_a_model_if_redis_dies(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId
) -> None:
    async with opened(unreliable, "test") as holder, opened(unreliable, "test") as cache:
        lease_of(await holder.lookup(key(project)))
        waiter = asyncio.create_task(cache.lookup(key(project)))
        await eventually(lambda: cache._flights)
        own_valkey.kill()
        found = await waiter
        assert isinstance(found, Miss)
        assert found.degraded


async def test_administrative_calls_raise_without_redis(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId
) -> None:
    async with opened(unreliable, "test") as cache:
        own_valkey.kill()
        calls = (
            cache.flush(project),
            cache.bump_epoch(project),
            cache.stats(project),
            cache.drop_decision(project, uuid4()),
        )
        for call in calls:
            with pytest.raises(EngineUnavailable):
                await call


async def test_counts_are_written_when_redis_is_back(
    own_valkey: ValkeyServer, unreliable: Redis, project: ProjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_store, "PAUSE_S", 0)
    async with opened(unreliable, "test") as cache:
        own_valkey.kill()
        lease_of(await cache.lookup(key(project)))
        await cache._savings.send()
        own_valkey.start()
        assert (await cache.stats(project)).misses == 1
