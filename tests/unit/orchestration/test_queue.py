"""The parts of the queue that need no Redis: scores, pages, key names and error messages."""

import math
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions as faults

from kairos import redis_keys
from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.queue import queue as queue_module
from kairos.orchestration.queue.queue import (
    CHUNK,
    HIGHEST_PRIORITY,
    ORDERS,
    PAUSES_S,
    FairQueue,
    QueueEntry,
    _pages,
)
from kairos.redis_client import connect, redis_errors
from kairos.tenancy import ProjectId, TaskId

priorities = st.integers(-HIGHEST_PRIORITY, HIGHEST_PRIORITY)
orders = st.integers(0, ORDERS - 1)


def score(priority: int, order: float) -> float:
    return float(QueueEntry(TaskId(uuid4()), order, priority).arguments()[1])


@given(priorities, orders, priorities, orders)
def test_score_sorts_by_priority_and_then_by_order(p1: int, o1: int, p2: int, o2: int):
    """Redis stores scores as doubles, so different pairs must not have the same double."""
    assert (score(p1, o1) < score(p2, o2)) == ((-p1, o1) < (-p2, o2))


@given(st.integers(), st.integers())
def test_any_stored_priority_gives_a_finite_score(priority: int, order: int):
    assert math.isfinite(score(priority, order))


@pytest.mark.parametrize("amount", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_pages_contain_every_value_once_within_their_limit(amount: int):
    pages = list(_pages(iter(range(amount))))
    assert [value for page in pages for value in page] == list(range(amount))
    assert all(0 < len(page) <= CHUNK for page in pages)


@pytest.mark.parametrize("lane", Lane)
def test_all_keys_of_a_lane_share_its_hash_tag(lane: Lane):
    stem = redis_keys.queue_lane(lane)
    assert stem.count("{") == 1
    assert f"{{{lane}}}" in stem
    for name in (redis_keys.queue_bell(lane), redis_keys.queue_projects(lane), redis_keys.queue_generation(lane)):
        assert name.startswith(stem)


@pytest.mark.parametrize(
    "error",
    [
        faults.ConnectionError("Connection reset"),
        faults.BusyLoadingError("loading"),
        faults.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        faults.ReadOnlyError("You can't write against a read only replica."),
        faults.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        TimeoutError(),
        ConnectionResetError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unavailable_server_is_named_without_its_password(error: Exception):
    with pytest.raises(EngineUnavailable) as caught, redis_errors(connect("redis://:secret@example.org:7/0")):
        raise error
    assert "Redis at example.org:7" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_programming_error_is_not_reported_as_an_outage():
    with pytest.raises(faults.ResponseError), redis_errors(connect("redis://localhost")):
        raise faults.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_client_does_not_retry_commands():
    """If redis-py repeated a take, further tasks would be taken."""
    retry = connect("redis://localhost").connection_pool.connection_kwargs["retry"]
    assert retry.get_retries() == 0


@pytest.mark.parametrize(("call", "sent"), [("take", 1), ("set_cap", 1 + len(PAUSES_S))])
async def test_only_idempotent_calls_are_repeated(monkeypatch: pytest.MonkeyPatch, call: str, sent: int):
    """The reply to a take may be lost after tasks were taken; repeating it would take other tasks too."""
    monkeypatch.setattr(queue_module, "PAUSES_S", (0,) * len(PAUSES_S))
    queue, script = FairQueue(connect("redis://localhost")), AsyncMock(side_effect=faults.ConnectionError("reset"))
    monkeypatch.setattr(queue, "_script", script)
    with pytest.raises(EngineUnavailable):
        await (queue.take(Lane.BATCH) if call == "take" else queue.set_cap(Lane.BATCH, ProjectId(uuid4()), 1))
    assert script.await_count == sent
