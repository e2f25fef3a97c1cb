"""Kairos and its engines, libraries and plugins connect to configured addresses only; nothing is sent anywhere else.

strace records each connect and send of the daemon and all its descendants: PostgreSQL, Valkey, the embedded model's
server, and the processes that check code. Variables that switch off telemetry of libraries are removed first.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from kairos.fine_tuning.training.trainer import LIBRARIES
from tests.kit.daemon_process import KAIROS, DaemonProcess, parsed, run_program
from tests.kit.model_server import ModelServer
from tests.kit.traced import TELEMETRY, connections, traced, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(600)]

ELSEWHERE = "192.0.2.1"
"""An address for documentation (RFC 5737), which belongs to nobody."""
NOT_APPROVED = 10
"""The exit code of the command line: a draft of the small model may be rejected."""
CODE = "```python\ndef double(x):\n    return 2 * x\n```"


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that PostgreSQL's user can access if the tests run as root; no variable switches off telemetry."""
    for name in filter(TELEMETRY.search, list(os.environ)):
        monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_daemon_with_its_engines_connects_to_configured_addresses_only(open_folder: Path, models: ModelServer):
    """Start with all embedded engines, run tasks on a configured model and on the embedded one, and stop."""
    models.models["echo"].answer = CODE
    log = open_folder / "strace.log"
    model = {"name": "echo", "base_url": models.base_url}
    daemon = DaemonProcess(open_folder / "daemon", {"models": [model]}, traced(log, *KAIROS))
    try:
        await daemon.start(within_s=240)
        tests = open_folder / "tests.py"
        tests.write_text("def test_double():\n    assert double(2) == 4\n")
        done = await finished(daemon, "Write double(x) in Python", "--model", "echo", "--tests", str(tests))
        assert parsed(done)["state"] == "succeeded", done.stdout
        done = await finished(daemon, "Say hello", "--model", "smollm2-135m", "--max-tokens", "8")
        assert done.returncode in (0, NOT_APPROVED), done.stderr
        await asyncio.to_thread(daemon.client().get, "/api/health/ready")
    finally:
        code = await daemon.stop(within_s=60)
    assert code == 0
    found = connections(log)
    assert found.outside(models.port) == set(), daemon.log
    reached = {peer.port for peer in found.peers if peer.reached}
    assert models.port in reached, "the trace lacks the configured model"
    assert len(reached & found.own_ports) >= 3, "the trace lacks the embedded engines"


@pytest.mark.skipif(any(find_spec(name) is None for name in LIBRARIES), reason="`make train` has not been run")
async def test_training_libraries_connect_nowhere_when_they_are_loaded(open_folder: Path):
    """They have update checks and telemetry of their own. The training process sets HF_HUB_OFFLINE first."""
    log = open_folder / "strace.log"
    code = f"import kairos.fine_tuning.training.process.__main__, {', '.join(LIBRARIES)}"
    await asyncio.to_thread(subprocess.run, traced(log, sys.executable, "-c", code), check=True, timeout=300)
    assert connections(log).outside() == set()


PROGRAMS = {
    "TCP": (f"socket.socket().connect(('{ELSEWHERE}', 443))", f"{ELSEWHERE}:443"),
    "UDP": (f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{ELSEWHERE}', 443))", f"{ELSEWHERE}:443"),
    "DNS": ("socket.getaddrinfo('kairos.invalid', 443)", ":53"),
    "other local port": ("socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))", "127.0.0.1:9"),
}
"""Programs that reach another address, and the end of that address."""


@pytest.mark.parametrize("kind", PROGRAMS)
def test_trace_shows_a_connection_to_another_address(open_folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    """The checks above can fail."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    log, (call, address) = open_folder / "strace.log", PROGRAMS[kind]
    program = f"import contextlib, socket\nsocket.setdefaulttimeout(.1)\nwith contextlib.suppress(OSError): {call}"
    subprocess.run(traced(log, sys.executable, "-c", program), check=True, timeout=60)
    found = connections(log).outside()
    assert found
    assert all(peer.endswith(address) for peer in found)


async def finished(daemon: DaemonProcess, prompt: str, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = ("task", "submit", prompt, "--wait", "--json", *options)
    environment = {"KAIROS_CONFIG": str(daemon.config)}
    return await asyncio.to_thread(run_program, KAIROS, daemon.folder, arguments, environment, within_s=200)
