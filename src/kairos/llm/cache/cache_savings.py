"""Counts what the response cache saved. Counters are sent to Redis in batches, so that a hit does not wait for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from kairos.errors import EngineUnavailable
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_store import ResponseStore
from kairos.tenancy import ProjectId

SEND_INTERVAL_S = 0.2
"""Interval between two batches."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Contents of a project's cache, and its total savings."""

    entries: int
    bytes: int
    hits: int
    misses: int
    saved_input_tokens: int
    saved_output_tokens: int
    saved_usd: float
    saved_s: float
    epoch: int


class Savings:
    """The counters of all projects. Counts that cannot be sent are sent with the next batch."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._unsent: dict[ProjectId, Counter[str]] = {}
        self._sender: asyncio.Task[None] | None = None

    def hit(self, project_id: ProjectId, answer: CachedAnswer) -> None:
        """Count a cached answer: the whole cost of the original call is saved."""
        usage = answer.usage
        self._add(
            project_id,
            hits=1,
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            nano_usd=round((answer.cost_usd or 0) * 1e9),
            ms=round(answer.duration_s * 1e3),
        )

    def miss(self, project_id: ProjectId) -> None:
        self._add(project_id, misses=1)

    async def stats(self, project_id: ProjectId) -> CacheStats:
        """Return the project's statistics. Raises `EngineUnavailable`."""
        await self.send()
        entries, amount, counts = await self._store.stats(project_id)
        return CacheStats(
            entries=entries,
            bytes=amount,
            hits=counts.get("hits", 0),
            misses=counts.get("misses", 0),
            saved_input_tokens=counts.get("input_tokens", 0),
            saved_output_tokens=counts.get("output_tokens", 0),
            saved_usd=counts.get("nano_usd", 0) / 1e9,
            saved_s=counts.get("ms", 0) / 1e3,
            epoch=counts.get("epoch", 0),
        )

    async def send(self) -> None:
        """Send the counts to Redis."""
        while self._unsent:
            project_id, amounts = self._unsent.popitem()
            try:
                await self._store.count(project_id, amounts)
            except EngineUnavailable:
                return self._put_back(project_id, amounts)
            except BaseException:
                self._put_back(project_id, amounts)
                raise

    def discard(self, project_id: ProjectId) -> None:
        """Discard the unsent counts of an erased project."""
        self._unsent.pop(project_id, None)

    async def aclose(self) -> None:
        if self._sender:
            self._sender.cancel()
            await asyncio.wait([self._sender])
        await self.send()

    def _add(self, project_id: ProjectId, **amounts: int) -> None:
        self._put_back(project_id, Counter(amounts))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_later())

    def _put_back(self, project_id: ProjectId, amounts: Counter[str]) -> None:
        self._unsent.setdefault(project_id, Counter()).update(amounts)

    async def _send_later(self) -> None:
        await asyncio.sleep(SEND_INTERVAL_S)
        await self.send()
