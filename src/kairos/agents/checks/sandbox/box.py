"""Starts the warden, hands it the tests, and ends everything it started, whatever happens."""

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
"""What the warden gets beyond the tests' own time, to start and to end."""
FILE_BYTES = 16 << 20
DISK_BYTES = 64 << 20
"""All files together: as much as the work folder holds where it lies in memory (`jail`)."""
PROCESSES = 24
"""Processes and threads."""
CPU_FACTOR = 2
"""Processor time of all processes together, for one second of the tests' time: they may share the work."""
SOURCES = Path(kairos.__file__).parents[1]
START = (
    "import sys; path = list(sys.path); sys.path.insert(0, {sources!r}); "
    "from kairos.agents.checks.sandbox.warden import main; sys.path[:] = path; main()"
)


class SandboxFailed(KairosError):
    """The tests given with the task could not be run: {reason}. Nothing was decided; it is tried again."""

    status, code = 500, "sandbox_failed"
    retryable = True


@dataclass(frozen=True, slots=True)
class SandboxTests:
    """SandboxTests as the warden takes them; the numbers are those of the results."""

    source: str
    statements: Mapping[int, int]
    """Position of a top-level statement that is a test -> its number."""
    calls: tuple[tuple[str, int, int], ...]
    """Name, line and number of each test function."""
    left_out: tuple[int, ...]
    """Positions of statements that are not run."""


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What came of one test."""

    passed: bool
    message: str = ""
    line: int | None = None
    """The line of the answer that it failed on."""


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What came of all of them. A test that is missing from the results was not reached, and has failed."""

    results: Mapping[int, SandboxResult]
    method: IsolationMethod
    """How the code was kept in."""
    unavailable_reason: str = ""
    """Why it was not kept in fully, in words."""

    @property
    def isolated(self) -> bool:
        return self.method is not IsolationMethod.NONE


async def run_sandboxed(
    answer: str, tests: SandboxTests, seconds: float, memory_bytes: int, *, allow_weak: bool = False
) -> SandboxReport:
    """Run the tests against the answer's code. Cancelled, it ends the processes first. Raises `SandboxFailed`.

    Where this host cannot isolate code, nothing is run (`SandboxReport.isolated`), unless it may be done allow_weak.
    """
    folder = tempfile.mkdtemp(prefix="kairos-tests-")
    try:
        process = await _start()
        try:
            question = _question(folder, answer, tests, seconds, memory_bytes, allow_weak)
            stdout, stderr = await asyncio.wait_for(process.communicate(question), seconds + GRACE_S)
        except TimeoutError:
            raise SandboxFailed(reason=f"it did not end within {seconds + GRACE_S:g} s") from None
        finally:
            await kill_process_tree(process)
    finally:
        await asyncio.to_thread(_remove, folder)
    return _parse_output(stdout, stderr)


async def _start() -> asyncio.subprocess.Process:
    """The interpreter that the virtual environment is made of: only its own library can be seen from the jail."""
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


def _question(
    folder: str, answer: str, tests: SandboxTests, seconds: float, memory_bytes: int, allow_weak: bool
) -> bytes:
    """What the warden reads itself, after its length; then the tests, which it leaves for another process."""
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
    """Kill the leader of a session with all its descendants, and wait for it; within a namespace of their own they end
    with its first process."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def _remove(folder: str) -> None:
    """With what its owner closed: the tests may have made folders that even their owner cannot read."""

    def open_up(function: object, path: str, fault: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
            os.chmod(os.path.dirname(path), 0o700)

    for _ in range(CLOSED_FOLDERS):
        shutil.rmtree(folder, onerror=open_up)
        if not os.path.exists(folder):
            return
    log.warning("the folder %s of tests that have ended could not be removed", folder)


CLOSED_FOLDERS = 3
"""How often it is tried: each pass opens one more level."""


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
