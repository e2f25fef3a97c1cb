"""Failed background tasks are restarted; foreign code runs in a thread and can neither block nor end the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from kairos import background_tasks
from kairos.background_tasks import MOST_FAILURES, end, keep_running, run_in_thread


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
