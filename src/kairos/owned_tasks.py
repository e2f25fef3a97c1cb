"""Background work that somebody owns: run together, and really ended.

A library may swallow a cancel (asyncio.wait_for does before Python 3.12, when what it waits for is just done),
so whoever ends a task cancels it until it has ended. A TaskGroup cancels its children once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

AGAIN_S = 0.5


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
