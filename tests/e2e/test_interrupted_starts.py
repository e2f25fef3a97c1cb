"""Ctrl-C and SIGTERM end `kairos start` at any moment, and nothing of it is left running."""

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

from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess

ENDS_WITHIN_S = 10.0


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener


class Start(DaemonProcess):
    """A start that is not waited for."""

    def begin(self, **environment: str) -> None:
        given = {**os.environ, "KAIROS_CONFIG": str(self.config), "XDG_CONFIG_HOME": str(self.folder), **environment}
        self._process = self._spawn((), given)

    def ends(self, number: signal.Signals) -> float:
        """Seconds from the signal to the end."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"still there {ENDS_WITHIN_S:g} s after {number.name}; its log: {self.log[-2000:]}")
        return time.monotonic() - began


def engines_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line or working directory lies in the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        told = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(folder) in part for part in told) and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_start_that_waits_for_postgresql_ends(tmp_path: Path, silent: socket.socket, number: signal.Signals):
    url = f"postgresql+psycopg://u:p@127.0.0.1:{silent.getsockname()[1]}/x"
    settings: dict[str, Any] = {"database": {"url": url, "migration_url": url, "system_url": url}}
    start = Start(tmp_path, {**settings, "redis": {"url": "redis://127.0.0.1:1/0"}, "embedded": {"model": False}})
    start.begin()
    silent.settimeout(60)
    connection, _ = silent.accept()
    with connection:
        assert start.ends(number) < 5
    assert "stopped before it was ready" in start.log


async def test_a_start_whose_initdb_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real initdb, halted when it begins: it hears nothing until it is let go on."""
    start = Start(tmp_path, {"embedded": {"model": False}})
    start.begin()

    def initdb() -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):  # one that ended while it was looked at
            children = psutil.Process(start.process.pid).children(recursive=True)
            return next((child for child in children if child.name() == "initdb"), None)
        return None

    found: psutil.Process = await eventually(initdb, 60, "initdb runs")
    found.suspend()
    start.ends(signal.SIGINT)
    assert not found.is_running() or found.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("number", "wait_s"),
    [
        *((signal.SIGINT, wait_s) for wait_s in (0.0, 0.6, 1.5, 4.0)),
        *((signal.SIGTERM, wait_s) for wait_s in (0.3, 1.0, 2.5)),
    ],
)
async def test_a_start_ends_at_any_moment(tmp_path: Path, number: signal.Signals, wait_s: float):
    """Moments after the daemon took its folder: its engines, the migration, and the model are at different points.
    One handler serves both signals."""
    start = Start(tmp_path, {})
    start.begin()
    lock = tmp_path / "data" / "kairos.lock"
    await eventually(lambda: lock.exists() and lock.read_text(), 60, "it took its folder")
    with pytest.raises(subprocess.TimeoutExpired):  # the moment itself, unless it fails before
        start.process.wait(wait_s + 0.01)
    start.ends(number)
    await eventually(lambda: not engines_of(tmp_path), 10, "no engine is left")


def test_a_signal_before_the_daemon_ends_the_command(tmp_path: Path):
    start = Start(tmp_path, {"embedded": {"model": False}})
    start.begin(PYTHONPROFILEIMPORTTIME="")
    assert start.ends(signal.SIGTERM) < ENDS_WITHIN_S


def test_a_thread_of_the_start_holds_up_no_end():
    """A library's call that cannot be cancelled, as a migration that waits for a lock."""
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
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert time.monotonic() - began < 30
