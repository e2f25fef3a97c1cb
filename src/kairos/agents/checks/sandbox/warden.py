"""The supervising process of the sandbox. It loads neither the answer nor the tests, so its reports can be trusted.

It reads a request from standard input and writes results to standard output, one JSON line each. Every `test_*`
function gets its own pair of processes, so that an endless loop, an exit or a crash affects only that test; the bare
statements share one pair, since each can depend on earlier ones. One process of a pair runs the tests (`runner`) and
reports through a pipe that the other cannot access. The other runs the answer's code (`answer`) and serves the first
one over a socket. A separate process, within the same limits, reads and compiles the tests, so that the answer's
process, a fork of this one, never contains them.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from kairos.agents.checks.sandbox import answer, assertions, jail, process_tree, runner
from kairos.agents.checks.sandbox.names import names_in
from kairos.agents.checks.sandbox.peer import BROKEN

CaseOutcome = tuple[bool, str, int | None]
"""Whether the test passed, the failure message, and the line of the answer."""
RESULT_BYTES = 4 << 20
"""Maximum size of a process's report, enough for a thousand failures."""
MIN_SHARE_S = 1.0
POLL_S = 0.05
GRACE_S = 0.5
"""How long tests can continue after the answer's process has ended."""
UNREADABLE = 78
"""Exit status if the code's user cannot read Python's library and it could not be mounted elsewhere."""


@dataclass(slots=True)
class ProcessPair:
    """A pair of processes, and its results."""

    tests: list[int]
    loaded: bool = False
    results: dict[int, CaseOutcome] = field(default_factory=dict)
    reason: CaseOutcome | None = None
    """The outcome of tests without a result."""

    def outcome(self, test: int) -> CaseOutcome:
        reason = self.reason or (False, "the code ended the program while it was tested", None)
        return self.results.get(test, reason)


