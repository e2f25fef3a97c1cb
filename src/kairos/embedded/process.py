"""One child process that this one owns: started, waited for, stopped, and never left behind."""

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
    """Whom a child runs as, where that is not who we are."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how it is ended."""

    program: tuple[str, ...]
    folder: Path
    """Its working directory: by this, what an earlier daemon left running is recognised."""
    log: Path
    stops: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    """Sent one after the other, each with its limit, before SIGKILL. The first one also when the daemon dies."""
    user: User | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class OwnedProcess:
    """A running command.

    Its death signal fires when the *thread* that started it ends, so it is started in the thread of the event loop.
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
                cwd="/",  # the wrapper is root's; the folder may not be reachable before it has changed its user
                env=_environment(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the daemon's terminal is the daemon's: it stops its work first, and its engines last.
                start_new_session=True,
            )
        # A thread of its own, not one of the pool's, which has few and would have none left for its users.
        threading.Thread(target=self._wait, name=f"wait-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; minus the signal's number where a signal ended it."""
        return self._process.returncode

    async def ends_within(self, limit_s: float) -> bool:
        """Whether it ended before the limit was reached."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        return self._ended.is_set()

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Ask it to end, then insist. Nothing where it has ended."""
        for number in (*self._command.stops, signal.SIGKILL):
            if self._ended.is_set():
                return
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # one that was halted hears nothing until it goes on
            if await self.ends_within(limit_s):
                return
            log.warning("process %d did not end within %g s of %s", self.pid, limit_s, number.name)

    def rotate_log(self, limit: int = LOG_LIMIT_BYTES) -> None:
        """Keep a log and the one before it. Copied and cut, because the program keeps it open (for appending)."""
        path = self._command.log
        if path.exists() and path.stat().st_size > limit:
            shutil.copy2(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)

    def log_tail(self, lines: int = 8) -> str:
        """The last lines it wrote in this run."""
        with self._command.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(self._log_start, size), size - TAIL_BYTES))
            written = file.read().decode(errors="replace").strip().splitlines()
        return "\n".join(written[-lines:])

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
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
    """Not the daemon's own, which holds the keys of model providers and may hold PG* variables."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", "TZ": "UTC", **kept, **command.environment}
