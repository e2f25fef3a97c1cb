"""Whole daemons on hosts that refuse namespaces, as containers do: tests that come with a task get nothing of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
SECRETS = {"KAIROS_TEST_PROVIDER": KEY, "SOME_PASSWORD": PASSWORD, "ADDRESS": f"redis://:{PASSWORD}@h:1"}
"""The first is known to Kairos by `api_key_env`."""


class HostedDaemon(DaemonProcess):
    """A daemon on a host of another kind, as its user."""

    def __init__(self, folder: Path, settings: dict[str, Any], kind: Kind) -> None:
        super().__init__(folder, settings)
        self.kind = kind
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700)
            os.chown(path, *(user_on(kind).get(name, -1) for name in ("user", "group")))

    def _environment(self) -> dict[str, str]:
        return {**environment(self.kind), **super()._environment(), **self._own(), **SECRETS}

    def _own(self) -> dict[str, str]:
        own = environment(self.kind)
        return {
            "HOME": str(self.folder),
            **{name: own[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in own},
        }

    def _spawn(self, options: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[Any]:
        command = [*host_command(self.kind), python_on(self.kind), "-m", "kairos", "start", *options]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, **user_on(self.kind))


@asynccontextmanager
async def _daemon(kind: Kind, addresses: Addresses, **settings: Any) -> AsyncIterator[HostedDaemon]:
    """In a folder of its own, for pytest closes its folders to other users."""
    with tempfile.TemporaryDirectory(prefix="kairos-hosted-") as folder:
        Path(folder).chmod(0o711)
        async with _started(kind, addresses, Path(folder), settings) as daemon:
            yield daemon


@asynccontextmanager
async def _started(
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


async def _judged(daemon: HostedDaemon, tests: str) -> dict[str, Any]:
    """The last verdict on an answer with these tests."""
    body = {"prompt": "write answer()", "checks": {"tests": tests}, "max_attempts": 1}
    task = await daemon.ask("POST", "/api/tasks", body)

    async def ended() -> dict[str, Any] | None:
        shown = await daemon.ask("GET", f"/api/tasks/{task['id']}")
        return shown if shown["state"] in FINAL else None

    return (await eventually(ended, 60, "the task has ended"))["verdicts"][-1]


def _thief(daemon: HostedDaemon) -> str:
    """Tests that pass where they get at what is the daemon's."""
    data = daemon.folder / "data"
    places = [str(data / "local-secret"), str(daemon.config), f"/proc/{daemon.process.pid}/environ"]
    return "\n".join(f"def test_{at}():\n    assert open({place!r}, 'rb').read()" for at, place in enumerate(places))


@pytest.mark.parametrize("kind", [Kind.LANDLOCK, Kind.LANDLOCK_SAME_USER])
async def test_landlock_keeps_tests_from_the_daemon_s_files(kind: Kind, addresses: Addresses):
    async with _daemon(kind, addresses) as daemon:
        ready = await daemon.ask("GET", "/api/health/ready")
        if not ready["isolation"]["full"]:
            pytest.skip(f"this host has no Landlock: {ready['isolation']['detail']}")
        assert ready["isolation"]["way"] == "landlock"
        assert "isolated by landlock" in daemon.log
        verdict = await _judged(daemon, _thief(daemon))
        assert (verdict["approved"], verdict["score"]) == (False, 0)
        assert "PermissionError" in str(verdict["findings"])
        assert (await _judged(daemon, "assert answer() == 42"))["score"] == 1


async def test_without_isolation_tests_are_not_run_and_everything_says_so(addresses: Addresses):
    kind = Kind.NEITHER
    async with _daemon(kind, addresses) as daemon:
        words = "not run: this host cannot isolate code"
        verdict = await _judged(daemon, _thief(daemon))
        assert (verdict["approved"], verdict["score"]) == (True, None)
        assert words in str(verdict["findings"])
        assert "tests" not in verdict["checks"]
        ready = await daemon.ask("GET", "/api/health/ready")
        assert (ready["status"], ready["isolation"]["full"], ready["isolation"]["tests_run"]) == ("ok", False, False)
        (project,) = [one for one in (await daemon.ask("GET", "/api/projects"))["items"] if one["active"]]
        assert not (await daemon.ask("GET", f"/api/projects/{project['id']}"))["isolation"]["tests_run"]
        assert words in daemon.log.replace("\n", " ")
        doctor = [python_on(kind), "-m", "kairos", "--config", str(daemon.config), "doctor"]
        said = await asyncio.to_thread(command_on, kind, doctor)
        assert said.returncode == 1
        assert words in said.stdout


async def test_an_operator_can_allow_weak_isolation_in_the_file_alone(addresses: Addresses):
    settings = {"guardian": {"allow_weak_isolation": True}}
    async with _daemon(Kind.NEITHER, addresses, **settings) as daemon:
        assert (await _judged(daemon, "assert answer() == 42"))["score"] == 1
        assert "WITHOUT full isolation" in daemon.log.replace("\n", " ")
        values = (await daemon.ask("GET", "/api/config"))["values"]
        (key,) = [value for value in values if value["key"] == "guardian.allow_weak_isolation"]
        assert (key["reach"], key["may_change"]) == ("file", False)


async def test_no_secret_stays_in_the_daemon_s_environment(addresses: Addresses):
    """It uses its key all the same, and its children do not get it."""
    kind = Kind.LANDLOCK_SAME_USER
    async with _daemon(kind, addresses) as daemon:
        assert (await _judged(daemon, "assert answer() == 42"))["checks"]
        process = psutil.Process(daemon.process.pid)
        look = [python_on(kind), "-c", f"open('/proc/{process.pid}/environ').read()"]
        assert "PermissionError" in (await asyncio.to_thread(command_on, kind, look)).stderr, "it cannot be looked into"
        for one in (process, *process.children(recursive=True)):
            if os.geteuid() == 0:  # who may look all the same
                environ = Path(f"/proc/{one.pid}/environ").read_bytes().decode()
                assert KEY not in environ
                assert PASSWORD not in environ
