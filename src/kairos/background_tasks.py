"""Background work that somebody owns: run together, and really ended.

A library may swallow a cancel (asyncio.wait_for does before Python 3.12, when what it waits for is just done),
so whoever ends a task cancels it until it has ended. A TaskGroup cancels its children once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

AGAIN_S = 0.5

Value = TypeVar("Value")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these until all have ended. What they raised is left in them."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_S)


def heed_cancel() -> None:
    """Raises `CancelledError` where the running task was asked to end and a library swallowed it.

    For loops that call such a library and would otherwise wait on for what nobody wants any more.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends or fails, or this is cancelled; then end the others. Raises what it failed with."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(*tasks)


async def in_own_thread(work: Callable[[], Value], limit_s: float) -> Value:
    """Code of others that may hang: in a daemon thread, so that neither the pool's users nor the program's end wait
    for it. Raises what it raises (`RuntimeError` for `SystemExit` and its like), and `TimeoutError`.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Value] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not outcome.done():
            settle(value)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = (outcome.set_result, work())
        except Exception as error:
            told = (outcome.set_exception, error)
        except BaseException as error:  # in a future it would end the loop
            told = (outcome.set_exception, RuntimeError(f"{type(error).__name__}: {error}"))
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, name="code of others", daemon=True).start()
    async with asyncio.timeout(limit_s):
        return await outcome
