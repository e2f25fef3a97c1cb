"""Real daemons: `kairos start` as a separate process that tests can call, signal and kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from kairos.cli.client import Client, runtime
from kairos.cli.credentials import CredentialFile
from kairos.embedded import Addresses
from tests.kit.conditions import eventually

LOG_SHOWN = 3000
"""Characters at the end of each daemon's log that the report of a failed test shows."""

KAIROS = (sys.executable, "-m", "kairos")

_daemons: weakref.WeakSet[DaemonProcess] = weakref.WeakSet()


class DaemonProcess:
    """One `kairos start` with its own configuration and data folder."""

    def __init__(self, folder: Path, settings: dict[str, Any], program: tuple[str, ...] = KAIROS) -> None:
        """`program` runs the command line; by default, that of this clone."""
        self.program = program
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "kairos.toml"
        self.config.write_text(tomlkit.dumps({"data_dir": "data", "server": {"port": 0}, **settings}))
        self._process: subprocess.Popen[bytes] | None = None
        _daemons.add(self)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start the daemon first"
        return self._process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    async def start(self, *options: str, within_s: float = 60) -> DaemonProcess:
        """Start it and wait until it is ready."""
        self._process = self._spawn(options, self._environment())
        await eventually(self._is_ready, within_s, f"the daemon is ready; its log: {self.log[-3000:]}")
        return self

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KAIROS_CONFIG": str(self.config), "XDG_CONFIG_HOME": str(self.folder / "config")}

    def _spawn(self, options: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[Any]:
        with (self.folder / "log").open("ab") as log:
            command = [*self.program, "start", *options]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def client(self) -> Client:
        """Return a client of the command line, signed in with the local secret."""
        address = runtime(self.folder / "data")["address"]
        return Client(address, self.folder / "data", CredentialFile(self.folder / "credentials.json"))

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API of the daemon as the local operator."""
        return await asyncio.to_thread(self.client().call, method, path, body)

    def kill(self) -> None:
        """Kill the process without warning, as in a machine failure."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self, within_s: float = 30) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), within_s)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log[-3000:]}")
        return runtime(self.folder / "data").get("pid") == self.process.pid


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the exit code and the end of the log of each daemon to the report of a failed test."""
    report = yield
    for daemon in sorted(_daemons, key=lambda daemon: str(daemon.folder)) if report.failed else ():
        if (daemon.folder / "log").exists():
            state = f"exit code {daemon.process.poll()}" if daemon.process.poll() is not None else "running"
            report.sections.append((f"daemon in {daemon.folder} ({state})", daemon.log[-LOG_SHOWN:]))
    return report


def on_engines(addresses: Addresses, **settings: Any) -> dict[str, Any]:
    """Return the settings of a daemon that uses these engines and starts none."""
    return {
        "database": {
            "url": addresses.database_url,
            "migration_url": addresses.migration_url,
            "system_url": addresses.system_url,
        },
        "redis": {"url": addresses.redis_url},
        "embedded": {"model": False},
        **settings,
    }


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line and wait for it."""
    return run_program(KAIROS, folder, arguments, environment)


def run_program(
    program: Sequence[str],
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    within_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line that `program` starts, and wait for it."""
    given = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "NO_COLOR": "1", "COLUMNS": "120", **environment}
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        env=given,
        timeout=within_s,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
