"""Runs the tests of one process against the answer's code, and reports what happened. Standard library alone.

This is the only part that shares a process with the answer's code. What that code is kept from:

- Names: tests and answer have a namespace each; the tests see copies of the answer's names, their own win, and names
  that decide what a test means (`isinstance`, `AssertionError`, `len`, …) are not taken from the answer. Tests, runner
  and answer have a dictionary of builtins each, so that a changed builtin changes nothing here.
- Assertions are rewritten before the answer is loaded: they call functions of this file, not `AssertionError`.
- Objects that are equal to everything, or contain everything, are found by asking them about things of our own.
- Reports carry a token that only lives in local variables of this file, and only the process that was started may
  report. Ending early (`sys.exit`, `os._exit`, a crash) reports nothing, and what reports nothing has failed.
- Frames, by which those locals could be reached: an audit hook, which Python code cannot take off again, ends the test
  when anything asks for one but the few functions of the standard library that keep it to themselves (`KEEPERS`); and
  when code is made that says it is from another file.

What remains: code that runs in the same process as its tests can in the end do what the tests can do. Code written to
defeat this (native memory access that the guardian's syntax check did not see, a function of the standard library that
is given a foreign class or loader and hands it a frame or a file's name) can forge a success for itself. It cannot
forge one for a task whose tests it does not share a process with, and it stays within the jail.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import inspect
import operator
import os
import reprlib
import sys
import threading
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

_BUILTINS = dict(vars(builtins))
globals()["__builtins__"] = _BUILTINS
"""As they were before any answer was loaded. Functions keep the builtins that their globals hold when they are made."""

ANSWER, TESTS = "answer.py", "tests.py"
MODULES = ("answer", "solution")
"""Names under which tests may import the answer's code."""
MEET, UNMET = "@meet", "@unmet"
"""What rewritten assertions call: no program can write such names."""

GUARDED = frozenset(
    {
        *("isinstance", "issubclass", "type", "object", "getattr", "hasattr", "callable", "id", "len", "repr"),
        *("str", "int", "float", "complex", "bool", "bytes", "list", "tuple", "dict", "set", "frozenset", "super"),
        *(name for name, value in _BUILTINS.items() if isinstance(value, type) and issubclass(value, Exception)),
        "BaseException",
    }
    - {name for name, value in _BUILTINS.items() if isinstance(value, type) and issubclass(value, OSError)}
)
"""Builtins that tests keep, even if the answer defines the name.

Others may be what is tested: `sum`, `sorted`, or a `TimeoutError` of the answer's own.
"""

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}
WATCHED = frozenset(
    {
        *("sys._getframe", "sys._current_frames", "sys.settrace", "sys.setprofile", "sys.addaudithook"),
        *("gc.get_objects", "gc.get_referrers", "gc.get_referents", "ctypes.dlopen", "ctypes.dlsym", "ctypes.cdata"),
        *("os.fork", "os.forkpty", "os.kill", "os.killpg", "code.__new__", "marshal.loads"),
    }
)
LOADING = frozenset({"compile", "marshal.loads"})
"""What makes code that says of itself which file it is from."""
FOR_THE_LIBRARY = frozenset({"sys.settrace", "sys.setprofile", "os.fork", "os.forkpty", "os.kill", "os.killpg"})
"""What multiprocessing, subprocess and threading do in code that is as it should be."""
WATCHED_ATTRIBUTES = frozenset({"tb_frame", "gi_frame", "cr_frame", "ag_frame"})
UNEQUAL: tuple[tuple[Any, Any], ...] = (
    *((10**18 + 9, 10**18 + 10), (-1e300, 1e300), ("\0 a", "\0 b"), (b"\0 a", b"\0 b")),
    *(([0], [0, 0]), ((0,), (0, 0)), ({0: 0}, {0: 1}), ({0}, {0, 1}), (True, False)),
)
KEEPERS: dict[str, frozenset[str]] = {
    "collections/__init__.py": frozenset({"namedtuple"}),
    "enum.py": frozenset({"_create_"}),
    "typing.py": frozenset({"_caller"}),
    "warnings.py": frozenset({"warn"}),
    "gettext.py": frozenset({"c2py"}),
    "types.py": frozenset({"<module>", "coroutine"}),
    "inspect.py": frozenset({"getgeneratorstate", "getcoroutinestate"}),
    "subprocess.py": frozenset({"_text_encoding"}),
    "unittest/result.py": frozenset({"_is_relevant_tb_level"}),
    "asyncio/events.py": frozenset({"__init__"}),
    "asyncio/futures.py": frozenset({"__init__"}),
    "asyncio/streams.py": frozenset({"__init__"}),
    "asyncio/coroutines.py": frozenset({"_format_coroutine"}),
    "asyncio/format_helpers.py": frozenset({"extract_stack"}),
    "traceback.py": frozenset({"clear_frames", "print_stack", "format_stack", "extract_stack"}),
}
"""Functions of the standard library that look at frames and give none to their caller (Python 3.11 to 3.14)."""
AMONG_THEMSELVES = frozenset({("traceback.py", "walk_tb"), ("traceback.py", "_walk_tb_with_full_positions")})
"""Those that give a frame to their caller: right where that one is in the same file."""
PROBED = 1000
"""Objects of one value that are probed; deeper ones are taken as they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """One top-level statement of the tests, ready to run."""

    code: types.CodeType
    line: int
    test: int | None
    """The number of the test that the statement is; None for what only prepares."""


@dataclass(frozen=True, slots=True)
class Call:
    """One `test_*` function."""

    name: str
    line: int
    test: int


class Unmet(AssertionError):
    """A rewritten assertion that does not hold: why, and the assertion's own message if it has one."""

    def __str__(self) -> str:
        return ": ".join(value if isinstance(value, str) else _text(value) for value in self.args)


