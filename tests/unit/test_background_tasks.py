"""Foreign code runs in a thread and can neither block nor end the event loop."""

from __future__ import annotations

import threading
import time

import pytest

from kairos.background_tasks import run_in_thread


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
