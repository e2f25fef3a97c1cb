"""The process between Kairos and the code: it loads neither the answer nor the tests, so what it says can be trusted.

A question comes on standard input, results leave on standard output, one JSON line each. Every `test_*` function has a
pair of processes of its own (an endless loop, an exit or a crash costs that test alone); the bare statements share one
pair, since each may depend on those before it. Of a pair, one process runs the tests (`runner`) and reports through a
pipe that the other one does not have; the other one runs the answer's code (`answer`) and serves the first one over a
socket. The tests are read and compiled by a process of their own, within the limits: the answer's process is made by
this one, which has never held them.
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
"""Whether it passed, message for how it did not, the line of the answer."""
RESULT_BYTES = 4 << 20
"""Most that one process may report; a thousand tests' failures fit."""
SECOND = 1.0
GLANCE_S = 0.05
GRACE_S = 0.5
"""What tests may go on for after the answer's process has ended."""
UNREADABLE = 78
"""Exit status where the code's user cannot read Python's library, and it could not be mounted elsewhere."""


@dataclass(slots=True)
class ProcessPair:
    """One pair of processes, and what came of it."""

    tests: list[int]
    loaded: bool = False
    results: dict[int, CaseOutcome] = field(default_factory=dict)
    reason: CaseOutcome | None = None
    """What stands for the tests that have no result of their own."""

    def outcome(self, test: int) -> CaseOutcome:
        reason = self.reason or (False, "the code ended the program while it was tested", None)
        return self.results.get(test, reason)


def main() -> None:
    """Build the isolation, then work as the first process within them."""
    question = json.loads(_exactly(int.from_bytes(_exactly(8), "big")))
    jail.die_with_parent()
    isolation = jail.build(question["folder"])
    limits = jail.Limits(**question["limits"])
    limits = replace(limits, processes=limits.processes + 1)  # the answer's process beside that of the tests
    reading, writing = os.pipe()
    lock = process_tree.ProcessLock()
    child = os.fork()
    if child:
        os.close(reading)
        tree = jail.resource_monitor(child, limits)
        status = process_tree.enforce_limits(tree, writing, lock) if tree else os.waitpid(child, 0)[1]
        os._exit(0 if status == 0 else 1)
    os.close(writing)
    process_tree.connect_monitor(reading, lock)
    jail.enter_init_process()
    _send({"method": isolation.method, "unavailable_reason": isolation.unavailable_reason})
    if isolation.full or question["weak"]:
        _work(question, limits, isolation)
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


def _work(question: dict[str, Any], limits: jail.Limits, isolation: jail.Isolation) -> None:
    end = time.monotonic() + question["seconds"]
    plan, fault = _compiled(limits, isolation, end)
    pairs = [ProcessPair(tests) for tests in question["pairs"]]
    reason: CaseOutcome | None = None
    if fault:
        reason = (False, f"the tests could not be compiled within the limits: their process {fault}", None)
    for number, pair in enumerate(pairs):
        if reason is None and time.monotonic() >= end:
            reason = (False, "the time for all tests was over before this one began", None)
        if reason is None:
            _run(pair, question["answer"], plan, limits, isolation, _share(end, last=number == len(pairs) - 1))
            if not pair.loaded:
                reason = pair.reason  # what does not load for one test does not load for the next
        else:
            pair.reason = reason
        for test in pair.tests:
            passed, message, line = pair.outcome(test)
            _send({"test": test, "passed": passed, "message": message, "line": line})


def _share(end: float, *, last: bool) -> float:
    """Until when a pair may run: half of what is left, so that one endless loop does not cost all other tests."""
    left = end - time.monotonic()
    return end if last else end - left + max(left / 2, min(left, SECOND))


