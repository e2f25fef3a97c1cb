"""The embedded engines together: started at once, watched, stopped, under the process that has the data folder."""

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
    """Where the engines are. What was not asked for, or is not there, is empty or None."""

    database_url: str
    """For the app role."""
    migration_url: str
    """For the owner role."""
    system_url: str
    redis_url: str
    model_url: str | None
    """OpenAI-compatible, with its /v1."""
    model_api_key: str | None
    model_weights: Path | None = None
    """The file the model was loaded from."""


class EmbeddedEngines:
    """PostgreSQL, Valkey and the small model, as children of this process.

    Given a path instead of a folder, it takes the folder's lock at the start and gives it back at the stop.
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
        """All engines are ready when it returns. Without the model Kairos can work, so the model's failure is a state.

        Raises `DataFolderInUse`, `DataFolderUnusable`, `EngineNotInstalled`, `EngineNotStarted`; then nothing runs.
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
        """Until cancelled: an engine that dies, or three times gives no answer, is started again on the same port."""
        await asyncio.gather(*(engine.watch() for engine in self._supervised.values()))
        await asyncio.Event().wait()  # all failed at the start: nothing is left to watch, and no reason to end

    async def stop(self) -> None:
        """Ask every engine to end; what does not is made to. It may be called twice, or without a start."""
        await asyncio.gather(self._adapters.stop(), *(engine.stop() for engine in self._supervised.values()))
        if self._takes_folder:
            self._folder.release()

    async def serve_adapters(self, files: Sequence[Path]) -> ModelAddress | None:
        """Load these adapters of the embedded model, and no others. Raises `EngineNotStarted`, as `AdapterModels`."""
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
        log.error("Kairos runs without its embedded model: %s", result)

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
        """For `kairos status`, which is another process."""
        pids = {name: engine.pid for name, engine in self._all.items()}
        self._folder.write_engines({name: pid for name, pid in pids.items() if pid})
