"""Supervises one engine: starts it, checks its health, restarts it on the same port after a failure, and stops it."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from kairos.embedded.folder import DataFolder
from kairos.embedded.orphans import end_orphans
from kairos.embedded.process import Command, OwnedProcess
from kairos.errors import KairosError

log = logging.getLogger(__name__)

POLL_S = 0.02
CHECK_S = 2.0
PING_LIMIT_S = 2.0
FAILURES = 3
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.2, 30.0
STEADY_S = 60.0
"""After this run time the restart backoff is reset."""
RECOVERY_LIMIT_S = 600.0
"""Time limit for an engine that reports that it is recovering or loading its data."""
REMEDY = "Fix the cause and start again; the data is unchanged"


class EngineCondition(StrEnum):
    """Condition of an embedded engine."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class EngineNotStarted(KairosError):
    """The embedded {engine} could not be started: {reason}. {remedy}.{log}

    `log` is empty or the last lines that the engine wrote.
    """

    status, code, exit_code = 500, "engine_not_started", 3


class EngineNotInstalled(KairosError):
    """The embedded {engine} is not installed: {reason}. {remedy}."""

    status, code, exit_code = 500, "engine_not_installed", 3


class NoAnswer(Exception):
    """The engine did not respond to a health check."""


class StillStarting(NoAnswer):
    """The engine responds, but is still recovering or loading its data."""


class Engine(Protocol):
    """Interface of an engine for the supervisor; implemented for PostgreSQL, Valkey and the model's server."""

    name: str
    program: str
    """Part of the command line by which its processes are recognized."""
    ready_limit_s: float

    @property
    def folder(self) -> Path:
        """Its working directory, with symbolic links resolved; available after `prepare`."""
        ...

    async def prepare(self) -> None:
        """Create its files and folders. Idempotent."""
        ...

    def command(self, port: int) -> Command:
        """The command that starts it. Called just before the start, when no earlier process uses its folder."""
        ...

    async def ping(self, port: int) -> None:
        """Check its health. Raises `NoAnswer`."""
        ...

    async def after_start(self, port: int) -> None:
        """Finish its setup, once it responds."""
        ...

    async def close(self) -> None:
        """Close connections to it."""
        ...


@dataclass(frozen=True, slots=True)
class EngineState:
    """State of an engine for `kairos status`."""

    name: str
    state: EngineCondition
    pid: int | None
    restarts: int
    detail: str
    not_installed: str = ""
    """What has to be installed, and how; empty otherwise. It may be shown to all users."""

    @property
    def missing_library(self) -> str:
        """The line about a missing shared library; empty if it failed for another reason.

        It may be shown to all users, unlike `detail`, which has paths and ports of this machine.
        """
        return next((line for line in self.detail.splitlines() if "cannot be loaded:" in line), "")


class SupervisedEngine:
    """An engine with its process. `changed` is called when the process changes."""

    def __init__(self, engine: Engine, folder: DataFolder, changed: Callable[[], None]) -> None:
        self.engine = engine
        self.port = 0
        self.failure: KairosError | None = None
        self._folder, self._changed = folder, changed
        self._process: OwnedProcess | None = None
        self._condition: EngineCondition = EngineCondition.STOPPED
        self._detail = ""
        self._restarts = 0
        self._backoff = BACKOFF_FIRST_S
        self._since = 0.0

    def state(self) -> EngineState:
        missing = str(self.failure) if isinstance(self.failure, EngineNotInstalled) else ""
        return EngineState(self.engine.name, self._condition, self.pid, self._restarts, self._detail, missing)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.exit_status is None else None

    async def start(self) -> None:
        """Start the engine and wait until it is ready. Raises `EngineNotStarted`, or errors of its preparation; its
        state
        is then `failed`."""
        self._condition, self._detail = EngineCondition.STARTING, ""
        try:
            await self._launch()
        except KairosError as error:
            self._condition, self._detail, self.failure = EngineCondition.FAILED, str(error), error
            raise

    async def watch(self) -> None:
        """Restart the engine after failures, until cancelled. Ends at once if its first start failed."""
        while self._process and self._condition != EngineCondition.FAILED:
            await self._until_unwell()
            await self._restart()

    async def stop(self) -> None:
        if self._process:
            await self.engine.close()
            await self._process.stop()
            self._changed()
        if self._condition != EngineCondition.FAILED:
            self._condition, self._detail = EngineCondition.STOPPED, ""

    async def _launch(self) -> None:
        try:
            await self.engine.prepare()
            await end_orphans(self.engine.folder, self.engine.program, (signal.SIGINT, signal.SIGQUIT))
            self.port = self.port or self._folder.port(self.engine.name)
            self._process = OwnedProcess(self.engine.command(self.port))
            self._changed()
            await self._until_ready(self._process)
            await self.engine.after_start(self.port)
        except OSError as error:
            raise self._not_started(f"{error}") from error
        self._condition, self._detail, self._since = EngineCondition.RUNNING, "", time.monotonic()

    async def _until_ready(self, process: OwnedProcess) -> None:
        began = time.monotonic()
        limit, reason = began + self.engine.ready_limit_s, "it did not answer"
        while time.monotonic() < limit:
            if await process.ends_within(POLL_S):
                raise self._not_started(f"it ended with status {process.exit_status}")
            try:
                return await self._ping()
            except StillStarting as error:
                reason, limit = str(error), began + RECOVERY_LIMIT_S
            except NoAnswer as error:
                reason = str(error)
        failure = self._not_started(f"not ready within {limit - began:.0f} s: {reason}")
        await process.stop()
        raise failure

    async def _until_unwell(self) -> None:
        """Wait until it ends, or fails `FAILURES` health checks in a row."""
        process, failures = self._process, 0
        assert process
        while failures < FAILURES:
            if await process.ends_within(CHECK_S):
                self._detail = f"it ended with status {process.exit_status}"
                return
            try:
                await self._ping()
                failures = 0
            except StillStarting:
                failures = 0
            except NoAnswer as error:
                failures += 1
                self._detail = f"no answer, {failures} times in a row: {error}"
            process.rotate_log()

    async def _restart(self) -> None:
        """Restart until it succeeds, with increasing pauses; on the same port, which clients keep using."""
        if time.monotonic() - self._since > STEADY_S:
            self._backoff = BACKOFF_FIRST_S
        self._condition = EngineCondition.RESTARTING
        while self._condition == EngineCondition.RESTARTING:
            log.warning("restarting the embedded %s: %s", self.engine.name, self._detail)
            await self.engine.close()
            if self._process:
                await self._process.stop()
            await asyncio.sleep(self._backoff * random.uniform(0.5, 1))
            self._backoff = min(2 * self._backoff, BACKOFF_MOST_S)
            self._restarts += 1
            try:
                await self._launch()
            except KairosError as error:
                self._detail = str(error)

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(PING_LIMIT_S):
                await self.engine.ping(self.port)
        except (OSError, TimeoutError) as error:
            raise NoAnswer(str(error) or f"nothing within {PING_LIMIT_S:g} s") from error

    def _not_started(self, reason: str) -> EngineNotStarted:
        tail = self._process.log_tail() if self._process else ""
        log_text = f" Its log ({self._folder.logs / self.engine.name}.log) ends with:\n{tail}" if tail else ""
        return EngineNotStarted(engine=self.engine.name, reason=reason, remedy=REMEDY, log=log_text)
