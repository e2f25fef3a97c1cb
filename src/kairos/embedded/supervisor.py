"""Starts, supervises and stops the embedded engines of a data folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kairos.embedded.adapter_models import AdapterModels, ModelAddress
from kairos.embedded.engine import EngineState, SupervisedEngine
from kairos.embedded.folder import DataFolder
from kairos.embedded.model import ModelEngine
from kairos.embedded.postgres import PostgresEngine
from kairos.embedded.valkey import ValkeyEngine
from kairos.errors import KairosError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of the engines; empty or None for engines that were not requested or are not available."""

    database_url: str
    """URL for the app role."""
    migration_url: str
    """URL for the owner role."""
    system_url: str
    redis_url: str
    model_url: str | None
    """OpenAI-compatible, with /v1."""
    model_api_key: str | None
    model_weights: Path | None = None
    """The file the model was loaded from."""


class EmbeddedEngines:
    """PostgreSQL, Valkey and the small model, as child processes.

    If it gets a path instead of a `DataFolder`, it locks the folder at the start and releases it at the stop.
    """

    def __init__(
        self, data_dir: DataFolder | Path, *, postgres: bool = True, valkey: bool = True, model: bool = True
    ) -> None:
        self._folder = data_dir if isinstance(data_dir, DataFolder) else DataFolder(data_dir)
        self._takes_folder = not self._folder.taken
        self._postgres = PostgresEngine(self._folder) if postgres else None
        self._valkey = ValkeyEngine(self._folder) if valkey else None
        self._model = ModelEngine(self._folder) if model else None
        self._adapters = AdapterModels(self._folder, self._note_pids)
        self._supervised = {
            engine.name: SupervisedEngine(engine, self._folder, self._note_pids)
            for engine in (self._postgres, self._valkey, self._model)
            if engine
        }

    async def start(self) -> Addresses:
        """Start all engines and wait until they are ready. A failure of the model is only logged, as it is optional.

        Raises `DataFolderInUse`, `DataFolderUnusable`, `EngineNotInstalled`, `EngineNotStarted`; then no engine runs.
        """
        if self._takes_folder:
            self._folder.take()
        try:
            results = await asyncio.gather(
                *(engine.start() for engine in self._supervised.values()), return_exceptions=True
            )
            for name, result in zip(self._supervised, results, strict=True):
                self._accept(name, result)
        except BaseException:
            await self.stop()
            raise
        return self._addresses()

    async def watch(self) -> None:
        """Restart engines that end or fail their health checks, until cancelled."""
        await asyncio.gather(*(engine.watch() for engine in self._supervised.values()))
        await asyncio.Event().wait()  # keeps running even if there is no engine to watch

    async def stop(self) -> None:
        """Stop all engines. May be called repeatedly, and without a start."""
        await asyncio.gather(self._adapters.stop(), *(engine.stop() for engine in self._supervised.values()))
        if self._takes_folder:
            self._folder.release()

    async def serve_adapters(self, files: Sequence[Path]) -> ModelAddress | None:
        """Serve exactly these adapters of the embedded model; see `AdapterModels.serve`."""
        return await self._adapters.serve(files)

    def states(self) -> dict[str, EngineState]:
        return {name: engine.state() for name, engine in self._all.items()}

    @property
    def _all(self) -> dict[str, SupervisedEngine]:
        return self._supervised | self._adapters.engines

    def _accept(self, name: str, result: BaseException | None) -> None:
        if result is None:
            return
        if name != "model" or not isinstance(result, KairosError):
            raise result
        log.error("the embedded model could not be started, Kairos runs without it: %s", result)

    def _addresses(self) -> Addresses:
        ports = {name: engine.port for name, engine in self._supervised.items()}
        database = self._postgres.urls(ports["postgres"]) if self._postgres else None
        model = self._model if self._model and self._supervised["model"].failure is None else None
        return Addresses(
            database_url=database.app if database else "",
            migration_url=database.owner if database else "",
            system_url=database.system if database else "",
            redis_url=self._valkey.url(ports["valkey"]) if self._valkey else "",
            model_url=model.url(ports["model"]) if model else None,
            model_api_key=model.api_key if model else None,
            model_weights=model.weights if model else None,
        )

    def _note_pids(self) -> None:
        """Store the process ids for `kairos status`."""
        pids = {name: engine.pid for name, engine in self._all.items()}
        self._folder.write_engines({name: pid for name, pid in pids.items() if pid})
