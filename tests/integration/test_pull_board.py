"""Records of pulls in Redis: leases, the limit, cancellations, and records that cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.embedded import Addresses
from kairos.orchestration.providers.ollama.pull_board import BeatResult, PullBoard, PullRecord, PullsOf, PullState
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, new_id
from tests.kit.conditions import eventually


@pytest.fixture
async def redis(addresses: Addresses) -> AsyncIterator[Redis]:
    client = connect(addresses.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def board(redis: Redis) -> PullBoard:
    return PullBoard(redis, lease_s=60)


async def test_pull_without_reports_is_interrupted(redis: Redis, board: PullBoard):
    where, record = PullsOf(None, new_id()), _record("tiny")
    assert await board.start(where, record)
    assert [one.state for one in await board.list(where)] == [PullState.RUNNING]
    await redis.pexpire(slot_of(where), 1)

    async def expired() -> bool:
        return (await board.list(where))[0].state is PullState.INTERRUPTED

    await eventually(expired, 5)
    assert await board.beat(where, record) is BeatResult.LOST
    await board.finish(where, record.ended(PullState.SUCCEEDED))
    assert (await board.list(where))[0].state is PullState.INTERRUPTED
    assert not await board.cancel(where, record.id)
    assert [await board.start(where, _record(name)) for name in "abc"] == [True, True, False]


async def test_report_renews_the_lease_and_learns_of_a_cancellation(redis: Redis, board: PullBoard):
    where, record = PullsOf(None, new_id()), _record("tiny")
    await board.start(where, record)
    await redis.pexpire(slot_of(where), 30_000)
    assert await board.beat(where, record) is BeatResult.OK
    assert await redis.pttl(slot_of(where)) > 30_000
    assert await board.cancel(where, record.id)
    assert await board.beat(where, record) is BeatResult.CANCEL


async def test_oldest_records_are_dropped(board: PullBoard):
    where = PullsOf(None, new_id())
    for number in range(30):
        record = _record(f"m{number}")
        assert await board.start(where, record)
        await board.finish(where, record.ended(PullState.CANCELLED))
    kept = [record.model for record in await board.list(where)]
    assert kept == [f"m{number}" for number in range(29, 9, -1)]


async def test_unreadable_records_are_skipped(redis: Redis, board: PullBoard):
    where = PullsOf(None, new_id())
    key = redis_keys.model_pulls(None, where.provider_id) + "records"
    for number, odd in enumerate((b"{", b"[]", b'{"id": 5}', b"null")):
        await redis.hset(key, str(number), odd)  # type: ignore[misc]  # redis-py's types cover both of its clients
    assert await board.list(where) == []


async def test_projects_and_providers_are_apart(board: PullBoard):
    provider, project = new_id(), ProjectId(new_id())
    await board.start(PullsOf(project, provider), _record("own"))
    for other in (PullsOf(None, provider), PullsOf(project, new_id())):
        assert await board.list(other) == []
    key = redis_keys.model_pulls(project, provider)
    assert key.startswith(str(project))


def slot_of(where: PullsOf) -> str:
    """Return the key of the first slot."""
    return redis_keys.model_pulls(where.project_id, where.provider_id) + "slot:1"


def _record(name: str) -> PullRecord:
    return PullRecord(new_id(), name, datetime.now(UTC))
