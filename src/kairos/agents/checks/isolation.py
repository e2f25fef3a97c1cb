"""Determines how well this host can isolate supplied tests, by trying to escape from the sandbox."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kairos.agents.checks.sandbox.jail import IsolationMethod
from kairos.agents.checks.sandbox.launcher import SandboxFailed, SandboxReport, missing_system, run_sandboxed
from kairos.agents.checks.task_tests import parse_tests

log = logging.getLogger(__name__)

PROBE_S = 5.0
PROBE_BYTES = 256 << 20
RETRY_S = 60.0
"""Pause before a failed probe is repeated, in seconds."""

PROBE = """
import os, socket

def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False

def same(path, device, inode):
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (device, inode)

def read(path):
    os.listdir(path) if os.path.isdir(path) else open(path).close()

def write_into(folder):
    with open(os.path.join(folder, ".kairos-probe"), "x"):
        pass
    os.unlink(os.path.join(folder, ".kairos-probe"))

def test_files_of_the_daemon_can_be_read():
    for path, *there in PATHS:
        assert not same(path, *there) or refused(lambda: read(path)), path

def test_files_of_the_daemon_can_be_written():
    for path, *there in PATHS:
        assert not same(path, *there) or refused(lambda: write_into(path)), path

def test_other_processes_can_be_seen():
    assert refused(lambda: os.listdir("/proc/1"))

def test_the_daemon_can_be_signalled():
    assert PID == 1 or refused(lambda: os.kill(PID, 0))

def test_the_network_can_be_used():
    assert refused(lambda: socket.create_connection(("127.0.0.1", PORT), 1).close())
    assert refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)))
"""
"""Each test fails if its name is true."""


@dataclass(frozen=True, slots=True)
class IsolationStatus:
    """How this host isolates supplied tests."""

    method: IsolationMethod
    full: bool
    """Whether the tests can reach no file, process or network of the host."""
    detail: str
    """The mechanism, or the missing requirement."""
    allowed: bool
    """Whether tests are run on this host."""


class HostIsolation:
    """The isolation that this host supports, probed once."""

    def __init__(self, protected: Sequence[Path], *, allow_weak: bool) -> None:
        """`protected`: files and folders of the daemon. `allow_weak`: run tests even without full isolation."""
        self._protected = protected
        self._allow_weak = allow_weak
        self._status: IsolationStatus | None = None
        self._retry_at = 0.0
        self._lock = asyncio.Lock()

    async def status(self) -> IsolationStatus:
        """Return the probed status. A failed probe is repeated after `RETRY_S`."""
        async with self._lock:
            if self._status is None or (self._retry_at and time.monotonic() > self._retry_at):
                self._status = await self._probe()
            return self._status

    async def _probe(self) -> IsolationStatus:
        self._retry_at = 0.0
        if reason := missing_system():
            # Not even with `allow_weak`: the program that supervises the tests needs Linux.
            return IsolationStatus(IsolationMethod.NONE, False, reason, False)
        try:
            with _listener() as port:
                report = await run_sandboxed("", parse_tests(self._source(port)).tests, PROBE_S, PROBE_BYTES)
        except SandboxFailed as failure:
            self._retry_at = time.monotonic() + RETRY_S
            return IsolationStatus(
                IsolationMethod.NONE, False, f"the sandbox could not be probed: {failure}", self._allow_weak
            )
        holes = list(_holes(report))
        if not report.isolated:
            return IsolationStatus(IsolationMethod.NONE, False, report.unavailable_reason, self._allow_weak)
        if holes:
            return IsolationStatus(report.method, False, f"the sandbox has holes: {'; '.join(holes)}", self._allow_weak)
        return IsolationStatus(report.method, True, f"by {report.method.value} and a system call filter", True)

    def _source(self, port: int) -> str:
        paths = [(str(path), status.st_dev, status.st_ino) for path in self._protected for status in (path.stat(),)]
        return f"PATHS, PID, PORT = {paths!r}, {os.getpid()}, {port}\n{PROBE}"


def _holes(report: SandboxReport) -> Iterator[str]:
    names = [name for name, _, _ in parse_tests(PROBE).tests.calls]
    for number, name in enumerate(names):
        result = report.results.get(number)
        if result is None or not result.passed:
            hole = name.removeprefix("test_").replace("_", " ")
            log.warning(
                "the sandbox does not isolate tests: %s (%s)", hole, result.message if result else "not reached"
            )
            yield hole


@contextmanager
def _listener() -> Iterator[int]:
    """Listen on a port that is reachable from outside the sandbox."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
