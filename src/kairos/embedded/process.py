"""A child process that is stopped with this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

STOP_LIMIT_S = 10.0
LOG_LIMIT_BYTES = 10_000_000
TAIL_BYTES = 8_000
WRAPPER = Path(__file__).with_name("owned.py")
INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class User:
    """The user of a child, if it differs from the user of this process."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run, and the signals that stop it."""

    program: tuple[str, ...]
    folder: Path
    """Working directory, by which processes left by an earlier daemon are recognized."""
    log: Path
    stops: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    """Signals sent one after the other, each with a time limit, before SIGKILL. The first is also sent if the daemon
    dies."""
    user: User | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class OwnedProcess:
    """A running command.

    Its death signal is sent when the *thread* that started it ends, so it is started in the event loop's thread.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.rotate_log()
        with _appending(command.log) as output:
            self._log_start = os.fstat(output).st_size
            self._process = subprocess.Popen(
                _wrapped(command),
                cwd="/",  # the folder may not be accessible before the wrapper has changed the user
                env=_environment(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Only the daemon gets Ctrl-C of its terminal: it stops its work first, and its engines last.
                start_new_session=True,
            )
        # A thread of its own, so that it does not occupy one of the pool's few threads.
        threading.Thread(target=self._wait, name=f"wait-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status, or minus the signal's number; None while it runs."""
        return self._process.returncode

    async def ends_within(self, limit_s: float) -> bool:
        """Wait for its end. Returns False after `limit_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        return self._ended.is_set()

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Send its stop signals, then SIGKILL. Does nothing if it has ended."""
        for number in (*self._command.stops, signal.SIGKILL):
            if self._ended.is_set():
                return
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # a stopped process handles signals only after SIGCONT
            if await self.ends_within(limit_s):
                return
            log.warning("process %d did not end within %g s of %s", self.pid, limit_s, number.name)

    def rotate_log(self, limit: int = LOG_LIMIT_BYTES) -> None:
        """Rotate the log, keeping one old file. It is copied and truncated, because the program has it open
        (appending)."""
        path = self._command.log
        if path.exists() and path.stat().st_size > limit:
            shutil.copy2(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)

    def log_tail(self, lines: int = 8) -> str:
        """The last lines written in this run."""
        with self._command.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(self._log_start, size), size - TAIL_BYTES))
            written = file.read().decode(errors="replace").strip().splitlines()
        return "\n".join(written[-lines:])

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._ended.set)


@contextlib.contextmanager
def _appending(path: Path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wrapped(command: Command) -> list[str]:
    user = f"{command.user.uid}:{command.user.gid}" if command.user else ":"
    python = [sys.executable, "-I", "-S", str(WRAPPER)]
    return [*python, str(os.getpid()), str(int(command.stops[0])), user, str(command.folder), *command.program]


def _environment(command: Command) -> dict[str, str]:
    """The child's environment, without the daemon's variables, which may contain keys of providers and PG* settings."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", "TZ": "UTC", **kept, **command.environment}
