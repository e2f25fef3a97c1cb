"""Starts the warden, sends it the tests, and always ends all processes of the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

import kairos
from kairos.agents.checks.sandbox.jail import IsolationMethod, Limits
from kairos.errors import KairosError

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""Time for the warden to start and end, beyond the tests' own time."""
FILE_BYTES = 16 << 20
DISK_BYTES = 64 << 20
"""All files together: the size of the work folder in memory (`jail`)."""
PROCESSES = 24
"""Processes and threads."""
CPU_FACTOR = 2
"""Processor time of all processes together per second of the tests' time."""
SOURCES = Path(kairos.__file__).parents[1]
START = (
    "import sys; path = list(sys.path); sys.path.insert(0, {sources!r}); "
    "from kairos.agents.checks.sandbox.warden import main; sys.path[:] = path; main()"
)


class SandboxFailed(KairosError):
    """The tests supplied with the task could not be run: {reason}. The check is retried."""

    status, code = 500, "sandbox_failed"
    retryable = True


@dataclass(frozen=True, slots=True)
class SandboxTests:
    """Tests in the form that the warden expects. Results refer to them by number."""

    source: str
    statements: Mapping[int, int]
    """Position of each top-level statement that is a test -> its number."""
    calls: tuple[tuple[str, int, int], ...]
    """Name, line and number of each test function."""
    left_out: tuple[int, ...]
    """Positions of statements that are not run."""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """The result of one test."""

    passed: bool
    message: str = ""
    line: int | None = None
    """The line of the answer on which the test failed."""


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The results of a sandbox run. A test without a result was not reached and has failed."""

    results: Mapping[int, SandboxResult]
    method: IsolationMethod
    """How the code was isolated."""
    unavailable_reason: str = ""
    """Why full isolation was unavailable; empty if it was."""

    @property
    def isolated(self) -> bool:
        return self.method is not IsolationMethod.NONE


def missing_system() -> str:
    """Why no code can be run on this operating system; empty on Linux."""
    if sys.platform == "linux":
        return ""
    system = "macOS" if sys.platform == "darwin" else sys.platform
    return f"isolation needs Linux with namespaces or Landlock, and this system is {system}"


async def run_sandboxed(
    answer: str, tests: SandboxTests, seconds: float, memory_bytes: int, *, allow_weak: bool = False
) -> SandboxReport:
    """Run the tests against the answer's code. On cancellation, ends the processes first. Raises `SandboxFailed`.

    If this host cannot isolate code, nothing is run (`SandboxReport.isolated`) unless `allow_weak` is set. Nothing is
    run on systems other than Linux.
    """
    if reason := missing_system():
        raise SandboxFailed(reason=reason)
    folder = tempfile.mkdtemp(prefix="kairos-tests-")
    try:
        process = await _start()
        try:
            request = _request(folder, answer, tests, seconds, memory_bytes, allow_weak)
            stdout, stderr = await asyncio.wait_for(process.communicate(request), seconds + GRACE_S)
        except TimeoutError:
            raise SandboxFailed(reason=f"the sandbox did not end within {seconds + GRACE_S:g} s") from None
        finally:
            await kill_process_tree(process)
    finally:
        await asyncio.to_thread(_remove, folder)
    return _parse_output(stdout, stderr)


async def _start() -> asyncio.subprocess.Process:
    """Start the warden with the virtual environment's base interpreter, the only one that the jail contains."""
    python = getattr(sys, "_base_executable", None) or sys.executable
    try:
        return await asyncio.create_subprocess_exec(
            *(python, "-I", "-S", "-B", "-X", "utf8", "-c", START.format(sources=str(SOURCES))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            cwd="/",
        )
    except OSError as fault:
        raise SandboxFailed(reason=f"{python} cannot be started ({fault})") from fault


def _request(
    folder: str, answer: str, tests: SandboxTests, seconds: float, memory_bytes: int, allow_weak: bool
) -> bytes:
    """Return the warden's own request with its length, then the tests, which another process reads."""
    cpu_s = math.ceil(seconds)
    limits = Limits(cpu_s, memory_bytes, FILE_BYTES, PROCESSES, cpu_s * CPU_FACTOR, DISK_BYTES)
    bare = sorted(tests.statements.values())
    head = json.dumps(
        {
            "folder": folder,
            "answer": answer,
            "pairs": [*([bare] if bare else []), *([number] for _, _, number in tests.calls)],
            "seconds": seconds,
            "limits": asdict(limits),
            "weak": allow_weak,
        }
    ).encode()
    rest = {
        "source": tests.source,
        "statements": dict(tests.statements),
        "calls": tests.calls,
        "left_out": tests.left_out,
    }
    return len(head).to_bytes(8, "big") + head + json.dumps(rest).encode()


async def kill_process_tree(process: asyncio.subprocess.Process) -> None:
    """Kill the leader of a session with all descendants, and wait for it.

    In a PID namespace, all processes end with the first one.
    """
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def _remove(folder: str) -> None:
    """Remove the folder, including subfolders that the tests made unreadable for their owner."""

    def open_up(function: object, path: str, fault: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
            os.chmod(os.path.dirname(path), 0o700)

    for _ in range(CLOSED_FOLDERS):
        shutil.rmtree(folder, onerror=open_up)
        if not os.path.exists(folder):
            return
    log.warning("the folder %s of finished tests could not be removed", folder)


CLOSED_FOLDERS = 3
"""Passes of removal: each makes one more level readable."""


def _parse_output(stdout: bytes, stderr: bytes) -> SandboxReport:
    lines = [json.loads(line) for line in stdout.splitlines()]
    if not lines or "end" not in lines[-1]:
        log.error("the test sandbox failed: %s", stderr.decode(errors="replace"))
        last = stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxFailed(reason=last[:300] or "its process ended early")
    results = {
        line["test"]: SandboxResult(line["passed"], line["message"], line["line"])
        for line in lines
        if line.get("test") is not None
    }
    return SandboxReport(results, IsolationMethod(lines[0]["method"]), lines[0]["unavailable_reason"])
