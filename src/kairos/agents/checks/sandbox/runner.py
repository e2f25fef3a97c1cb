"""The process that runs the tests, evaluates their assertions and reports. Uses only the standard library.

The answer's code is never loaded here. The tests use proxies for the objects in the answer's process
(`object_proxies`), and results of calls are plain data built by this process (`codec`). So no object, builtin, frame,
signal handler or changed module of the answer influences whether an assertion holds.  Not guaranteed:  - Code that
recognises the inputs of the tests and answers only those passes. - Two objects of the answer are compared by their own
`__eq__`, and methods of a class that the tests name return   arbitrary results: `Stack().is_empty()` is as reliable as
the tests that follow it. - Tests that `eval`, `exec` or unpickle results of the answer give it control of this process.
- Code shares /work and /tmp with the tests, so it controls the content of files there.
"""

from __future__ import annotations

import builtins
import inspect
import json
import os
import socket
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

from kairos.agents.checks.sandbox import access_control, object_proxies, shared_environment
from kairos.agents.checks.sandbox.answer import MODULES
from kairos.agents.checks.sandbox.assertions import (
    CHECK,
    FAIL,
    CompiledStatement,
    FailedAssertion,
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
"""Builtins that the answer cannot redefine for the tests.

Others can be under test, such as `sum`, `sorted`, or the answer's own `TimeoutError`.
"""
CaseOutcome = tuple[bool, str, int | None]
"""Whether the test passed, the failure message, and the line of the answer."""


def run(plan: dict[str, Any], number: int, link: socket.socket, write: Callable[[bytes], object]) -> NoReturn:
    """Load the answer in its process, run the statements, then the test function with this number, if any."""
    end = os._exit
    _hide()

    def report(**fields: Any) -> None:
        write(json.dumps(fields).encode() + b"\n")

    try:
        _run(plan, number, Peer(link, trusted=True, line_of=lambda _: None), report)
    except ConnectionLost as lost:
        report(lost=str(lost))
    except BaseException:
        report(lost=BROKEN)  # the answer's process sent invalid names
    end(0)


def _run(plan: dict[str, Any], number: int, peer: Peer, report: Callable[..., None]) -> None:
    peer.guard(access_control.allowed)
    shared_environment.share(peer, set(plan["names"]["mentioned"]))
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
"""Builtins that can decide assertions. The answer's versions are used only if the tests import them by name."""


def _hide() -> None:
    """Make Kairos unavailable for import."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kairos":
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")


def _namespace(peer: Peer, module: Any, names: SourceNames) -> dict[str, Any]:
    """Return the tests' namespace: the answer's names that they mention, except protected builtins."""
    for name in MODULES:
        sys.modules[name] = module
    found = {name: value for name, value in peer.request("names", names["mentioned"]) if name in names["mentioned"]}
    classes = {name for name in names["free"] if name.lstrip("_")[:1].isupper() and name not in dir(builtins)}
    peer.named |= {found[name] for name in classes & found.keys() if type(found[name]) is object_proxies.ProxyType}
    own = {name: value for name, value in found.items() if name not in PROTECTED and not name.startswith("__")}
    if names["whole"] or any(name in names["free"] and name not in dir(builtins) for name in own):
        own = {name: value for name, value in own.items() if not _is_tool(name, names)}
    own = {name: value for name, value in own.items() if name not in DECIDING_BUILTINS or name in names["imported"]}
    own |= {name: __import__(name) for name in own if name in names["modules"] or _is_library(name, own[name])}
    return {**own, "__name__": "tests", "__builtins__": builtins, CHECK: check_assertion, FAIL: FailedAssertion}


def _is_tool(name: str, names: SourceNames) -> bool:
    """Whether the name is a builtin function (`all`, `abs`, `sorted`) that the tests do not import from the answer."""
    return (
        callable(getattr(builtins, name, None))
        and not isinstance(getattr(builtins, name), type(OSError))
        and name not in names["imported"]
    )


def _is_library(name: str, value: Any) -> bool:
    is_module = type(type(value)) is object_proxies.ProxyType and type(value).__name__ == "module"
    return is_module and name in sys.stdlib_module_names


def _run_statements(
    steps: list[CompiledStatement], tests: dict[str, Any], report: Callable[..., None], peer: Peer, *, silent: bool
) -> CaseOutcome | None:
    """Run the statements in order. A failed set-up statement is the outcome of all later tests, and is returned."""
    setup_failure: CaseOutcome | None = None
    for step in steps:
        name = "" if step.test is not None else "the set-up of the tests"
        outcome = setup_failure or _outcome(lambda code=step.code: exec(code, tests), name, step.line, peer)  # noqa: S102
        if step.test is None and not outcome[0]:
            setup_failure = outcome
        if step.test is not None and not silent:
            report(test=step.test, passed=outcome[0], message=outcome[1], line=outcome[2])
    return setup_failure


def _called(function: Any) -> None:
    result = function()
    if inspect.iscoroutine(result):
        import asyncio  # half of what the sandbox imports, and few tests need it

        asyncio.run(result)


def _outcome(work: Callable[[], object], name: str, line: int | None, peer: Peer) -> CaseOutcome:
    """Run the work, and return its outcome. `name` and `line` identify it in the message."""
    place = f"line {line} of the tests"
    where = (f"{name} ({place})" if name else place) if line else name
    outcome: CaseOutcome = (True, "", None)
    try:
        work()
    except FailedAssertion as failed_assertion:
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
    return f"{message} (only the standard library is available)" if isinstance(fault, ModuleNotFoundError) else message
