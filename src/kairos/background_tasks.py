"""Run background tasks together or periodically, restart those that fail, and cancel them reliably.

A library may swallow a cancellation (before Python 3.12, asyncio.wait_for does if the awaited future has just
finished), so `end` cancels a task repeatedly until it has ended. A TaskGroup cancels its children only once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from kairos.errors import EngineUnavailable

log = logging.getLogger(__name__)

AGAIN_S = 0.5
RESTART_FIRST_S, RESTART_MOST_S = 0.5, 30.0
MOST_FAILURES, FAILURES_WITHIN_S = 5, 300.0
"""A background task that fails more often than this is not restarted."""

JITTER = (0.8, 1.2)
NO_JITTER = (1.0, 1.0)
OUTAGE_PAUSE_S = 1.0
"""Longest time after an outage in which periodic work cannot be woken."""

Value = TypeVar("Value")
BackgroundTask = Callable[[], Coroutine[Any, Any, None]]
"""Runs until the daemon stops."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks repeatedly until all have ended. Their exceptions are not raised."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_S)


def raise_if_cancelled() -> None:
    """Raise `CancelledError` if the current task was cancelled and a library swallowed the cancellation.

    Loops that call such a library would otherwise run on after their cancellation.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, fails, or this is cancelled; then cancel the others. Raises the first error."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(*tasks)


async def gather(works: Sequence[Coroutine[Any, Any, Value]], at_once: int) -> list[Value]:
    """Run all, at most `at_once` concurrently, and return their results in order.

    The first error cancels the others, and is raised once they have ended.
    """
    limit = asyncio.Semaphore(at_once)

    async def one(work: Coroutine[Any, Any, Value]) -> Value:
        async with limit:
            return await work

    tasks = [asyncio.create_task(one(work)) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(*tasks)
        for work in works:
            work.close()  # it never ran if its task was cancelled before


async def keep_running(name: str, work: BackgroundTask) -> None:
    """Run a background task; log an unexpected error and restart it, so that one error does not end the daemon.

    The pauses double up to `RESTART_MOST_S`, with jitter. Raises the error of the last of more than `MOST_FAILURES`
    failures within `FAILURES_WITHIN_S`. Returns if the task does.
    """
    failures: deque[float] = deque()
    while True:
        try:
            return await work()
        except Exception:
            now = time.monotonic()
            failures.append(now)
            while failures[0] < now - FAILURES_WITHIN_S:
                failures.popleft()
            if len(failures) > MOST_FAILURES:
                raise
            pause_s = min(RESTART_FIRST_S * 2 ** (len(failures) - 1), RESTART_MOST_S) * random.uniform(0.5, 1)
            log.exception("the background task %s failed and is restarted in %.1f s", name, pause_s)
        await asyncio.sleep(pause_s)


async def every(
    seconds: float | Callable[[], float],
    work: Callable[[], Awaitable[object]],
    on_outage: Callable[[EngineUnavailable], object] | None = None,
    *,
    jitter: tuple[float, float] = JITTER,
    at_once: bool = True,
    wake: asyncio.Event | None = None,
) -> None:
    """Do the work periodically until cancelled. An unavailable engine is logged, or passed to `on_outage`.

    `seconds` is read before each pause, which is multiplied by a random factor of `jitter`. `wake` ends a pause early;
    it is cleared before the work. `at_once`: do the work first, then pause.
    """
    wake = wake or asyncio.Event()
    outage = False
    while True:
        if not at_once:
            await _pause(seconds() if callable(seconds) else seconds, jitter, wake, outage)
        at_once = False
        wake.clear()
        try:
            await work()
            outage = False
        except EngineUnavailable as error:
            outage = True
            (on_outage or _log_outage)(error)
        raise_if_cancelled()


def _log_outage(error: EngineUnavailable) -> None:
    log.warning("periodic work is postponed: %s", error)


async def _pause(seconds: float, jitter: tuple[float, float], wake: asyncio.Event, outage: bool) -> None:
    """Wait until the interval has passed or the work is woken, after an outage not at once."""
    pause_s = seconds * random.uniform(*jitter)
    deaf_s = min(pause_s, OUTAGE_PAUSE_S) if outage else 0.0
    if deaf_s:
        await asyncio.sleep(deaf_s)
    with suppress(TimeoutError):
        async with asyncio.timeout(pause_s - deaf_s):  # not wait_for, which can lose a cancellation in Python 3.11
            await wake.wait()


async def run_in_thread(work: Callable[[], Value], limit_s: float) -> Value:
    """Run third-party code that may hang in a daemon thread of its own, and return its result.

    The thread blocks neither the thread pool nor the end of the program. Raises `TimeoutError` and the errors of
    `work` (`RuntimeError` in place of `SystemExit` and other `BaseException`s).
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Value] = loop.create_future()

    def deliver(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def run() -> None:
        try:
            result: tuple[Callable[[Any], None], Any] = (future.set_result, work())
        except Exception as error:
            result = (future.set_exception, error)
        except BaseException as error:  # set on a future, it would end the loop
            result = (future.set_exception, RuntimeError(f"{type(error).__name__}: {error}"))
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, *result)

    threading.Thread(target=run, name="third-party code", daemon=True).start()
    async with asyncio.timeout(limit_s):
        return await future
