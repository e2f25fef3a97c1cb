"""The wheel works without a clone: installed by pip and by `uv tool install`, with and without the weights."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kairos.cli.client import runtime
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, parsed, run_program
from tests.kit.model_server import ModelServer

ROOT = Path(__file__).parents[2]
UV = str(ROOT / ".venv" / "bin" / "uv")
FETCH = "kairos model fetch"


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that PostgreSQL's user can access as well. The environment names nothing of the clone."""
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.timeout(1200)
async def test_installed_wheel_starts_and_runs_a_task(open_folder: Path, models: ModelServer):
    """Both installers in one test, because building the wheel and installing the engines take most of its time."""
    wheel = await asyncio.to_thread(build, open_folder / "dist")
    constraints = open_folder / "constraints.txt"
    constraints.write_text("\n".join(locked_versions()))
    by_pip = await asyncio.to_thread(installed_by_pip, wheel, open_folder, constraints)
    by_uv = await asyncio.to_thread(installed_by_uv, wheel, open_folder, constraints)
    for kairos in (by_pip, by_uv):
        await runs_a_task(open_folder / f"without-weights-{kairos.parents[1].name}", kairos, models)
    path = os.pathsep.join((str(Path(UV).parent), os.environ["PATH"]))  # who has installed it with uv has uv on PATH
    environment = {"KAIROS_CONFIG": "none.toml", "PATH": path}
    fetched = await asyncio.to_thread(
        run_program, (str(by_uv),), open_folder, ("model", "fetch"), environment, within_s=600
    )
    assert fetched.returncode == 0, fetched.stderr
    await starts_the_embedded_model(open_folder / "with-weights", by_uv)


async def runs_a_task(folder: Path, kairos: Path, models: ModelServer) -> None:
    """Start without weights, run a task on a configured model from the command line, and load the dashboard."""
    model = {"name": "echo", "base_url": models.base_url}
    async with started(DaemonProcess(folder, {"models": [model]}, (str(kairos),))) as daemon:
        assert re.search(rf"^degraded embedded model: .*{FETCH}$", daemon.log, re.MULTILINE), daemon.log
        arguments = ("task", "submit", "say hello", "--wait", "--json")
        environment = {"KAIROS_CONFIG": str(daemon.config)}
        done = await asyncio.to_thread(run_program, daemon.program, folder, arguments, environment)
        assert parsed(done)["output"] == "hello"
        assert '<div id="root">' in await asyncio.to_thread(page, runtime(folder / "data")["address"])


async def starts_the_embedded_model(folder: Path, kairos: Path) -> None:
    async with started(DaemonProcess(folder, {}, (str(kairos),))) as daemon:
        assert FETCH not in daemon.log, daemon.log
        assert [model["name"] for model in (await daemon.ask("GET", "/api/models"))["items"]] == ["smollm2-135m"]
        assert "degraded embedded model" not in daemon.log, daemon.log


@asynccontextmanager
async def started(daemon: DaemonProcess) -> AsyncIterator[DaemonProcess]:
    """Start a daemon, whose first start compiles its modules, and stop it also if it does not become ready."""
    try:
        await daemon.start(within_s=300)
        await eventually(lambda: "Kairos is ready" in daemon.log, why="the start message is printed")
        yield daemon
    finally:
        code = await daemon.stop(within_s=60)
    assert code == 0


def build(folder: Path) -> Path:
    run(str(ROOT / "scripts" / "dist.sh"), str(folder))
    return next(folder.glob("*.whl"))


def locked_versions() -> list[str]:
    """The tested versions without their hashes, which a wheel that was just built does not have."""
    return re.findall(r"^\S+==\S+", (ROOT / "requirements" / "kairos.lock").read_text(), re.MULTILINE)


def installed_by_pip(wheel: Path, folder: Path, constraints: Path) -> Path:
    # With this environment's pip: installing pip into the new one takes seconds.
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "pip"))
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "pip" / "bin" / "python"))
    run(*pip, "install", "--quiet", "--no-compile", "-c", str(constraints), f"{wheel}[embedded]")
    return folder / "pip" / "bin" / "kairos"


def installed_by_uv(wheel: Path, folder: Path, constraints: Path) -> Path:
    tool = (UV, "tool", "install", "--quiet", "--python", sys.executable, "--constraints", str(constraints))
    places = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "uv" / "bin")}
    run(*tool, f"kairos-loop[embedded] @ {wheel.as_uri()}", **places)
    return folder / "uv" / "bin" / "kairos"


def page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return response.read().decode()


def run(*program: str, **environment: str) -> None:
    done = subprocess.run(
        program,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