def _compiled(limits: jail.Limits, isolation: jail.Isolation, end: float) -> tuple[int, str]:
    """The tests, read from standard input and compiled by a process of their own: a descriptor to read them from, and
    how that process failed, if it did."""
    plan = os.memfd_create("tests") if hasattr(os, "memfd_create") else _unnamed_file()
    child = _forked(lambda: (_confine([0, plan], limits, isolation), _compile(plan)))
    while not _has_ended(child):
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    return plan, _exit_reason(status) if status else ""


def _forked(work: Callable[[], object]) -> int:
    """A process that does the work and never comes back from it."""
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
    """One pair: started, listened to until it ends or its time is over, and ended with all that it started."""
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()

    def code() -> None:
        _confine([theirs.fileno()], limits, isolation)
        answer.run(source, theirs)

    def test() -> None:
        _confine([plan, ours.fileno(), writing], limits, isolation)
        runner.run(_read(plan), pair.tests[0], ours, lambda data: os.write(writing, data))

    with process_tree.starting_processes():
        coded, tested = _forked(code), _forked(test)
    os.close(writing)
    ours.close()
    theirs.close()
    output, in_time = _collect(reading, tested, coded, end)
    os.close(reading)
    status = _end_all(tested, coded, isolation, in_time=in_time)
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
    """No input, no output, no open file but those kept, no privilege."""
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


def _collect(reading: int, tested: int, coded: int, end: float) -> tuple[bytes, bool]:
    """What the tests report until they end or close their end of the pipe, and whether that was in time.

    That they ended is asked for, too: what they started may keep the pipe open, and would cost all the time there is.
    Once the answer's process has ended they get a moment more: what it started may keep the socket open.
    """
    output = b""
    while (left := end - time.monotonic()) > 0:
        over = _has_ended(tested)
        if not over and left > GRACE_S and _has_ended(coded):
            end = time.monotonic() + GRACE_S
        ready, _, _ = select.select([reading], [], [], 0 if over else min(left, GLANCE_S))
        if not ready:
            if over:
                return output, True
            continue
        data = os.read(reading, 1 << 16)
        if not data or len(output) > RESULT_BYTES:
            return output, True
        output += data
    return output, _has_ended(coded)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_all(tested: int, coded: int, isolation: jail.Isolation, *, in_time: bool) -> int:
    """End both processes and what they started; how the one that broke off ended: the answer's, if it did by itself.

    Within our own namespace -1 is everything but us. Elsewhere it would be the machine: there it is what lies below us,
    or where the system does not show that, the session alone, and `box` ends what left it.
    """
    if in_time:
        _wait_for_exit(tested, coded)
    broke_off = coded if _has_ended(coded) and not _ended_well(coded) else tested
    alone = isolation.own_processes and os.getpid() == 1
    if alone:
        _kill(-1)
    else:
        _kill(-tested)
        _kill(-coded)
        if isolation.full:
            process_tree.kill_descendants()
    status = {child: os.waitpid(child, 0)[1] for child in (tested, coded)}
    _reap(wait=alone)
    return status[broke_off]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(group, signal.SIGKILL)


def _ended_well(child: int) -> bool:
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    return ended is not None and ended.si_code == os.CLD_EXITED and ended.si_status == 0


def _wait_for_exit(*children: int) -> None:
    """Let them end by themselves for a moment, so that their status tells how they ended."""
    end = time.monotonic() + 0.2
    while time.monotonic() < end and not all(map(_has_ended, children)):
        time.sleep(0.001)


def _reap(*, wait: bool) -> None:
    """Until none is left where all were killed, so that the next test meets none of them; else who has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if wait else os.WNOHANG)[0]:
            pass


def _apply_report(pair: ProcessPair, output: bytes) -> None:
    """Take over what the tests' process reported. The first line that is no report ends it."""
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
        unreadable = "could not be run, for its user may not read Python's library,"
        return unreadable if os.WEXITSTATUS(status) == UNREADABLE else "ended the program"
    if os.WTERMSIG(status) == signal.SIGXCPU:
        return "ran out of time"
    if excess := process_tree.reported_excess():
        return excess
    return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"


def _send(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
