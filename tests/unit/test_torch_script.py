"""`scripts/torch.sh` chooses the index for torch. The tests use a local index and a script that records pip calls."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

ROOT = Path(__file__).parents[2]
PYPI = "--quiet torch==2.13.0"
RECORDER = """#!{python}
import os, subprocess, sys
if sys.argv[1:3] == ["-m", "pip"]:
    with open({log!r}, "a") as file:
        print(*sys.argv[5:], file=file)
    sys.exit(1 if "--index-url" in sys.argv and os.environ.get("INDEX_LACKS_IT") else 0)
sys.exit(subprocess.run([{python!r}, *sys.argv[1:]]).returncode)
"""


class Index(BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


@pytest.fixture
def index() -> Iterator[str]:
    Index.paths.clear()
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()


def installed(folder: Path, **environment: str) -> tuple[list[str], str]:
    """Return the arguments of each pip call, and the script's output. `CI` is set unless it is overridden."""
    log, python = folder / "pip.log", folder / "python"
    python.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    kept.pop("TORCH_INDEX", None)
    done = subprocess.run(
        [ROOT / "scripts" / "torch.sh"],
        env={**kept, "CI": "true", "PYTHON_BIN": str(python), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return log.read_text().splitlines(), done.stdout + done.stderr


def test_ci_uses_pypi(tmp_path: Path) -> None:
    calls, output = installed(tmp_path)
    assert calls == [PYPI]
    assert "from PyPI" in output


def test_empty_index_means_pypi_outside_ci(tmp_path: Path) -> None:
    assert installed(tmp_path, CI="", TORCH_INDEX="")[0] == [PYPI]


def test_torch_comes_from_the_index_and_its_dependencies_from_pypi(tmp_path: Path, index: str) -> None:
    calls, output = installed(tmp_path, TORCH_INDEX=index)
    assert Index.paths == ["/whl/cpu/torch/"]
    assert calls == [f"--quiet --no-deps --retries 0 --timeout 60 --index-url {index} torch==2.13.0", PYPI]
    assert f"from {index}" in output


def test_index_without_this_version_falls_back_to_pypi(tmp_path: Path, index: str) -> None:
    calls, output = installed(tmp_path, TORCH_INDEX=index, INDEX_LACKS_IT="1")
    assert calls[-1] == PYPI
    assert "falling back to PyPI" in output


def test_unreachable_or_silent_index_is_abandoned_within_its_limit(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Index) as silent:  # listens and never answers
        for address in ("http://127.0.0.1:9/whl", f"http://127.0.0.1:{silent.server_port}/whl", "no address"):
            began = time.monotonic()
            calls, output = installed(tmp_path, TORCH_INDEX=address)
            assert calls[-1] == PYPI
            assert f"{address} does not answer" in output
            assert time.monotonic() - began < 30


def which(**environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("TORCH_INDEX", "CI")}
    script = ROOT / "scripts" / "torch.sh"
    done = subprocess.run([script, "--which"], env={**kept, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nvidia_gpu_means_pypi(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA'\n")
    smi.chmod(0o755)
    assert which(PATH=f"{tmp_path}:{os.environ['PATH']}") == "PyPI"


@pytest.mark.skipif(
    Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists() or sys.platform != "linux",
    reason="this machine has an NVIDIA GPU, or is no Linux",
)
def test_index_for_cpus_is_used_without_an_nvidia_gpu(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"  # installed, but reports no GPU
    smi.write_text("#!/bin/sh\nexit 9\n")
    smi.chmod(0o755)
    without = f"{tmp_path}:{os.environ['PATH']}"
    assert which(PATH=without) == "https://download.pytorch.org/whl/cpu"
    assert which(PATH=without, CI="true") == "PyPI"
    assert which(PATH=without, TORCH_INDEX="") == "PyPI"
