"""The response cache on a real server: one model call for equal requests, and only approved answers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.llm.cache.response_cache import MAX_FAILED_WAITS, Hit, Miss, ResponseCache
from kairos.tenancy import ProjectId
from tests.kit.caching import PATIENT, Caller, Model, answer, keep, key, lease_of, opened, served, text_of
from tests.kit.conditions import eventually

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


# Stored answers


async def test_stored_answer_is_served(cache: ResponseCache, project: ProjectId) -> None:
    lease = lease_of(await cache.lookup(key(project)))
    kept = answer("approved")
    assert await cache.store(lease, kept)
    assert await cache.lookup(key(project)) == Hit(kept)
    assert not await cache.store(lease, answer("again")), "a lease stores only once"


async def test_answer_is_not_served_to_another_project(cache: ResponseCache, project: ProjectId) -> None:
    await keep(cache, key(project))
    assert not await served(cache, replace(key(project), project_id=ProjectId(uuid4())))


async def test_unapproved_answer_is_not_stored(cache: ResponseCache, project: ProjectId) -> None:
    cache.release(lease_of(await cache.lookup(key(project))))
    cache.release(lease_of(await cache.lookup(key(project))))


async def test_refresh_replaces_the_answer_without_reading_it(cache: ResponseCache, project: ProjectId) -> None:
    await keep(cache, key(project), "old")
    lease = lease_of(await cache.lookup(key(project), refresh=True))
    assert text_of(await cache.lookup(key(project))) == "old"
    assert await cache.store(lease, answer("new"))
    assert text_of(await cache.lookup(key(project))) == "new"
    assert (await cache.stats(project)).entries == 1


async def test_expired_answer_leaves_no_keys(valkey: Redis, namespace: str, project: ProjectId) -> None:
    async with opened(valkey, namespace, replace(PATIENT, ttl_s=0.3)) as cache:
        await keep(cache, key(project))
        assert await served(cache, key(project))
        stem = redis_keys.response_cache(project)
        names = [stem + part for part in ("answers", "used", "decisions", "size")]
        assert await valkey.exists(*names) == 4

        async def gone() -> bool:
            return not await valkey.exists(*names)

        await eventually(gone)
        assert not await served(cache, key(project))


async def test_answers_expire_independently(valkey: Redis, namespace: str, project: ProjectId) -> None:
    async with (
        opened(valkey, namespace) as cache,
        opened(valkey, namespace, replace(PATIENT, ttl_s=0.2)) as short_lived,
    ):
        await keep(cache, key(project, "lasting"))
        await keep(short_lived, key(project, "brief"))

        async def ended() -> bool:
            return not await served(cache, key(project, "brief"))

        await eventually(ended)
        assert await served(cache, key(project, "lasting"))
        assert (await cache.stats(project)).entries == 1


# Invalidation


async def test_late_rejection_drops_the_answer_by_its_decision(cache: ResponseCache, project: ProjectId) -> None:
    first, other = await keep(cache, key(project, "a")), await keep(cache, key(project, "b"))
    assert await cache.drop_decision(project, first.decision_id)
    assert not await cache.drop_decision(project, first.decision_id)
    assert not await served(cache, key(project, "a"))
    assert await cache._store.drop(key(project, "b"))
    assert not await cache.drop_decision(project, other.decision_id)


async def test_decision_of_a_replaced_answer_does_not_drop_the_new_one(
    cache: ResponseCache, project: ProjectId
) -> None:
    old = await keep(cache, key(project), "old")
    await keep(cache, key(project), "new")
    assert not await cache.drop_decision(project, old.decision_id)
    assert text_of(await cache.lookup(key(project))) == "new"


async def test_new_epoch_invalidates_only_answers_chosen_by_the_router(
    cache: ResponseCache, project: ProjectId
) -> None:
    auto, named = key(project, "auto"), key(project, "named", auto=False)
    await keep(cache, auto)
    await keep(cache, named)
    assert await cache.bump_epoch(project) == (await cache.stats(project)).epoch == 1
    assert not await served(cache, auto)
    assert await served(cache, named)
    assert (await cache.stats(project)).entries == 1, "the bytes of the invalid entry are freed"


@pytest.mark.parametrize("change", [ResponseCache.flush, ResponseCache.bump_epoch])
async def test_answer_in_progress_is_not_stored_after_a_flush_or_a_new_epoch(
    cache: ResponseCache, project: ProjectId, change: Callable[[ResponseCache, ProjectId], Awaitable[int]]
) -> None:
    lease = lease_of(await cache.lookup(key(project)))
    waiter = asyncio.create_task(cache.lookup(key(project)))
    await change(cache, project)
    assert not await cache.store(lease, answer("from before"))
    assert lease_of(await waiter).shared, "the waiting request looks up again"
    await eventually(lambda: not waiter.cancelled())


async def test_flush_empties_one_project(cache: ResponseCache, project: ProjectId) -> None:
    neighbour = ProjectId(uuid4())
    for name in "abc":
        await keep(cache, key(project, name))
    await keep(cache, key(neighbour))
    assert await cache.flush(project) == 3
    assert await cache.flush(project) == 0
    assert (await cache.stats(project)).bytes == 0
    assert not await served(cache, key(project, "a"))
    assert await cache.flush(neighbour) == 1


# One call for equal requests


async def test_equal_requests_share_one_call(cache: ResponseCache, project: ProjectId) -> None:
    model = Model(cache)
    requests = [asyncio.create_task(model.ask(key(project))) for _ in range(200)]
    await eventually(lambda: model.calls)
    model.may_answer.set()
    texts = await asyncio.gather(*requests)
    assert model.calls == 1
    assert sorted(texts) == ["answer 1"] * 199 + ["own"]
    stats = await cache.stats(project)
    assert (stats.hits, stats.misses) == (199, 1)
    assert (stats.saved_input_tokens, stats.saved_output_tokens) == (19_900, 1_990)
    assert stats.saved_usd == pytest.approx(199 * 0.25)
    assert stats.saved_s == pytest.approx(398)


async def test_different_requests_do_not_wait(cache: ResponseCache, project: ProjectId) -> None:
    found = await asyncio.gather(*(cache.lookup(key(project, str(i))) for i in range(300)))
    assert all(isinstance(miss, Miss) and miss.lease.shared and not miss.degraded for miss in found)


async def test_processes_share_one_call(valkey_url: str, project: ProjectId) -> None:
    callers = [await Caller.start(valkey_url, project, "crowd") for _ in range(2)]
    for caller in callers:
        await caller.write_line("go")
    counts = [int(await caller.read_line()) for caller in callers]
    assert sorted(counts) == [0, 1]
    for caller in callers:
        await caller.end()


async def test_waiting_request_takes_over_the_lease_of_a_killed_process(
    valkey: Redis, valkey_url: str, namespace: str, project: ProjectId
) -> None:
    holder = await Caller.start(valkey_url, project, "hold")
    assert await holder.read_line() == "held"
    async with opened(valkey, namespace, PATIENT) as cache:
        waiters = [asyncio.create_task(cache.lookup(key(project))) for _ in range(5)]
        await eventually(lambda: key(project) in cache._flights)
        await holder.kill()
        done, waiting = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        assert len(done) == 1
        assert len(waiting) == 4
        assert await cache.store(lease_of(done.pop().result()), answer("of the second"))
        assert {text_of(found) for found in await asyncio.gather(*waiting)} == {"of the second"}


async def test_lease_is_renewed_while_its_holder_lives(valkey: Redis, namespace: str, project: ProjectId) -> None:
    """The expiry is moved far away first, so that a pause of this process cannot end the lease; each renewal moves it
    back."""
    short_lived = replace(PATIENT, lease_s=3)
    async with opened(valkey, namespace, short_lived) as cache, opened(valkey, namespace, short_lived) as other:
        lease = lease_of(await cache.lookup(key(project)))
        waiter = asyncio.create_task(other.lookup(key(project)))
        holds = redis_keys.response_cache(project).encode() + b"lease:" + key(project).digest

        async def renewed() -> bool:
            return 0 < await valkey.pttl(holds) <= 3000

        for _ in range(2):
            assert await valkey.pexpire(holds, 60_000), "the lease expired while its holder was alive"
            await eventually(renewed)
        assert not waiter.done(), "the lease was passed on while its holder was alive"
        assert await cache.store(lease, answer("late"))
        assert text_of(await waiter) == "late"


async def test_unreleased_lease_expires(valkey: Redis, namespace: str, project: ProjectId) -> None:
    short_hold = replace(PATIENT, lease_s=0.1, hold_s=0.2)
    async with opened(valkey, namespace, short_hold) as cache:
        unreleased = lease_of(await cache.lookup(key(project)))
        following = lease_of(await cache.lookup(key(project)))
        assert following.shared
        assert not await cache.store(unreleased, answer())


async def test_one_request_continues_after_a_rejection_and_all_after_the_second(
    cache: ResponseCache, project: ProjectId
) -> None:
    lease = lease_of(await cache.lookup(key(project)))
    waiters = {asyncio.create_task(cache.lookup(key(project))) for _ in range(10)}
    for _ in range(MAX_FAILED_WAITS - 1):
        cache.release(lease)
        done, waiters = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1, "one calls a model, the others wait for it"
        lease = lease_of(done.pop().result())
        assert lease.shared
    cache.release(lease)
    rest = await asyncio.gather(*waiters)
    assert [lease_of(found).shared for found in rest] == [False] * len(rest)
    assert await cache.store(lease_of(rest[0]), answer("in the end"))
    assert await served(cache, key(project))


async def test_rejections_in_another_process_are_counted(valkey: Redis, namespace: str, project: ProjectId) -> None:
    async with opened(valkey, namespace) as cache:
        holds = redis_keys.response_cache(project).encode() + b"lease:" + key(project).digest
        await valkey.set(holds, "one")
        waiter = asyncio.create_task(cache.lookup(key(project)))
        for holder in ("two", "three"):
            await wait_for_two_reads(valkey, holds)
            await valkey.set(holds, holder)
        assert not lease_of(await waiter).shared


async def wait_for_two_reads(valkey: Redis, name: bytes) -> None:
    """Wait until the script has read the key twice more: the second read began after this call."""
    async with valkey.monitor() as monitor:
        reads = 0
        async for command in monitor.listen():
            reads += command["command"].startswith("GET ") and repr(name)[2:-1][-20:] in command["command"]
            if reads == 2:
                return


async def test_cancelled_waiter_does_not_affect_others(cache: ResponseCache, project: ProjectId) -> None:
    lease = lease_of(await cache.lookup(key(project)))
    first, second = (asyncio.create_task(cache.lookup(key(project))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert await cache.store(lease, answer())
    assert text_of(await second) == "42"


async def test_follower_continues_after_the_leader_is_cancelled(
    valkey: Redis, namespace: str, project: ProjectId
) -> None:
    async with opened(valkey, namespace) as holder, opened(valkey, namespace) as cache:
        lease = lease_of(await holder.lookup(key(project)))
        leader, follower = (asyncio.create_task(cache.lookup(key(project))) for _ in range(2))
        await eventually(lambda: cache._flights)
        leader.cancel()
        await asyncio.wait([leader])
        assert await holder.store(lease, answer())
        assert text_of(await follower) == "42"


async def test_leader_cancelled_during_the_lookup_leaves_no_lease(
    cache: ResponseCache, valkey: Redis, project: ProjectId
) -> None:
    leader = asyncio.create_task(cache.lookup(key(project)))
    await asyncio.sleep(0)  # it has begun, and no reply has arrived
    leader.cancel()
    await asyncio.wait([leader])
    assert lease_of(await cache.lookup(key(project), wait_s=1)).shared, (
        "otherwise the lease would be held for ten seconds"
    )


@pytest.mark.parametrize("same_process", [True, False])
async def test_waiter_continues_alone_after_its_wait_time(
    valkey: Redis, namespace: str, project: ProjectId, same_process: bool
) -> None:
    async with opened(valkey, namespace) as holder, opened(valkey, namespace) as other:
        lease_of(await holder.lookup(key(project)))
        cache = holder if same_process else other
        lease = lease_of(await cache.lookup(key(project), wait_s=0.05))
        assert not lease.shared
        assert await cache.store(lease, answer("of the impatient"))
        assert text_of(await cache.lookup(key(project), wait_s=0)) == "of the impatient"
