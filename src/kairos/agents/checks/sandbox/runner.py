"""The process of the tests: it runs them, trusted their assertions and reports. Standard library alone.

The answer's code is never loaded here. The tests' names for it are stand-ins for what lives in the answer's process
(`mirrors`), results of calls are plain data that this process built itself (`codec`), and so no object, builtin, frame,
signal handler or changed module of the answer's takes part in the decision whether an assertion holds.

Not guaranteed:
- Code that recognises the tests' inputs and answers only those passes.
- Two objects of the answer's own are compared by its own `__eq__`, and what a method of a class that the tests name
  returns is up to that class: `Stack().is_empty()` is as good as the tests that follow it.
- Tests that `eval`, `exec` or unpickle what the answer returned hand this process over to it.
- Code shares /work and /tmp with the tests: what is read back from a file is what the code left there.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import json
import os
import socket
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

from kairos.agents.checks.sandbox import mirrors, reach, surroundings
from kairos.agents.checks.sandbox.answer import MODULES
from kairos.agents.checks.sandbox.assertions import (
    CHECK,
    UNMET,
    AssertionUnmet,
    CompiledStatement,
    check_assertion,
    text,
)
from kairos.agents.checks.sandbox.names import SourceNames
from kairos.agents.checks.sandbox.peer import BROKEN, LINE, ConnectionLost, Peer

PROTECTED = frozenset(
    {
        *("isinstance", "issubclass", "type", "object", "getattr", "hasattr", "callable", "id", "len", "repr"),
        *("str", "int", "float", "complex", "bool", "bytes", "list", "tuple", "dict", "set", "frozenset", "super"),
        *(name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)),
        "BaseException",
    }
    - {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, OSError)}
)
"""Builtins that tests keep, even if the answer defines the name.

Others may be what is tested: `sum`, `sorted`, or a `TimeoutError` of the answer's own.
"""
CaseOutcome = tuple[bool, str, int | None]
"""Whether it passed, message for how it did not, the line of the answer."""


def run(plan: dict[str, Any], number: int, link: socket.socket, write: Callable[[bytes], object]) -> NoReturn:
    """Load the answer in its process, run the steps, then the test function of this number if it is one."""
    end = os._exit
    _hide()

    def report(**fields: Any) -> None:
        write(json.dumps(fields).encode() + b"\n")

    try:
        _run(plan, number, Peer(link, trusted=True, line_of=lambda _: None), report)
    except ConnectionLost as lost:
        report(lost=str(lost))
    except BaseException:
        report(lost=BROKEN)  # what the answer's process sent as its names is none
    end(0)


def _run(plan: dict[str, Any], number: int, peer: Peer, report: Callable[..., None]) -> None:
    peer.guard(reach.allowed)
    surroundings.share(peer, set(plan["names"]["mentioned"]))
    call = next((call for call in plan["calls"] if call[2] == number), None)
    module: list[Any] = []
    passed, message, line = _outcome(lambda: module.append(peer.request("load", True)), "the code", None, peer)
    report(loaded=passed, message=message, line=line)
    if not passed:
        return
    tests = _namespace(peer, module[0], plan["names"])
    steps = [CompiledStatement(*step) for step in plan["steps"]]
    setup_failure = _run_statements(steps, tests, report, peer, silent=call is not None)
    if call is not None:
        name, at, test = call
        passed, message, line = setup_failure or _outcome(lambda: _called(tests[name]), name, at, peer)
        report(test=test, passed=passed, message=message, line=line)


DECIDING_BUILTINS = frozenset({"all", "any", "next", "vars", "dir", "iter", "eval", "exec", "globals", "locals"})
"""Builtins by which tests judge. They are the answer's only where the tests import them from it by name."""


def _hide() -> None:
    """The tests cannot import Kairos."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kairos":
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")


def _namespace(peer: Peer, module: Any, names: SourceNames) -> dict[str, Any]:
    """The tests' names: the answer's that they mention, without those that decide what a test means."""
    for name in MODULES:
        sys.modules[name] = module
    found = {name: value for name, value in peer.request("names", names["mentioned"]) if name in names["mentioned"]}
    classes = {name for name in names["free"] if name.lstrip("_")[:1].isupper() and name not in dir(builtins)}
    peer.named |= {found[name] for name in classes & found.keys() if type(found[name]) is mirrors.ProxyType}
    own = {name: value for name, value in found.items() if name not in PROTECTED and not name.startswith("__")}
    if names["whole"] or any(name in names["free"] and name not in dir(builtins) for name in own):
        own = {name: value for name, value in own.items() if not _is_tool(name, names)}
    own = {name: value for name, value in own.items() if name not in DECIDING_BUILTINS or name in names["imported"]}
    own |= {name: __import__(name) for name in own if name in names["modules"] or _is_library(name, own[name])}
    return {**own, "__name__": "tests", "__builtins__": builtins, CHECK: check_assertion, UNMET: AssertionUnmet}


def _is_tool(name: str, names: SourceNames) -> bool:
    """A builtin function (`all`, `abs`, `sorted`) in tests of something else: it trusted, and is not the answer's."""
    return (
        callable(getattr(builtins, name, None))
        and not isinstance(getattr(builtins, name), type(OSError))
        and name not in names["imported"]
    )


def _is_library(name: str, value: Any) -> bool:
    is_module = type(type(value)) is mirrors.ProxyType and type(value).__name__ == "module"
    return is_module and name in sys.stdlib_module_names


def _run_statements(
    steps: list[CompiledStatement], tests: dict[str, Any], report: Callable[..., None], peer: Peer, *, silent: bool
) -> CaseOutcome | None:
    """Run the statements in order, as Python would. What prepares and fails is the outcome of all that come after."""
    setup_failure: CaseOutcome | None = None
    for step in steps:
        what = "" if step.test is not None else "what prepares the tests"
        outcome = setup_failure or _outcome(lambda code=step.code: exec(code, tests), what, step.line, peer)  # noqa: S102
        if step.test is None and not outcome[0]:
            setup_failure = outcome
        if step.test is not None and not silent:
            report(test=step.test, passed=outcome[0], message=outcome[1], line=outcome[2])
    return setup_failure


def _called(function: Any) -> None:
    result = function()
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _outcome(work: Callable[[], object], what: str, line: int | None, peer: Peer) -> CaseOutcome:
    """Whether the work ended well, message for how it did not, and the line of the answer that it failed on."""
    place = f"line {line} of the tests"
    where = (f"{what} ({place})" if what else place) if line else what
    outcome: CaseOutcome = (True, "", None)
    try:
        work()
    except AssertionUnmet as failed_assertion:
        outcome = False, f"{where}: {failed_assertion}"[:1000], None
    except SystemExit as exit_:
        outcome = False, f"{where} ended the program (exit code {text(exit_.code)})"[:1000], _line(exit_)
    except ConnectionLost:
        pass
    except BaseException as fault:
        message = f"{type(fault).__name__}: {_message(fault)}".rstrip(": ")
        outcome = False, f"{where} raised {message}"[:1000], _line(fault)
    if peer.lost:
        raise ConnectionLost(peer.lost)
    if outcome[0] and peer.failed_assertion is not None:
        return False, f"{where}: {peer.failed_assertion} (the code kept this from the test)"[:1000], None
    return outcome


def _line(fault: BaseException) -> int | None:
    line = fault.__dict__.get(LINE)
    return line if type(line) is int else None


def _message(fault: BaseException) -> str:
    message = ", ".join(value if isinstance(value, str) else text(value) for value in fault.args)
    return f"{message} (only the standard library is there)" if isinstance(fault, ModuleNotFoundError) else message
