"""Adapters on llama.cpp under our own supervisor: all in one process, chosen request by request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kairos.embedded import DataFolder, EmbeddedEngines
from kairos.embedded.adapter_models import ModelAddress
from kairos.embedded.engine import SupervisedEngine
from kairos.embedded.model import ModelEngine
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.serving import ServedAdapter, Serving, served_name
from kairos.llm.catalog.catalog import FREE, Model
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

GATE = "gate-model"
FULL, NONE = 1.0, 0.0


class EmbeddedAdapters:
    """The adapters of the embedded model, of all projects."""

    def __init__(self, engines: EmbeddedEngines) -> None:
        self._engines = engines
        self._refused: dict[str, str] = {}
        """By hash: what llama.cpp did not load, and why. It is not tried again."""

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Those that llama.cpp takes; one that it does not is found and left out."""
        wanted = sorted((one for one in adapters if one.sha256 not in self._refused), key=lambda one: one.id)
        served = await self._loaded(wanted)
        problems = [Serving(one, None, self._refused[one.sha256]) for one in adapters if one.sha256 in self._refused]
        return served + problems

    async def promote(self, adapter: ServedAdapter) -> None:
        """Nothing: no other tool asks here."""

    async def remove(self, adapter: ServedAdapter) -> None:
        """Nothing: what is not served is not loaded."""

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Nothing: no other tool asks here."""

    async def _loaded(self, wanted: list[ServedAdapter]) -> list[Serving]:
        try:
            address = await self._engines.serve_adapters([one.file for one in wanted])
        except KairosError as error:
            log.warning("the embedded model does not take its %d adapters together: %s", len(wanted), error)
            if len(wanted) == 1:
                self._refused[wanted[0].sha256] = f"llama.cpp does not load it: {error}"
                return []
            return await self._one_by_one(wanted)
        return [Serving(one, _adapted(one, address, wanted)) for one in wanted] if address else []

    async def _one_by_one(self, wanted: list[ServedAdapter]) -> list[Serving]:
        good: list[ServedAdapter] = []
        for one in wanted:
            if await self._loaded([one]):
                good.append(one)
        if len(good) == len(wanted):  # each alone, and not together: memory, most likely
            newest = good.pop()
            return [*await self._loaded(good), Serving(newest, None, "there is no room for one more adapter")]
        return await self._loaded(good)


class OneOffModels:
    """A llama.cpp for the gate alone, where the host that will serve an adapter is away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def __call__(self, weights: Path, adapters: Sequence[Path]) -> AsyncIterator[tuple[Model, Model]]:
        """The plain base and the first adapter on it. Raises `EngineNotStarted`, `EngineNotInstalled`."""
        folder = DataFolder(self._folder)
        folder.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = SupervisedEngine(ModelEngine(folder, GATE, adapters, weights), folder, lambda: None)
        try:
            await engine.start()
            assert isinstance(engine.engine, ModelEngine)
            plain = Model(
                name=f"{weights.name} on llama.cpp",
                upstream=GATE,
                base_url=engine.engine.url(engine.port),
                api_key=engine.engine.api_key,
                local=True,
                price=FREE,
                body=_scales(len(adapters), None),
            )
            yield plain, replace(plain, name=f"{plain.name}, adapted", body=_scales(len(adapters), 0))
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


def _scales(loaded: int, chosen: int | None) -> dict[str, Any]:
    """Every loaded adapter is named: what is left out counts as it did in the request before, whose cached prompt is
    taken over too."""
    return {"lora": [{"id": number, "scale": FULL if number == chosen else NONE} for number in range(loaded)]}
