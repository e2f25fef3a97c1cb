"""Waits for a condition with a time limit."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def eventually(condition: Callable[[], Any], within_s: float = 20, why: str = "", every_s: float = 0.02) -> Any:
    """Return the first true value of `condition` (a function or a coroutine function). Fails after `within_s`.

    `every_s` is the pause between two polls. Use a longer one if polling slows down the work that is waited for.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"did not come true within {within_s} s: {why or inspect.getsource(condition).strip()}"
            )
        await asyncio.sleep(every_s)
