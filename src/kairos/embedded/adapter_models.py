"""Serves adapters of the embedded model: a second llama.cpp, with the same weights and all adapters in service.

The base model's server is not restarted for adapters. A changed set of adapters gets a new process; the old one ends
after its running requests, so that no answer is cut.
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
"""Names of the processes, each with a port of its own. Two are in use during a change, more if another change comes
before the old process has finished its requests."""
ADDRESS_GRACE_S = 2.0
"""Grace period for callers that received the old address just before the change."""
POLL_S = 0.5
RETIRE_LIMIT_S = 600.0


class TooManyChanges(KairosError):
    """The adapters of the embedded model changed {times} times while requests with the first ones are still running.
    They
    can change again when one of these requests has ended."""

    status, code, exit_code = 503, "too_many_adapter_changes", 3
    retryable = True


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """The address of a model's server."""

    url: str
    """OpenAI-compatible, with /v1."""
    api_key: str


class AdapterModels:
    """Manages the process with the adapters, and its predecessors. `changed` is called when the processes change."""

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
        """The running engines, by name."""
        return dict(self._engines)

    async def serve(self, files: Sequence[Path]) -> ModelAddress | None:
        """Serve exactly these adapters, in this order. Returns None if there are none. Repeating a call has no effect.

        Raises `EngineNotStarted` if llama.cpp does not accept them; the previous ones are then still served.
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
        """Stop all processes."""
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
        """Stop an engine after its running requests, or after `RETIRE_LIMIT_S`."""
        assert isinstance(engine.engine, ModelEngine)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(RETIRE_LIMIT_S):
                await asyncio.sleep(ADDRESS_GRACE_S)
                while not await engine.engine.idle(engine.port):  # by polling /slots
                    await asyncio.sleep(POLL_S)
        await end(self._watches.pop(engine.engine.name))
        await engine.stop()
        del self._engines[engine.engine.name]
        self._changed()
