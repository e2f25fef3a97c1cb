"""The process between Kairos and the code that is tested: it never loads that code, so what it says can be trusted.

A question comes on standard input, results leave on standard output, one JSON line each. Every `test_*` function has a
process of its own (an endless loop, an exit or a crash costs that test alone); the bare statements share one, since
each may depend on those before it. The results of a process come through a pipe and must carry its token.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from kairos.agents.checks.sandbox import jail, process_tree, runner

Outcome = tuple[bool, str, int | None]
"""Whether it passed, words for how it did not, the line of the answer."""
RESULT_BYTES = 1 << 20
"""Most that one process may report; a thousand tests' failures fit."""


SECOND = 1.0


@dataclass(slots=True)
class Trial:
    """One process of tests, and what came of it."""

    tests: list[int]
    call: runner.Call | None = None
    loaded: bool = False
    forged: bool = False
    """The code was caught at the results: none of them counts."""
    results: dict[int, Outcome] = field(default_factory=dict)
    reason: Outcome | None = None
    """What stands for the tests that have no result of their own."""

    def outcome(self, test: int) -> Outcome:
        reason = self.reason or (False, "the code ended the program while it was tested", None)
        return reason if self.forged else self.results.get(test, reason)


def main() -> None:
    """Build the walls, then work as the first process within them."""
    question = json.load(sys.stdin)
    jail.die_with_parent()
    walls = jail.build(question["folder"])
    hearing, telling = os.pipe()
    child = os.fork()
    if child:
        os.close(hearing)
        tree = jail.watched(child, jail.Limits(**question["limits"]))
        status = process_tree.watch(tree, telling) if tree else os.waitpid(child, 0)[1]
        os._exit(0 if status == 0 else 1)
    os.close(telling)
    process_tree.tell_of(hearing)
    jail.begin_first_process()
    _say({"way": walls.way, "lacks": walls.lacks})
    if walls.full or question["weak"]:
        _work(question, walls)
    _say({"end": True})
    os._exit(0)


def _work(question: dict[str, Any], walls: jail.Walls) -> None:
    limits = jail.Limits(**question["limits"])
    statements = {int(at): test for at, test in question["statements"].items()}
    steps = runner.prepare(question["tests"], statements, question["left_out"])
    end = time.monotonic() + question["seconds"]
    trials = _trials(question)
    reason: Outcome | None = None
    for number, trial in enumerate(trials):
        if reason is None and time.monotonic() >= end:
            reason = (False, "the time for all tests was over before this one began", None)
        if reason is None:
            _run(trial, question["answer"], steps, limits, walls, _share(end, last=number == len(trials) - 1))
            if not trial.loaded:
                reason = trial.reason  # what does not load for one test does not load for the next
        else:
            trial.reason = reason
        for test in trial.tests:
            passed, words, line = trial.outcome(test)
            _say({"test": test, "passed": passed, "words": words, "line": line})


def _share(end: float, *, last: bool) -> float:
    """Until when a process may run: half of what is left, so that one endless loop does not cost all other tests."""
    left = end - time.monotonic()
    return end if last else end - left + max(left / 2, min(left, SECOND))


def _trials(question: dict[str, Any]) -> list[Trial]:
    bare = sorted(question["statements"].values())
    calls = [Trial([test], runner.Call(name, line, test)) for name, line, test in question["calls"]]
    return [Trial(bare), *calls] if bare else calls


def _run(
    trial: Trial, answer: str, steps: list[runner.Step], limits: jail.Limits, walls: jail.Walls, end: float
) -> None:
    """One process: started, listened to until it ends or its time is over, and ended with all that it started."""
    token = secrets.token_hex(16)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_test(writing, limits, walls)
        write = os.write
        runner.run(answer, steps, trial.call, lambda data: write(writing, data), token)
    os.close(writing)
    heard, in_time = _listen(reading, child, end)
    os.close(reading)
    status = _end_all(child, walls, in_time=in_time)
    _believe(trial, heard, token)
    if trial.reason is None:
        words = _death(status) if in_time else "ran out of time"
        trial.reason = (False, f"the code {words} while it was {'tested' if trial.loaded else 'loaded'}", None)


def _become_test(writing: int, limits: jail.Limits, walls: jail.Walls) -> None:
    """No input, no output, no open file but the results' pipe, no privilege."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.closerange(3, writing)
    os.closerange(writing + 1, 1 << 16)
    jail.drop(limits, walls.user)
    if not jail.can_read_python():
        os._exit(UNREADABLE)


UNREADABLE = 78
"""Exit status where the code's user cannot read Python's library, and it could not be mounted elsewhere."""


def _listen(reading: int, child: int, end: float) -> tuple[bytes, bool]:
    """What the process says until it ends or closes its end, and whether that was in time.

    That it ended is asked for, too: what it started may keep the pipe open, and would cost all the time there is.
    """
    heard = b""
    while (left := end - time.monotonic()) > 0:
        over = _has_ended(child)
        ready, _, _ = select.select([reading], [], [], 0 if over else min(left, GLANCE_S))
        if not ready:
            if over:
                return heard, True
            continue
        data = os.read(reading, 1 << 16)
        if not data or len(heard) > RESULT_BYTES:
            return heard, True
        heard += data
    return heard, False


GLANCE_S = 0.05


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_all(child: int, walls: jail.Walls, *, in_time: bool) -> int:
    """End the process and what it started; how it ended by itself, if it did.

    Within our own namespace -1 is everything but us. Elsewhere it would be the machine: there it is what lies below us,
    or where the system does not show that, the session alone, and `box` ends what left it.
    """
    if in_time:
        _wait_for_exit(child)
    alone = walls.own_processes and os.getpid() == 1
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if alone:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(child, signal.SIGKILL)
            if walls.full:
                process_tree.end_all_below()
    _, status = os.waitpid(child, 0)
    _reap(wait=alone)
    return status


def _wait_for_exit(child: int) -> None:
    """It closed its pipe: let it end by itself for a moment, so that its status tells how it ended."""
    end = time.monotonic() + 0.2
    while time.monotonic() < end and not _has_ended(child):
        time.sleep(0.001)


def _reap(*, wait: bool) -> None:
    """Until none is left where all were killed, so that the next test meets none of them; else who has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0 if wait else os.WNOHANG)[0]:
            pass


def _believe(trial: Trial, heard: bytes, token: str) -> None:
    """Take over what carries the token. Anything else in the pipe was written by the code that is tested."""
    for line in heard.splitlines():
        report = _report(line, token)
        if report is None or (report[0] is not None and (report[0] not in trial.tests or report[0] in trial.results)):
            trial.forged = True
            trial.reason = (False, "the code wrote into the pipe of the test results", None)
            return
        test, outcome = report
        if test is not None:
            trial.results[test] = outcome
        elif outcome[0]:
            trial.loaded = True
        else:
            trial.forged, trial.reason = trial.loaded, outcome


def _report(line: bytes, token: str) -> tuple[int | None, Outcome] | None:
    """One line as `runner._reporter` writes it; None when it is not."""
    try:
        mark, test, passed, at, words = line.decode("ascii").split(" ")
        outcome = (passed == "True", bytes.fromhex(words).decode(), None if at == "None" else int(at))
        return (None if test == "None" else int(test), outcome) if mark == token else None
    except ValueError:
        return None


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
