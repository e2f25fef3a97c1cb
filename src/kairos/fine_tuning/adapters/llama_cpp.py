"""Adapters on the embedded llama.cpp: all in one process, selected per request."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kairos.embedded import DataFolder, EmbeddedEngines, model
from kairos.embedded.adapter_models import ModelAddress
from kairos.embedded.engine import SupervisedEngine
from kairos.embedded.model import ModelEngine
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.adapters.serving import ServedAdapter, Serving, served_name
from kairos.llm.catalog.catalog import FREE, AdapterHost, Model
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4
"""Temporary models; further ones wait."""
MOST_PROCESSES = 4
"""Of a temporary model, each with one thread: of two threads in one process, each waits for the other, which nearly
stopped on a busy machine."""
SLOTS = 4
"""Requests that such a process answers at once: 4 gave 1.2 times the tokens of 2, 8 gave 1.3 times with twice the
memory."""
SMALL_BYTES = 512 * 2**20
"""Larger weights get one process with the usual slots, as the memory of its contexts grows with the weights."""
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
    """A base and adapters that temporary llama.cpp processes have loaded."""

    plain: ModelCopies
    adapters: int

    def adapted(self, number: int, strength: float = FULL) -> ModelCopies:
        """Return the base with one adapter. A strength below 1 weakens its effect."""
        name, body = f"{self.plain.first.name}, adapter {number}", _scales(self.adapters, number, strength)
        return replace(self.plain, models=tuple(replace(one, name=name, body=body) for one in self.plain.models))


class OneOffModels:
    """Starts temporary llama.cpp processes: to choose among candidates, and for the gate if the base is the embedded
    model or an adapter's host is away."""

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
                processes, slots = await asyncio.to_thread(processes_for, weights)
                async with AsyncExitStack() as stack:
                    copies = [
                        await stack.enter_async_context(self._started(f"{name}-{number}", weights, adapters, slots))
                        for number in range(1, processes + 1)
                    ]
                    yield LoadedModels(ModelCopies(tuple(copies), slots), len(adapters))
            finally:
                self._names.append(name)

    @asynccontextmanager
    async def base(self, base: Model) -> AsyncIterator[ModelCopies]:
        """Yield temporary copies of the embedded model, or any other base as it is served."""
        if base.adapter_host is not AdapterHost.EMBEDDED or base.weights is None:
            yield ModelCopies.only(base)
            return
        async with self(Path(base.weights), []) as loaded:
            yield loaded.plain

    @asynccontextmanager
    async def _started(self, name: str, weights: Path, adapters: Sequence[Path], slots: int) -> AsyncIterator[Model]:
        folder = DataFolder(self._folder)
        folder.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = SupervisedEngine(ModelEngine(folder, name, adapters, weights, slots), folder, lambda: None)
        try:
            await engine.start()
            assert isinstance(engine.engine, ModelEngine)
            yield Model(
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
        finally:
            await engine.stop()


def processes_for(weights: Path) -> tuple[int, int]:
    """Return the number of processes for these weights, and the slots of each."""
    if not weights.is_file() or weights.stat().st_size > SMALL_BYTES:
        return 1, model.SLOTS
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_PROCESSES, cores), SLOTS


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
