"""Failed background tasks are restarted; foreign code runs in a thread and can neither block nor end the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from kairos import background_tasks
from kairos.background_tasks import MOST_FAILURES, NO_JITTER, end, every, keep_running, run_in_thread
from kairos.errors import EngineUnavailable


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_tasks, "RESTART_FIRST_S", 0.001)


async def test_failed_background_task_is_logged_and_restarted(short_pauses: None, caplog: pytest.LogCaptureFixture):
    runs = 0
    recovered = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs <= MOST_FAILURES:
            raise ZeroDivisionError
        recovered.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(keep_running("the sweep", work))
        await asyncio.wait_for(recovered.wait(), 10)
    assert [record.exc_info is not None for record in caplog.records] == [True] * MOST_FAILURES
    assert "the background task the sweep failed" in caplog.text
    await end(task)
    assert task.cancelled()


async def test_background_task_that_keeps_failing_raises(short_pauses: None):
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(keep_running("the sweep", work), 10)
    assert runs == MOST_FAILURES + 1


async def test_failures_long_ago_do_not_count(short_pauses: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background_tasks, "FAILURES_WITHIN_S", 0.0)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs <= 3 * MOST_FAILURES:
            raise ZeroDivisionError

    await asyncio.wait_for(keep_running("the sweep", work), 10)
    assert runs == 3 * MOST_FAILURES + 1


OUTAGE = EngineUnavailable(engine="PostgreSQL", address="its socket", reason="it was stopped", remedy="Start it")


async def test_periodic_work_is_done_at_once_and_again_after_each_interval():
    rounds: asyncio.Queue[float] = asyncio.Queue()
    began = time.monotonic()

    async def work() -> None:
        rounds.put_nowait(time.monotonic() - began)

    task = asyncio.create_task(every(0.2, work, jitter=NO_JITTER))
    times = [await asyncio.wait_for(rounds.get(), 10) for _ in range(3)]
    await end(task)
    assert times[0] < 0.2
    assert times[1] >= 0.2
    assert times[2] >= 0.4


async def test_periodic_work_may_start_with_a_pause():
    worked = asyncio.Event()
    began = time.monotonic()

    async def work() -> None:
        worked.set()

    task = asyncio.create_task(every(lambda: 0.2, work, jitter=NO_JITTER, at_once=False))
    await asyncio.wait_for(worked.wait(), 10)
    await end(task)
    assert time.monotonic() - began >= 0.2


async def test_interval_varies_within_the_jitter(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[float, float]] = []
    done = asyncio.Event()

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.0

    async def work() -> None:
        if len(asked) > 2:
            done.set()

    monkeypatch.setattr(background_tasks.random, "uniform", uniform)
    task = asyncio.create_task(every(60, work, jitter=(0.5, 1.5)))
    await asyncio.wait_for(done.wait(), 10)
    await end(task)
    assert set(asked) == {(0.5, 1.5)}


async def test_outage_is_logged_in_one_line_and_the_work_is_repeated(caplog: pytest.LogCaptureFixture):
    rounds = 0
    recovered = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise OUTAGE
        recovered.set()

    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(every(0.01, work))
        await asyncio.wait_for(recovered.wait(), 10)
    await end(task)
    (record,) = caplog.records
    assert "it was stopped" in record.getMessage()
    assert record.exc_info is None


async def test_outage_is_passed_to_its_handler():
    handled: asyncio.Queue[EngineUnavailable] = asyncio.Queue()

    async def work() -> None:
        raise OUTAGE

    task = asyncio.create_task(every(0.01, work, handled.put_nowait))
    assert await asyncio.wait_for(handled.get(), 10) is OUTAGE
    await end(task)


async def test_other_error_ends_periodic_work():
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(every(0.01, work), 10)


async def test_wake_ends_the_pause():
    wake = asyncio.Event()
    rounds: asyncio.Queue[None] = asyncio.Queue()

    async def work() -> None:
        rounds.put_nowait(None)

    task = asyncio.create_task(every(600, work, wake=wake))
    await asyncio.wait_for(rounds.get(), 10)
    wake.set()
    await asyncio.wait_for(rounds.get(), 10)
    await end(task)


async def test_work_woken_constantly_pauses_during_an_outage(monkeypatch: pytest.MonkeyPatch):
    """Failed calls wake the exchange of breakers; without the pause, an outage would become a busy loop."""
    wake = asyncio.Event()
    rounds: asyncio.Queue[float] = asyncio.Queue()
    monkeypatch.setattr(background_tasks, "OUTAGE_PAUSE_S", 0.2)

    async def work() -> None:
        rounds.put_nowait(time.monotonic())
        wake.set()
        raise OUTAGE

    task = asyncio.create_task(every(600, work, lambda _: None, wake=wake))
    first, second = [await asyncio.wait_for(rounds.get(), 10) for _ in range(2)]
    await end(task)
    assert second - first >= 0.2


async def test_periodic_work_stops_if_a_library_swallows_the_cancellation():
    working = asyncio.Event()

    async def work() -> None:
        working.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return

    task = asyncio.create_task(every(600, work))
    await asyncio.wait_for(working.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_value_and_error_of_the_thread_are_returned():
    assert await run_in_thread(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0, 5)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_exception_that_would_end_the_loop_becomes_a_runtime_error(error: BaseException):
    def ends() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        await run_in_thread(ends, 5)


async def test_hanging_thread_times_out():
    go = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await run_in_thread(go.wait, 0.05)
    assert time.monotonic() - began < 5
    go.set()
