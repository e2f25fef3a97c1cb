"""Adapters of the embedded model: a second llama.cpp, with the same weights and every adapter that is in service.

The base's own server is never started again for an adapter. A changed set gets a new process beside the old one, which
ends once it has answered whom it was answering: nobody's answer is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kairos.background_tasks import end
from kairos.embedded.engine import SupervisedEngine
from kairos.embedded.folder import DataFolder
from kairos.embedded.model import ModelEngine
from kairos.errors import KairosError

log = logging.getLogger(__name__)

NAMES = tuple(f"adapters-{letter}" for letter in "abcdefgh")
"""Each with a port of its own. Two are in use at a change, more only where answers take longer than it does to change
again."""
ADDRESS_GRACE_S = 2.0
"""For whoever was given the old address a moment ago."""
POLL_S = 0.5
RETIRE_LIMIT_S = 600.0


class TooManyChanges(KairosError):
    """The adapters of the embedded model changed {times} times while it still answers with the first ones. They change
    again once an answer has ended."""

    status, code, exit_code = 503, "too_many_adapter_changes", 3
    retryable = True


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Where a model is called."""

    url: str
    """OpenAI-compatible, with its /v1."""
    api_key: str


class AdapterModels:
    """The process with the adapters, and those that it follows. `changed` is called when a process is another one."""

    def __init__(self, folder: DataFolder, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._serving: SupervisedEngine | None = None
        self._files: tuple[Path, ...] = ()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._engines: dict[str, SupervisedEngine] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    @property
    def engines(self) -> dict[str, SupervisedEngine]:
        """Those that run, by name."""
        return dict(self._engines)

    async def serve(self, files: Sequence[Path]) -> ModelAddress | None:
        """Load exactly these, in this order; None for none. The same again changes nothing.

        Raises `EngineNotStarted` where llama.cpp does not take them, and serves what it did before.
        """
        async with self._turn:
            if tuple(files) != self._files:
                await self._change(tuple(files))
            engine = self._serving
        if engine is None:
            return None
        assert isinstance(engine.engine, ModelEngine)
        return ModelAddress(engine.engine.url(engine.port), engine.engine.api_key)

    async def stop(self) -> None:
        """All of them, at once."""
        await end(*self._retiring, *self._watches.values())
        await asyncio.gather(*(engine.stop() for engine in self._engines.values()))
        self._engines.clear()
        self._watches.clear()
        self._serving, self._files = None, ()

    async def _change(self, files: tuple[Path, ...]) -> None:
        old, new = self._serving, await self._started(files) if files else None
        self._serving, self._files = new, files
        if old:
            task = asyncio.create_task(self._retire(old), name=f"retiring {old.engine.name}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _started(self, files: tuple[Path, ...]) -> SupervisedEngine:
        name = next((name for name in NAMES if name not in self._engines), None)
        if name is None:
            raise TooManyChanges(times=len(NAMES))
        engine = SupervisedEngine(ModelEngine(self._folder, name, files), self._folder, self._changed)
        self._engines[name] = engine
        try:
            await engine.start()
        except BaseException:
            await engine.stop()
            del self._engines[name]
            raise
        self._watches[name] = asyncio.create_task(engine.watch(), name=f"watch of {name}")
        return engine

    async def _retire(self, engine: SupervisedEngine) -> None:
        """Once it answers nobody any more, or after ten minutes."""
        assert isinstance(engine.engine, ModelEngine)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(RETIRE_LIMIT_S):
                await asyncio.sleep(ADDRESS_GRACE_S)
                while not await engine.engine.idle(engine.port):  # llama.cpp tells when it is asked
                    await asyncio.sleep(POLL_S)
        await end(self._watches.pop(engine.engine.name))
        await engine.stop()
        del self._engines[engine.engine.name]
        self._changed()
