"""Daemons on hosts without namespaces, such as containers: the tests of a task cannot read the daemon's secrets."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_load import FINAL
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.hosts import Kind, command_on, environment, host_command, python_on, user_on
from tests.kit.model_server import ModelServer, ScriptedModel

pytestmark = pytest.mark.timeout(300)
ANSWER = "```python\ndef answer():\n    return 42\n```"
KEY, PASSWORD = "provider-key-s3cret", "other-passw0rd-s3cret"
STORED_KEY, MASTER_KEY = "sk-memory-5b0de1a94c770f13", base64.b64encode(b"master-memory-key-of-32-bytes!!!").decode()
SECRETS = {
    "KAIROS_TEST_PROVIDER": KEY,
    "KAIROS_MASTER_KEY": MASTER_KEY,
    "SOME_PASSWORD": PASSWORD,
    "ADDRESS": f"redis://:{PASSWORD}@h:1",
}
"""Environment of the daemon. The first variable is named by `api_key_env`."""
IN_MEMORY, RELEASED = b"supplied-code-is-running", b"released-code-may-end-it"
HOLD_MARKER = f"""
import time


def test_marker_is_overwritten():
    marker = bytearray(b"-".join({IN_MEMORY.split(b"-")}))
    while marker.startswith(b"supplied"):
        time.sleep(0.01)
    assert marker.startswith(b"released")
"""
"""Tests of a task that keep a text in memory, by which their process is found. They end when it is overwritten."""


STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class HostedDaemon(DaemonProcess):
    """A daemon on a simulated host, run as the user of that host."""

    def __init__(self, folder: Path, settings: dict[str, Any], kind: Kind) -> None:
        super().__init__(folder, settings)
        self.kind = kind
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700)
            os.chown(path, *(user_on(kind).get(name, -1) for name in ("user", "group")))

    def _environment(self) -> dict[str, str]:
        return {**environment(self.kind), **super()._environment(), **self._host_variables(), **SECRETS}

    def _host_variables(self) -> dict[str, str]:
        variables = environment(self.kind)
        return {
            "HOME": str(self.folder),
            **{name: variables[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in variables},
        }

    def _spawn(self, options: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[Any]:
        command = [*host_command(self.kind), python_on(self.kind), "-m", "kairos", "start", *options]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, **user_on(self.kind))


@asynccontextmanager
async def _daemon(kind: Kind, addresses: Addresses, **settings: Any) -> AsyncIterator[HostedDaemon]:
    """Start a daemon in its own folder, since other users have no access to the folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="kairos-hosted-") as folder:
        Path(folder).chmod(0o711)
        async with _daemon_in(kind, addresses, Path(folder), settings) as daemon:
            yield daemon


@asynccontextmanager
async def _daemon_in(
    kind: Kind, addresses: Addresses, folder: Path, settings: dict[str, Any]
) -> AsyncIterator[HostedDaemon]:
    async with ModelServer() as models:
        models.add(ScriptedModel(name="scripted", answer=ANSWER, api_key=KEY))
        entry = {"name": "scripted", "base_url": models.base_url, "local": True, "api_key_env": "KAIROS_TEST_PROVIDER"}
        daemon = HostedDaemon(folder / "kairos", on_engines(addresses, models=[entry], **settings), kind)
        await daemon.start(within_s=100)
        try:
            yield daemon
        finally:
            assert await daemon.stop() == 0, daemon.log


async def _verdict_with(daemon: HostedDaemon, tests: str) -> dict[str, Any]:
    """Run a task with these tests and return its last verdict."""
    body = {"prompt": "write answer()", "checks": {"tests": tests}, "max_attempts": 1}
    task = await daemon.ask("POST", "/api/tasks", body)

    async def final_task() -> dict[str, Any] | None:
        details = await daemon.ask("GET", f"/api/tasks/{task['id']}")
        return details if details["state"] in FINAL else None

    return (await eventually(final_task, 60, "the task has ended", every_s=0.1))["verdicts"][-1]


def _tests_that_read_secrets(daemon: HostedDaemon) -> str:
    """Return tests that pass if they can read the secrets, configuration and environment of the daemon."""
    data = daemon.folder / "data"
    paths = [str(data / "local-secret"), str(daemon.config), f"/proc/{daemon.process.pid}/environ"]
    return "\n".join(f"def test_{index}():\n    assert open({path!r}, 'rb').read()" for index, path in enumerate(paths))


@pytest.mark.parametrize("kind", [Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER])
async def test_landlock_denies_tests_access_to_daemon_files(kind: Kind, addresses: Addresses):
    async with _daemon(kind, addresses) as daemon:
        ready = await daemon.ask("GET", "/api/health/ready")
        if not ready["isolation"]["full"]:
            pytest.skip(f"this host has no Landlock: {ready['isolation']['detail']}")
        assert ready["isolation"]["way"] == "landlock"
        assert "isolated by landlock" in daemon.log
        verdict = await _verdict_with(daemon, _tests_that_read_secrets(daemon))
        assert (verdict["approved"], verdict["score"]) == (False, 0)
        assert "PermissionError" in str(verdict["findings"])
        assert (await _verdict_with(daemon, "assert answer() == 42"))["score"] == 1