Report = Callable[[int | None, bool, str, int | None], None]
"""Test number (None: of the loading), whether it passed, words, line of the answer."""


def prepare(source: str, statements: dict[int, int], left_out: list[int]) -> list[Step]:
    """Compile the tests, with their assertions rewritten.

    `statements`: the position of a statement -> the number of the test that it is; `left_out`: positions not to run.
    """
    tree = ast.parse(source)
    flags = _future_flags(tree)
    steps = []
    for position, statement in enumerate(tree.body):
        if position in left_out:
            continue
        rewritten = _Assertions(source).visit(statement)
        module = ast.fix_missing_locations(ast.Module([rewritten], []))
        code = compile(module, TESTS, "exec", flags, dont_inherit=True)
        steps.append(Step(code, statement.lineno, statements.get(position)))
    return steps


def run(answer: str, steps: list[Step], call: Call | None, write: Callable[[bytes], object], token: str) -> NoReturn:
    """Load the answer, run the steps, then the call if there is one; without one the steps are what is tested."""
    end = os._exit
    report = _reporter(write, token, end)
    _watch(report, end)
    _hide()
    names = _load(answer, report, end)
    sys.settrace(None)
    sys.setprofile(None)
    tests = _namespace(names)
    unmade = _take_steps(steps, tests, report, silent=call is not None)
    if call is not None:
        report(call.test, *(unmade or _outcome(lambda: _called(tests[call.name]), call.name, call.line)))
    end(0)


