"""Adapters on the embedded llama.cpp: all in one process, selected per request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kairos.embedded import DataFolder, EmbeddedEngines
from kairos.embedded.adapter_models import ModelAddress
from kairos.embedded.engine import SupervisedEngine
from kairos.embedded.model import ModelEngine
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.serving import ServedAdapter, Serving, served_name
from kairos.llm.catalog.catalog import FREE, AdapterHost, Model
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""Temporary processes; further ones wait."""
FULL, NONE = 1.0, 0.0


class EmbeddedAdapters:
    """The host for adapters of the embedded model, of all projects."""

    def __init__(self, engines: EmbeddedEngines) -> None:
        self._engines = engines
        self._refused: dict[str, str] = {}
        """Hashes of adapters that llama.cpp failed to load, with the reason. They are not retried."""

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve these adapters. One that llama.cpp cannot load is identified and left out."""
        wanted = sorted((one for one in adapters if one.sha256 not in self._refused), key=lambda one: one.id)
        served = await self._loaded(wanted)
        problems = [Serving(one, None, self._refused[one.sha256]) for one in adapters if one.sha256 in self._refused]
        return served + problems

    async def promote(self, adapter: ServedAdapter) -> None:
        """Do nothing, as other tools do not use the embedded model."""

    async def remove(self, adapter: ServedAdapter) -> None:
        """Do nothing, as adapters that are not served are not loaded."""

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Do nothing, as other tools do not use the embedded model."""

    async def _loaded(self, wanted: list[ServedAdapter]) -> list[Serving]:
        try:
            address = await self._engines.serve_adapters([one.file for one in wanted])
        except KairosError as error:
            log.warning("the embedded model cannot load its %d adapters together: %s", len(wanted), error)
            if len(wanted) == 1:
                self._refused[wanted[0].sha256] = f"llama.cpp cannot load it: {error}"
                return []
            return await self._one_by_one(wanted)
        return [Serving(one, _adapted(one, address, wanted)) for one in wanted] if address else []

    async def _one_by_one(self, wanted: list[ServedAdapter]) -> list[Serving]:
        good: list[ServedAdapter] = []
        for one in wanted:
            if await self._loaded([one]):
                good.append(one)
        if len(good) == len(wanted):  # each loads alone but not together: probably out of memory
            newest = good.pop()
            return [*await self._loaded(good), Serving(newest, None, "there is not enough memory for another adapter")]
        return await self._loaded(good)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """A base and adapters that one temporary llama.cpp has loaded."""

    plain: Model
    adapters: int

    def adapted(self, number: int, strength: float = FULL) -> Model:
        """Return the base with one adapter. A strength below 1 weakens its effect."""
        name = f"{self.plain.name}, adapter {number}"
        return replace(self.plain, name=name, body=_scales(self.adapters, number, strength))


class OneOffModels:
    """Starts a temporary llama.cpp: for a choice among candidates, or for the gate if an adapter's host is away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A start ends what an earlier daemon left under the same name, so each running one needs its own.
        self._names = [f"gate-model-{number}" for number in range(1, MOST_AT_ONCE + 1)]
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    @asynccontextmanager
    async def __call__(self, weights: Path, adapters: Sequence[Path]) -> AsyncIterator[LoadedModels]:
        """Yield the base with these adapters. Raises `EngineNotStarted`, `EngineNotInstalled`."""
        async with self._slots:
            name = self._names.pop()
            try:
                async with self._started(name, weights, adapters) as loaded:
                    yield loaded
            finally:
                self._names.append(name)

    @asynccontextmanager
    async def _started(self, name: str, weights: Path, adapters: Sequence[Path]) -> AsyncIterator[LoadedModels]:
        folder = DataFolder(self._folder)
        folder.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = SupervisedEngine(ModelEngine(folder, name, adapters, weights), folder, lambda: None)
        try:
            await engine.start()
            assert isinstance(engine.engine, ModelEngine)
            plain = Model(
                name=f"{weights.name} on llama.cpp",
                upstream=name,
                base_url=engine.engine.url(engine.port),
                api_key=engine.engine.api_key,
                local=True,
                price=FREE,
                weights=str(weights),
                adapter_host=AdapterHost.EMBEDDED,
                body=_scales(len(adapters), None),
            )
            yield LoadedModels(plain, len(adapters))
        finally:
            await engine.stop()


def _adapted(adapter: ServedAdapter, address: ModelAddress, loaded: Sequence[ServedAdapter]) -> Model:
    return replace(
        adapter.base,
        name=served_name(adapter.base.name, adapter.project_id, adapter.version),
        base_url=address.url,
        api_key=address.api_key,
        project_id=adapter.project_id,
        base=adapter.base.name,
        weights=None,
        adapter_host=None,
        body=_scales(len(loaded), loaded.index(adapter)),
    )


def _scales(loaded: int, chosen: int | None, strength: float = FULL) -> dict[str, Any]:
    """Return the scale of every loaded adapter.

    An adapter left out would keep the scale of the previous request, and its cached prompt.
    """
    return {"lora": [{"id": number, "scale": strength if number == chosen else NONE} for number in range(loaded)]}
