"""Calls to copies of a model are spread over them, within a limit for each."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from kairos.background_tasks import gather
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.gate.asking import ModelCalls, greedy
from kairos.llm.calls.providers import Completion, Providers
from kairos.llm.catalog.catalog import Model

COPIES = ModelCopies(tuple(Model("m", "m", f"http://127.0.0.1:{port}/v1", local=True) for port in (1, 2, 3)), 2)
REQUEST = greedy([{"role": "user", "content": "Hello"}])


class CountingProviders:
    """Answers once every copy has as many calls as it may have."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.all_busy = asyncio.Event()

    async def chat(self, model: Model, request: Any, timeout_s: float) -> Completion:
        self.running[model.base_url] += 1
        self.most[model.base_url] = max(self.most[model.base_url], self.running[model.base_url])
        if self.running.total() == COPIES.at_once:
            self.all_busy.set()
        async with asyncio.timeout(10):
            await self.all_busy.wait()
        self.running[model.base_url] -= 1
        return Completion("", "stop", None, first_token_s=0.0, duration_s=0.0, model="m")


async def test_every_copy_gets_as_many_calls_as_it_may_have():
    providers = CountingProviders()
    calls = ModelCalls(cast("Providers", providers), COPIES)
    await gather([calls.ask(REQUEST) for _ in range(20)], 20)
    assert set(providers.most.values()) == {2}
    assert len(providers.most) == 3


async def test_failed_call_frees_its_place():
    class Failing:
        async def chat(self, *_: Any, **__: Any) -> Completion:
            raise RuntimeError("failed")

    calls = ModelCalls(cast("Providers", Failing()), COPIES)
    for _ in range(COPIES.at_once + 1):
        with pytest.raises(RuntimeError):
            async with asyncio.timeout(5):
                await calls.ask(REQUEST)