def _hide() -> None:
    """Take ourselves, and native memory access, out of the table of modules."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("kairos", "ctypes", "_ctypes"):
            del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.modules["_ctypes"] = None  # type: ignore[assignment] - importing it fails from now on


def _reporter(write: Callable[[bytes], object], token: str, end: Callable[[int], NoReturn]) -> Report:
    """Nothing of the standard library that is written in Python is called with the token: it could be replaced."""
    process, own_process = os.getpid(), os.getpid

    def report(test: int | None, passed: bool, words: str, line: int | None) -> None:
        if own_process() != process:
            end(1)
        words = words[:1000].encode("utf-8", "replace").hex()
        write(f"{token} {test} {passed} {line} {words}\n".encode())

    return report


def _watch(report: Report, end: Callable[[int], NoReturn]) -> None:
    """End the test when code asks for frames, traces or other processes that has no right to (see `_may_ask`)."""
    frame_of, busy, may_ask, named = (
        sys._getframe,
        threading.local(),
        _may_ask(),
        (_library(), "<frozen ", __file__, TESTS),
    )

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event == "compile":
            if not (isinstance(values[1], str) and values[1].startswith(named)):
                return
        elif event not in WATCHED and not (event == "object.__getattr__" and values[1] in WATCHED_ATTRIBUTES):
            return
        if getattr(busy, "now", False):
            return
        busy.now = True
        try:
            asking = frame_of(1)
            trusted = may_ask(event, asking)
        finally:
            busy.now = False
        if not trusted:
            what = values[1] if event == "object.__getattr__" else event
            report(None, False, f"the code reaches into the interpreter that tests it ({what})", asking.f_lineno)
            end(1)

    sys.addaudithook(hook)


def _may_ask() -> Callable[[str, types.FrameType], bool]:
    """Whether a frame may do what is watched: the tests and we always, the library where the right is listed."""
    library, loading, for_library, keepers, among = _library(), LOADING, FOR_THE_LIBRARY, KEEPERS, AMONG_THEMSELVES
    ours, at = (TESTS, __file__), len(_library())

    def may_ask(event: str, frame: types.FrameType) -> bool:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file in ours:
            return True
        if event in loading:
            return file.startswith("<frozen ")
        if not file.startswith(library):
            return False
        if event in for_library or name in keepers.get(file[at:], ()):
            return True
        caller = frame.f_back.f_code.co_filename if frame.f_back else ""
        if file[at:] == "logging/__init__.py" or (file[at:], name) in among:
            return caller == file or caller in ours
        return caller in ours

    return may_ask


def _library() -> str:
    return os.path.dirname(os.path.realpath(os.__file__)) + os.sep


def _load(answer: str, report: Report, end: Callable[[int], NoReturn]) -> dict[str, Any]:
    """Run the answer's code as a module, `if __name__ == "__main__"` left out. Failing, it ends the process."""
    module = types.ModuleType(MODULES[0])
    module.__dict__["__builtins__"] = dict(vars(builtins))
    for name in MODULES:
        sys.modules[name] = module

    def load() -> None:
        exec(compile(answer, ANSWER, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose

    passed, words, line = _outcome(load, "the code", None)
    report(None, passed, words, line)
    if not passed:
        end(1)
    return module.__dict__


def _namespace(names: dict[str, Any]) -> dict[str, Any]:
    """The tests' names: a copy of the answer's, without those that decide what a test means."""
    own = {name: value for name, value in names.items() if name not in GUARDED and not name.startswith("__")}
    return {**own, "__name__": "tests", "__builtins__": dict(_BUILTINS), MEET: _meet, UNMET: Unmet}


def _take_steps(
    steps: list[Step], tests: dict[str, Any], report: Report, *, silent: bool
) -> tuple[bool, str, int | None] | None:
    """Run the statements in order, as Python would. What prepares and fails is the outcome of all that come after."""
    unmade: tuple[bool, str, int | None] | None = None
    for step in steps:
        what = "" if step.test is not None else "what prepares the tests"
        outcome = unmade or _outcome(lambda code=step.code: exec(code, tests), what, step.line)  # noqa: S102
        if step.test is None and not outcome[0]:
            unmade = outcome
        if step.test is not None and not silent:
            report(step.test, *outcome)
    return unmade


def _called(function: Any) -> None:
    result = function()
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _outcome(work: Callable[[], object], what: str, line: int | None) -> tuple[bool, str, int | None]:
    """Whether the work ended well, words for how it did not, and the line of the answer that it failed on."""
    place = f"line {line} of the tests"
    where = (f"{what} ({place})" if what else place) if line else what
    try:
        work()
    except Unmet as unmet:
        return False, f"{where}: {unmet}", None
    except SystemExit as exit_:
        return False, f"{where} ended the program (exit code {_text(exit_.code)})", _answer_line(exit_)
    except BaseException as fault:
        words = f"{type(fault).__name__}: {_message(fault)}".rstrip(": ")
        return False, f"{where} raised {words}", _answer_line(fault)
    return True, "", None


def _answer_line(fault: BaseException) -> int | None:
    if isinstance(fault, SyntaxError) and fault.filename == ANSWER:
        return fault.lineno
    lines = [number for frame, number in traceback.walk_tb(fault.__traceback__) if frame.f_code.co_filename == ANSWER]
    return lines[-1] if lines else None


def _meet(left: Any, name: str, right: Any, text: str, swapped: bool) -> str | None:
    """Judge one assertion. None when it holds, else words for how it does not."""
    if not name:
        return None if left else f"`{text}` does not hold: it is {_text(left)}"
    held = OPERATORS[name](left, right)
    if held and name == "==" and (_equals_all(left) or _equals_all(right)):
        return f"`{text}`: the object says that it is equal to everything"
    if held and name == "in" and _contains_all(right):
        return f"`{text}`: the object says that it contains everything"
    if held:
        return None
    if name != "==":
        return f"`{text}` does not hold: left is {_text(left)}, right is {_text(right)}"
    got, expected = (right, left) if swapped else (left, right)
    return f"`{text}`: expected {_text(expected)}, got {_text(got)}"


def _equals_all(value: Any) -> bool:
    """Whether the value, or anything in it, is of a class of the answer's that takes a stranger for its equal."""
    pending, probed = [value], 0
    while pending and probed < PROBED:
        item, probed = pending.pop(), probed + 1
        kind = type(item)
        if kind in (list, tuple, set, frozenset):
            pending += list(item)[:PROBED]
        elif kind is dict:
            pending += [*list(item)[:PROBED], *list(item.values())[:PROBED]]
        elif _written_in_answer(kind, "__eq__") and _takes_strangers(item):
            return True
    return False


def _takes_strangers(item: Any) -> bool:
    """Equal to a thing of our own, or to two values of a kind that no honest one equals both of (their difference is 1,
    so that numbers modulo n do not)."""
    if _agrees(lambda: item == object()):
        return True
    return any(_agrees(lambda a=a, b=b: item == a and item == b) for a, b in UNEQUAL)


def _contains_all(value: Any) -> bool:
    return _written_in_answer(type(value), "__contains__") and _agrees(lambda: object() in value)


def _written_in_answer(kind: type, method: str) -> bool:
    """Decided by the method's code: `unittest.mock.ANY` in a test is as it should be."""
    code = getattr(getattr(kind, method, None), "__code__", None)
    return isinstance(code, types.CodeType) and not code.co_filename.startswith((_library(), TESTS))


def _agrees(question: Callable[[], Any]) -> bool:
    with contextlib.suppress(Exception):
        return bool(question())
    return False


class _Assertions(ast.NodeTransformer):
    """`assert L == R, m` becomes `if (@why := @meet(L, '==', R, text, …)): raise @unmet(@why, m)`.

    The operands stay where they were, so that `await`, `yield` and `:=` in them mean what they meant.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        left, name, right, swapped = _operands(node.test)
        text = (ast.get_source_segment(self._source, node.test) or "the assertion")[:200]
        values = [left, ast.Constant(name), right, ast.Constant(" ".join(text.split())), ast.Constant(swapped)]
        reason = ast.NamedExpr(ast.Name("@why", ast.Store()), ast.Call(ast.Name(MEET, ast.Load()), values, []))
        words: list[ast.expr] = [ast.Name("@why", ast.Load()), *([node.msg] if node.msg else [])]
        unmet = ast.Raise(ast.Call(ast.Name(UNMET, ast.Load()), words, []), None)
        return ast.copy_location(ast.If(reason, [unmet], []), node)


def _operands(test: ast.expr) -> tuple[ast.expr, str, ast.expr, bool]:
    """Left, operator, right, and whether the expected value stands on the left."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return test, "", ast.Constant(None), False
    left, right = test.left, test.comparators[0]
    swapped = isinstance(left, ast.Constant) and not isinstance(right, ast.Constant)
    return left, _SYMBOLS[type(test.ops[0])], right, swapped


_SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


def _future_flags(tree: ast.Module) -> int:
    future = __import__("__future__")
    names = [
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for alias in node.names
    ]
    return sum(getattr(future, name).compiler_flag for name in set(names) if name in future.all_feature_names)


def _message(fault: BaseException) -> str:
    words = ", ".join(value if isinstance(value, str) else _text(value) for value in fault.args)
    return f"{words} (only the standard library is there)" if isinstance(fault, ModuleNotFoundError) else words


def _text(value: Any) -> str:
    """A short `repr`, whatever the object's own does."""
    try:
        return _SHORT.repr(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 160
