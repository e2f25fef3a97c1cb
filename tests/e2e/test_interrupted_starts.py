"""SIGINT and SIGTERM end `kairos start` at any time, and no process is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kairos.daemon import ABANDON_LIMIT_S
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess

ENDS_WITHIN_S = 10.0


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and sends nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener


class StartingDaemon(DaemonProcess):
    """A daemon that the test does not wait for."""

    def begin(self, **environment: str) -> None:
        variables = {
            **os.environ,
            "KAIROS_CONFIG": str(self.config),
            "XDG_CONFIG_HOME": str(self.folder),
            **environment,
        }
        self._process = self._spawn((), variables)

    def end(self, number: signal.Signals) -> float:
        """Send a signal and return the seconds until the process has ended."""
        started_at = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"still running {ENDS_WITHIN_S:g} s after {number.name}; its log: {self.log[-2000:]}")
        return time.monotonic() - started_at


def engines_of(folder: Path) -> list[psutil.Process]:
    """Return the processes whose command line or working directory contains the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        paths = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(folder) in path for path in paths) and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_ends_a_start_that_waits_for_postgresql(tmp_path: Path, silent: socket.socket, number: signal.Signals):
    url = f"postgresql+psycopg://u:p@127.0.0.1:{silent.getsockname()[1]}/x"
    settings: dict[str, Any] = {"database": {"url": url, "migration_url": url, "system_url": url}}
    start = StartingDaemon(
        tmp_path, {**settings, "redis": {"url": "redis://127.0.0.1:1/0"}, "embedded": {"model": False}}
    )
    start.begin()
    silent.settimeout(60)
    connection, _ = silent.accept()
    with connection:
        assert start.end(number) < ABANDON_LIMIT_S, "the wait was cancelled, not abandoned"
    assert "stopped before it was ready" in start.log
    assert "the start failed" not in start.log, "the wait was cancelled before the connection timed out"


async def test_signal_ends_a_start_whose_initdb_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """initdb is suspended when it starts, so it does not react to the signal."""
    start = StartingDaemon(tmp_path, {"embedded": {"model": False}})
    start.begin()

    def initdb() -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):  # a child that has just ended
            children = psutil.Process(start.process.pid).children(recursive=True)
            return next((child for child in children if child.name() == "initdb"), None)
        return None

    found: psutil.Process = await eventually(initdb, 60, "initdb is running")
    found.suspend()
    start.end(signal.SIGINT)
    assert not found.is_running() or found.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("number", "wait_s"),
    [
        *((signal.SIGINT, wait_s) for wait_s in (0.0, 0.6, 1.5, 4.0)),
        *((signal.SIGTERM, wait_s) for wait_s in (0.3, 1.0, 2.5)),
    ],
)
async def test_signal_ends_a_start_at_any_time(tmp_path: Path, number: signal.Signals, wait_s: float):
    """`wait_s` counts from the lock of the data folder: engines, migration and model are then at different points. One
    handler serves both signals."""
    start = StartingDaemon(tmp_path, {})
    start.begin()
    lock = tmp_path / "data" / "kairos.lock"
    await eventually(lambda: lock.exists() and lock.read_text(), 60, "the daemon has locked its folder")
    with pytest.raises(subprocess.TimeoutExpired):  # waits, and fails if the start has failed
        start.process.wait(wait_s + 0.01)
    start.end(number)
    await eventually(lambda: not engines_of(tmp_path), 10, "every engine has ended")


def test_signal_ends_the_command_before_the_daemon_starts(tmp_path: Path):
    start = StartingDaemon(tmp_path, {"embedded": {"model": False}})
    start.begin(PYTHONPROFILEIMPORTTIME="")
    assert start.end(signal.SIGTERM) < ENDS_WITHIN_S


def test_running_thread_does_not_delay_the_end():
    """The thread simulates a call that cannot be cancelled, such as a migration that waits for a lock."""
    code = """
import asyncio, os, signal, threading, time
from kairos.daemon import Stopping
from kairos.background_tasks import run_in_thread

async def main():
    stopping = Stopping()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.ask)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert await stopping.unless_asked(run_in_thread(lambda: time.sleep(600), 600)) is None

asyncio.run(main())
"""
    started_at = time.monotonic()
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert time.monotonic() - started_at < 30