def main() -> None:
    """Set up the isolation, and run all tests from the first isolated process."""
    request = json.loads(_exactly(int.from_bytes(_exactly(8), "big")))
    jail.die_with_parent()
    isolation = jail.build(request["folder"])
    limits = jail.Limits(**request["limits"])
    limits = replace(limits, processes=limits.processes + 1)  # the answer's process beside that of the tests
    reading, writing = os.pipe()
    lock = process_tree.ProcessLock()
    child = os.fork()
    if child:
        os.close(reading)
        monitor = jail.resource_monitor(child, limits)
        status = process_tree.enforce_limits(monitor, writing, lock) if monitor else os.waitpid(child, 0)[1]
        os._exit(0 if status == 0 else 1)
    os.close(writing)
    process_tree.connect_monitor(reading, lock)
    jail.enter_init_process()
    _send({"method": isolation.method, "unavailable_reason": isolation.unavailable_reason})
    if isolation.full or request["weak"]:
        _run_all(request, limits, isolation)
    _send({"end": True})
    os._exit(0)


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = os.read(0, length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _run_all(request: dict[str, Any], limits: jail.Limits, isolation: jail.Isolation) -> None:
    end = time.monotonic() + request["seconds"]
    plan, fault = _compiled(limits, isolation, end)
    pairs = [ProcessPair(tests) for tests in request["pairs"]]
    reason: CaseOutcome | None = None
    if fault:
        reason = (False, f"the tests could not be compiled within the limits: their process {fault}", None)
    for number, pair in enumerate(pairs):
        if reason is None and time.monotonic() >= end:
            reason = (False, "the time for all tests had run out before this one started", None)
        if reason is None:
            _run(pair, request["answer"], plan, limits, isolation, _deadline(end, last=number == len(pairs) - 1))
            if not pair.loaded:
                reason = pair.reason  # the code would not load for the next test either
        else:
            pair.reason = reason
        for test in pair.tests:
            passed, message, line = pair.outcome(test)
            _send({"test": test, "passed": passed, "message": message, "line": line})


def _deadline(end: float, *, last: bool) -> float:
    """Return the deadline of a pair: half of the remaining time, so that one endless loop does not block all tests."""
    left = end - time.monotonic()
    return end if last else end - left + max(left / 2, min(left, MIN_SHARE_S))


def _compiled(limits: jail.Limits, isolation: jail.Isolation, end: float) -> tuple[int, str]:
    """Compile the tests from standard input in a separate process.

    Returns a file descriptor of the compiled tests, and the reason of a failure, if any.
    """
    plan = os.memfd_create("tests") if hasattr(os, "memfd_create") else _unnamed_file()
    child = _forked(lambda: (_confine([0, plan], limits, isolation), _compile(plan)))
    while not _has_ended(child):
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    return plan, _exit_reason(status) if status else ""


def _forked(work: Callable[[], object]) -> int:
    """Fork a process that does the work and exits. Returns its process id."""
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def _unnamed_file() -> int:
    import tempfile

    return os.dup(tempfile.TemporaryFile(dir=".").fileno())


def _compile(plan: int) -> None:
    with open(0, "rb", closefd=False) as file:
        data = json.load(file)
    statements = {int(at): test for at, test in data["statements"].items()}
    steps = assertions.prepare(data["source"], statements, data["left_out"])
    packed = marshal.dumps(
        {
            "calls": data["calls"],
            "names": names_in(data["source"]),
            "steps": [(step.code, step.line, step.test) for step in steps],
        }
    )
    with open(plan, "wb", closefd=False) as file:
        file.write(packed)


def _run(pair: ProcessPair, source: str, plan: int, limits: jail.Limits, isolation: jail.Isolation, end: float) -> None:
    """Start a pair, collect its report until it ends or times out, and kill it with all its descendants."""
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()

    def code() -> None:
        _confine([theirs.fileno()], limits, isolation)
        answer.run(source, theirs)

    def test() -> None:
        _confine([plan, ours.fileno(), writing], limits, isolation)
        runner.run(_read(plan), pair.tests[0], ours, lambda data: os.write(writing, data))

    with process_tree.starting_processes():
        code_pid, test_pid = _forked(code), _forked(test)
    os.close(writing)
    ours.close()
    theirs.close()
    output, in_time = _collect(reading, test_pid, code_pid, end)
    os.close(reading)
    status = _end_all(test_pid, code_pid, isolation, in_time=in_time)
    _apply_report(pair, output)
    if pair.reason is None:
        message = _exit_reason(status) if in_time else "ran out of time"
        pair.reason = (False, f"the code {message} while it was {'tested' if pair.loaded else 'loaded'}", None)


def _read(plan: int) -> dict[str, Any]:
    data, at = [], 0
    while part := os.pread(plan, 1 << 20, at):
        data.append(part)
        at += len(part)
    return marshal.loads(b"".join(data))


def _confine(kept: list[int], limits: jail.Limits, isolation: jail.Isolation) -> None:
    """Drop privileges, and close standard streams and all descriptors except those in `kept`."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2}.difference(kept):
        os.dup2(null, stream)
    edges = [2, *sorted(descriptor for descriptor in kept if descriptor > 2), 1 << 16]
    for low, high in pairwise(edges):
        os.closerange(low + 1, high)
    jail.drop_privileges(limits, isolation.user)
    if not jail.can_read_python():
        os._exit(UNREADABLE)


def _collect(reading: int, test_pid: int, code_pid: int, end: float) -> tuple[bytes, bool]:
    """Return the report of the tests, and whether they finished in time.

    The end of the process is polled as well, since a descendant could keep the pipe open. When the answer's process has
    ended, the tests get `GRACE_S` more, since a descendant of it could keep the socket open.
    """
    output = b""
    while (left := end - time.monotonic()) > 0:
        over = _has_ended(test_pid)
        if not over and left > GRACE_S and _has_ended(code_pid):
            end = time.monotonic() + GRACE_S
        ready, _, _ = select.select([reading], [], [], 0 if over else min(left, POLL_S))
        if not ready:
            if over:
                return output, True
            continue
        data = os.read(reading, 1 << 16)
        if not data or len(output) > RESULT_BYTES:
            return output, True
        output += data
    return output, _has_ended(code_pid)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_all(test_pid: int, code_pid: int, isolation: jail.Isolation, *, in_time: bool) -> int:
    """Kill both processes and their descendants. Returns the exit status of the answer if it failed, else of the tests.

    In a PID namespace, -1 addresses all other processes. Elsewhere, the descendants are killed or, if `/proc` does not
    list them, the sessions; `launcher` then kills the rest.
    """
    if in_time:
        _wait_for_exit(test_pid, code_pid)
    failed = code_pid if _has_ended(code_pid) and not _has_succeeded(code_pid) else test_pid
    alone = isolation.own_processes and os.getpid() == 1
    if alone:
        _kill(-1)
    else:
        _kill(-test_pid)
        _kill(-code_pid)
        if isolation.full:
            process_tree.kill_descendants()
    status = {child: os.waitpid(child, 0)[1] for child in (test_pid, code_pid)}
    _reap(wait=alone)
    return status[failed]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(group, signal.SIGKILL)


def _has_succeeded(child: int) -> bool:
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    return ended is not None and ended.si_code == os.CLD_EXITED and ended.si_status == 0


def _wait_for_exit(*children: int) -> None:
    """Let the processes exit by themselves for a moment, so that their exit status is meaningful."""
    end = time.monotonic() + 0.2
    while time.monotonic() < end and not all(map(_has_ended, children)):
        time.sleep(0.001)


def _reap(*, wait: bool) -> None:
    """Collect ended children. With `wait`, wait for all of them, so that none remains for the next test."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if wait else os.WNOHANG)[0]:
            pass


def _apply_report(pair: ProcessPair, output: bytes) -> None:
    """Apply the report of the tests' process, up to the first invalid line."""
    for line in output.splitlines():
        report = _report(line)
        if "test" in report and report["test"] in pair.tests and report["test"] not in pair.results:
            pair.results[report["test"]] = (report["passed"] is True, str(report["message"])[:1000], _line(report))
        elif "loaded" in report and not pair.loaded:
            pair.loaded = report["loaded"] is True
            if not pair.loaded:
                pair.reason = (False, str(report["message"])[:1000], _line(report))
        elif report.get("lost") == BROKEN:
            pair.reason = (False, "the code wrote into its connection to the tests", None)
        elif "lost" not in report:
            return


def _report(line: bytes) -> dict[str, Any]:
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return (
        report
        if isinstance(report, dict) and {"message"} <= report.keys() | ({"message"} if "lost" in report else set())
        else {}
    )


def _line(report: dict[str, Any]) -> int | None:
    return report["line"] if type(report.get("line")) is int else None


def _exit_reason(status: int) -> str:
    if os.WIFEXITED(status):
        unreadable = "could not be run, since its user cannot read Python's library,"
        return unreadable if os.WEXITSTATUS(status) == UNREADABLE else "ended the program"
    if os.WTERMSIG(status) == signal.SIGXCPU:
        return "ran out of time"
    if limit := process_tree.reported_limit():
        return limit
    return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"


def _send(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