async def test_tests_are_not_run_without_isolation_and_the_reason_is_reported(addresses: Addresses):
    kind = Kind.NEITHER
    async with _daemon(kind, addresses) as daemon:
        message = "not run: this host cannot isolate code"
        verdict = await _verdict_with(daemon, _tests_that_read_secrets(daemon))
        assert (verdict["approved"], verdict["score"]) == (True, None)
        assert message in str(verdict["findings"])
        assert "tests" not in verdict["checks"]
        ready = await daemon.ask("GET", "/api/health/ready")
        assert (ready["status"], ready["isolation"]["full"], ready["isolation"]["tests_run"]) == ("ok", False, False)
        (project,) = [item for item in (await daemon.ask("GET", "/api/projects"))["items"] if item["active"]]
        assert not (await daemon.ask("GET", f"/api/projects/{project['id']}"))["isolation"]["tests_run"]
        assert message in daemon.log.replace("\n", " ")
        doctor = [python_on(kind), "-m", "kairos", "--config", str(daemon.config), "doctor"]
        result = await asyncio.to_thread(command_on, kind, doctor)
        assert result.returncode == 1
        assert message in result.stdout


async def test_weak_isolation_can_be_allowed_only_in_the_configuration_file(addresses: Addresses):
    settings = {"guardian": {"allow_weak_isolation": True}}
    async with _daemon(Kind.NEITHER, addresses, **settings) as daemon:
        assert (await _verdict_with(daemon, "assert answer() == 42"))["score"] == 1
        assert "WITHOUT full isolation" in daemon.log.replace("\n", " ")
        values = (await daemon.ask("GET", "/api/config"))["values"]
        (key,) = [value for value in values if value["key"] == "guardian.allow_weak_isolation"]
        assert (key["reach"], key["may_change"]) == ("file", False)


async def test_secrets_are_removed_from_the_environment_of_daemon_and_children(addresses: Addresses):
    """The daemon can still use the API key."""
    kind = Kind.LANDLOCK_SAME_USER
    async with _daemon(kind, addresses) as daemon:
        assert (await _verdict_with(daemon, "assert answer() == 42"))["checks"]
        process = psutil.Process(daemon.process.pid)
        read = [python_on(kind), "-c", f"open('/proc/{process.pid}/environ').read()"]
        assert "PermissionError" in (await asyncio.to_thread(command_on, kind, read)).stderr, (
            "the environment is readable"
        )
        for each_process in (process, *process.children(recursive=True)):
            if os.geteuid() == 0:  # only root can read it
                environ = Path(f"/proc/{each_process.pid}/environ").read_bytes().decode()
                assert KEY not in environ
                assert PASSWORD not in environ
                assert MASTER_KEY not in environ


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read the memory of other processes")
@pytest.mark.parametrize("kind", [Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER])
async def test_memory_of_supplied_code_holds_no_secret(kind: Kind, addresses: Addresses):
    """Neither the keys of stored providers and of the environment nor the master key."""
    secrets = [secret.encode() for secret in (STORED_KEY, KEY, PASSWORD, MASTER_KEY)]
    async with _daemon(kind, addresses, guardian={"test_seconds": 60}) as daemon:
        server = {"kind": "openai-compatible", "address": "http://127.0.0.1:9/v1", "key": STORED_KEY}
        made = await daemon.ask("POST", "/api/providers", {"name": f"stored for {kind}", **server})
        assert (made["has_key"], made["problem"]) == (True, None)
        own = psutil.Process(daemon.process.pid)
        assert all(secret in _memory(own) for secret in secrets[:2]), "the search finds nothing"

        verdict = asyncio.create_task(_verdict_with(daemon, HOLD_MARKER))
        running = await eventually(lambda: _supplied_code(own), 30, "supplied code runs", every_s=0.2)
        searched = 0
        for process in running:
            async with _stopped(process):
                found = _memory(process)
                assert [secret for secret in (*secrets, base64.b64decode(MASTER_KEY)) if secret in found] == []
                searched += IN_MEMORY in found
                _overwrite(process, IN_MEMORY, RELEASED)
        assert searched, "no process had the marker while it was stopped"
        assert (await verdict)["score"] == 1


def _supplied_code(daemon: psutil.Process) -> list[psutil.Process]:
    """The processes below the daemon that hold the marker."""
    return [process for process in daemon.children(recursive=True) if IN_MEMORY in _memory(process)]


@asynccontextmanager
async def _stopped(process: psutil.Process) -> AsyncIterator[None]:
    """Stop a process during the block. Nothing happens if it has ended."""
    try:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            await eventually(lambda: process.status() in STOPPED, 10, "the process stops")
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _memory(process: psutil.Process) -> bytes:
    """The writable memory of a process; empty if it has ended."""
    return b"".join(content for _, content in _areas(process))


def _areas(process: psutil.Process) -> Iterator[tuple[int, bytes]]:
    """The writable areas of a process's memory, with their addresses; none if it has ended."""
    with (
        suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{process.pid}/maps") as maps,
        open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory,
    ):
        for line in maps:
            area, permissions, *_, name = (*line.split(), "")
            start, end = (int(address, 16) for address in area.split("-"))
            if permissions.startswith("rw") and "/dev/" not in name:
                memory.seek(start)
                with suppress(OSError):
                    yield start, memory.read(end - start)


def _overwrite(process: psutil.Process, old: bytes, new: bytes) -> None:
    """Replace a text in the memory of a stopped process by one of the same length."""
    assert len(old) == len(new)
    places = [start + found.start() for start, content in _areas(process) for found in re.finditer(old, content)]
    with (
        suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory,
    ):
        for place in places:
            memory.seek(place)
            memory.write(new)
