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

Outcome = tuple[bool, str, int | None]
"""Whether it passed, words for how it did not, the line of the answer."""
RESULT_BYTES = 4 << 20
"""Most that one process may report; a thousand tests' failures fit."""
SECOND = 1.0
GLANCE_S = 0.05
GRACE_S = 0.5
"""What tests may go on for after the answer's process has ended."""
UNREADABLE = 78
"""Exit status where the code's user cannot read Python's library, and it could not be mounted elsewhere."""


@dataclass(slots=True)
class Trial:
    """One pair of processes, and what came of it."""

    tests: list[int]
    loaded: bool = False
    results: dict[int, Outcome] = field(default_factory=dict)
    reason: Outcome | None = None
    """What stands for the tests that have no result of their own."""

    def outcome(self, test: int) -> Outcome:
        reason = self.reason or (False, "the code ended the program while it was tested", None)
        return self.results.get(test, reason)


def main() -> None:
    """Build the walls, then work as the first process within them."""
    question = json.loads(_exactly(int.from_bytes(_exactly(8), "big")))
    jail.die_with_parent()
    walls = jail.build(question["folder"])
    limits = jail.Limits(**question["limits"])
    limits = replace(limits, processes=limits.processes + 1)  # the answer's process beside that of the tests
    hearing, telling = os.pipe()
    turn = process_tree.Turn()
    child = os.fork()
    if child:
        os.close(hearing)
        tree = jail.watched(child, limits)
        status = process_tree.watch(tree, telling, turn) if tree else os.waitpid(child, 0)[1]
        os._exit(0 if status == 0 else 1)
    os.close(telling)
    process_tree.tell_of(hearing, turn)
    jail.begin_first_process()
    _say({"way": walls.way, "lacks": walls.lacks})
    if walls.full or question["weak"]:
        _work(question, limits, walls)
    _say({"end": True})
    os._exit(0)


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = os.read(0, length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _work(question: dict[str, Any], limits: jail.Limits, walls: jail.Walls) -> None:
    end = time.monotonic() + question["seconds"]
    plan, fault = _compiled(limits, walls, end)
    trials = [Trial(tests) for tests in question["trials"]]
    reason: Outcome | None = None
    if fault:
        reason = (False, f"the tests could not be compiled within the limits: their process {fault}", None)
    for number, trial in enumerate(trials):
        if reason is None and time.monotonic() >= end:
            reason = (False, "the time for all tests was over before this one began", None)
        if reason is None:
            _run(trial, question["answer"], plan, limits, walls, _share(end, last=number == len(trials) - 1))
            if not trial.loaded:
                reason = trial.reason  # what does not load for one test does not load for the next
        else:
            trial.reason = reason
        for test in trial.tests:
            passed, words, line = trial.outcome(test)
            _say({"test": test, "passed": passed, "words": words, "line": line})


def _share(end: float, *, last: bool) -> float:
    """Until when a pair may run: half of what is left, so that one endless loop does not cost all other tests."""
    left = end - time.monotonic()
    return end if last else end - left + max(left / 2, min(left, SECOND))


def _compiled(limits: jail.Limits, walls: jail.Walls, end: float) -> tuple[int, str]:
    """The tests, read from standard input and compiled by a process of their own: a descriptor to read them from, and
    how that process failed, if it did."""
    plan = os.memfd_create("tests") if hasattr(os, "memfd_create") else _unnamed_file()
    child = _forked(lambda: (_become([0, plan], limits, walls), _compile(plan)))
    while not _has_ended(child):
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    return plan, _death(status) if status else ""


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
        told = json.load(file)
    statements = {int(at): test for at, test in told["statements"].items()}
    steps = assertions.prepare(told["source"], statements, told["left_out"])
    packed = marshal.dumps(
        {
            "calls": told["calls"],
            "names": names_in(told["source"]),
            "steps": [(step.code, step.line, step.test) for step in steps],
        }
    )
    with open(plan, "wb", closefd=False) as file:
        file.write(packed)


def _run(trial: Trial, source: str, plan: int, limits: jail.Limits, walls: jail.Walls, end: float) -> None:
    """One pair: started, listened to until it ends or its time is over, and ended with all that it started."""
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()

    def code() -> None:
        _become([theirs.fileno()], limits, walls)
        answer.run(source, theirs)

    def test() -> None:
        _become([plan, ours.fileno(), writing], limits, walls)
        runner.run(_read(plan), trial.tests[0], ours, lambda data: os.write(writing, data))

    with process_tree.starting():
        coded, tested = _forked(code), _forked(test)
    os.close(writing)
    ours.close()
    theirs.close()
    heard, in_time = _listen(reading, tested, coded, end)
    os.close(reading)
    status = _end_all(tested, coded, walls, in_time=in_time)
    _believe(trial, heard)
    if trial.reason is None:
        words = _death(status) if in_time else "ran out of time"
        trial.reason = (False, f"the code {words} while it was {'tested' if trial.loaded else 'loaded'}", None)


def _read(plan: int) -> dict[str, Any]:
    data, at = [], 0
    while part := os.pread(plan, 1 << 20, at):
        data.append(part)
        at += len(part)
    return marshal.loads(b"".join(data))


def _become(kept: list[int], limits: jail.Limits, walls: jail.Walls) -> None:
    """No input, no output, no open file but those kept, no privilege."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2}.difference(kept):
        os.dup2(null, stream)
    edges = [2, *sorted(descriptor for descriptor in kept if descriptor > 2), 1 << 16]
    for low, high in pairwise(edges):
        os.closerange(low + 1, high)
    jail.drop(limits, walls.user)
    if not jail.can_read_python():
        os._exit(UNREADABLE)


def _listen(reading: int, tested: int, coded: int, end: float) -> tuple[bytes, bool]:
    """What the tests report until they end or close their end of the pipe, and whether that was in time.

    That they ended is asked for, too: what they started may keep the pipe open, and would cost all the time there is.
    Once the answer's process has ended they get a moment more: what it started may keep the socket open.
    """
    heard = b""
    while (left := end - time.monotonic()) > 0:
        over = _has_ended(tested)
        if not over and left > GRACE_S and _has_ended(coded):
            end = time.monotonic() + GRACE_S
        ready, _, _ = select.select([reading], [], [], 0 if over else min(left, GLANCE_S))
        if not ready:
            if over:
                return heard, True
            continue
        data = os.read(reading, 1 << 16)
        if not data or len(heard) > RESULT_BYTES:
            return heard, True
        heard += data
    return heard, _has_ended(coded)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_all(tested: int, coded: int, walls: jail.Walls, *, in_time: bool) -> int:
    """End both processes and what they started; how the one that broke off ended: the answer's, if it did by itself.

    Within our own namespace -1 is everything but us. Elsewhere it would be the machine: there it is what lies below us,
    or where the system does not show that, the session alone, and `box` ends what left it.
    """
    if in_time:
        _wait_for_exit(tested, coded)
    broke_off = coded if _has_ended(coded) and not _ended_well(coded) else tested
    alone = walls.own_processes and os.getpid() == 1
    if alone:
        _kill(-1)
    else:
        _kill(-tested)
        _kill(-coded)
        if walls.full:
            process_tree.end_all_below()
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


def _believe(trial: Trial, heard: bytes) -> None:
    """Take over what the tests' process reported. The first line that is no report ends it."""
    for line in heard.splitlines():
        said = _report(line)
        if "test" in said and said["test"] in trial.tests and said["test"] not in trial.results:
            trial.results[said["test"]] = (said["passed"] is True, str(said["words"])[:1000], _line(said))
        elif "loaded" in said and not trial.loaded:
            trial.loaded = said["loaded"] is True
            if not trial.loaded:
                trial.reason = (False, str(said["words"])[:1000], _line(said))
        elif said.get("lost") == BROKEN:
            trial.reason = (False, "the code wrote into its connection to the tests", None)
        elif "lost" not in said:
            return


def _report(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return (
        said if isinstance(said, dict) and {"words"} <= said.keys() | ({"words"} if "lost" in said else set()) else {}
    )


def _line(said: dict[str, Any]) -> int | None:
    return said["line"] if type(said.get("line")) is int else None


def _death(status: int) -> str:
    if os.WIFEXITED(status):
        unreadable = "could not be run, for its user may not read Python's library,"
        return unreadable if os.WEXITSTATUS(status) == UNREADABLE else "ended the program"
    if os.WTERMSIG(status) == signal.SIGXCPU:
        return "ran out of time"
    if excess := process_tree.excess_told():
        return excess
    return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
