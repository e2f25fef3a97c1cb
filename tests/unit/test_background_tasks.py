"""Code of others in a thread of its own: whatever it does, the loop goes on and can end."""

from __future__ import annotations

import threading
import time

import pytest

from kairos.background_tasks import run_in_thread


async def test_its_value_and_its_error_come_back():
    assert await run_in_thread(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0, 5)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_what_would_end_the_loop_is_an_ordinary_error(error: BaseException):
    def ends() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        await run_in_thread(ends, 5)


async def test_one_that_hangs_is_given_up_on():
    go = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await run_in_thread(go.wait, 0.05)
    assert time.monotonic() - began < 5
    go.set()
