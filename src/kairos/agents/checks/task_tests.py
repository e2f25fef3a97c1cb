"""Tests supplied with a task: parsing, validation, running, and their results.

Each top-level `test_*` function is a test, and so is each top-level statement that asserts, directly or by calling a
helper function. Tests are counted from the syntax tree here, not from the report of the child process, so a test
without a result has failed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard

from pydantic import Field

from kairos.agents.checks.check_result import CheckResult, error, first, warning
from kairos.agents.checks.confined import TooMuchWork, confined
from kairos.agents.checks.python_syntax import parse
from kairos.agents.checks.registry import Check, CheckedAnswer, Wording, register
from kairos.agents.checks.sandbox.answer import MODULES
from kairos.agents.checks.sandbox.launcher import SandboxResult, SandboxTests, run_sandboxed
from kairos.agents.finding import Finding
from kairos.errors import InvalidInput
from kairos.text import Text

CHECK = "tests"
WHERE = "checks.tests"
Function = ast.FunctionDef | ast.AsyncFunctionDef
DEEPEST_FINALLY = 6
"""Maximum nesting of `finally`. CPython copies its body, so that every level doubles the code."""
SAFE_CHECKS = ("python", "safety", "secrets", "tampering")
"""Code that one of these checks rejects is not run."""
NOT_REACHED = SandboxResult(False, "a test was not reached")


@dataclass(frozen=True, slots=True)
class ParsedTests:
    """The tests of a source, numbered from 0."""

    tests: SandboxTests
    count: int


async def accept_tests(source: str, owner: object = None) -> None:
    """Validate tests before a task is accepted. Raises `InvalidInput` if they cannot be run."""
    try:
        if refused := await confined("tests", {"source": source}, owner):
            raise InvalidInput(**refused["refused"])
    except TooMuchWork as limit:
        raise _unfit(f"compiling them {limit}", "Make them shorter and flatter") from None


def validate_tests(source: str) -> None:
    """Validate tests, in the limited process. Raises `InvalidInput` if they cannot be run."""
    tree = _parsed(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _refuse_foreign_modules(node)
    functions = [node for node in tree.body if isinstance(node, Function) and node.name.startswith("test_")]
    for function in functions:
        _refuse_parameters(function)
    _refuse_twins(functions)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_is_test(inner) for inner in node.body):
            raise _unfit(f"the tests in the class {node.name} would not run", "Write them as functions", node)
    if not parse_tests(source).count:
        raise _unfit("they contain no test", "Add a test_* function or an assert, such as: assert add(2, 3) == 5")


def parse_tests(source: str) -> ParsedTests:
    """Return the tests of a valid source."""
    tree = parse(source)
    asserting = {node.name for node in tree.body if isinstance(node, Function) and _asserts(node, frozenset())}
    helpers = frozenset(name for name in asserting if not name.startswith("test_"))
    statements: dict[int, int] = {}
    calls: list[tuple[str, int, int]] = []
    left_out: list[int] = []
    for position, node in enumerate(tree.body):
        if _is_test(node):
            calls.append((node.name, node.lineno, len(calls) + len(statements)))
        elif _calls_a_test(node):
            left_out.append(position)
        elif not isinstance(node, Function | ast.ClassDef) and not _is_main(node) and _asserts(node, helpers):
            statements[position] = len(calls) + len(statements)
    return ParsedTests(SandboxTests(source, statements, tuple(calls), tuple(left_out)), len(calls) + len(statements))


def tests_as_dict(source: str) -> dict[str, Any]:
    """Return the parsed tests as plain data. Runs in the limited process."""
    tests = parse_tests(source).tests
    return {"statements": list(tests.statements.items()), "calls": tests.calls, "left_out": tests.left_out}


async def check_tests(
    source: str, program: str, seconds: float, memory_bytes: int, owner: object = None, *, allow_weak: bool = False
) -> CheckResult:
    """Run the tests in the sandbox. The score is the share that passed.

    Without sufficient isolation on this host, the tests are not run and the score is None. Raises `SandboxFailed`.
    """
    try:
        plan = _read_plan(source, await confined("plan", {"source": source}, owner))
    except TooMuchWork as limit:
        return CheckResult(CHECK, (error(CHECK, f"The tests could not be run: reading them {limit}."),), skipped=True)
    report = await run_sandboxed(program, plan.tests, seconds, memory_bytes, allow_weak=allow_weak)
    if not report.isolated and not allow_weak:
        return skip_unisolated_tests(report.unavailable_reason)
    results = [report.results.get(number, NOT_REACHED) for number in range(plan.count)]
    passed = sum(result.passed for result in results)
    if not plan.count:
        return CheckResult(CHECK, first(_findings(results)), skipped=True)
    return CheckResult(CHECK, first(_findings(results)), passed / plan.count)


def _read_plan(source: str, data: dict[str, Any]) -> ParsedTests:
    calls = tuple((name, line, number) for name, line, number in data["calls"])
    tests = SandboxTests(source, dict(data["statements"]), calls, tuple(data["left_out"]))
    return ParsedTests(tests, len(calls) + len(tests.statements))


def reject_tests(reason: str) -> CheckResult:
    """Return the result for tests not run because of the code: the score is 0."""
    return CheckResult(CHECK, (warning(CHECK, f"The tests were not run because {reason}."),), 0.0)


def skip_disallowed_tests() -> CheckResult:
    """Return the result for tests that the project's settings do not allow: there is no score."""
    return CheckResult(CHECK, (warning(CHECK, "The tests were not run: the project does not allow it."),), skipped=True)


def skip_unisolated_tests(reason: str) -> CheckResult:
    """Return the result for a host that cannot isolate code: there is no score."""
    message = f"The tests were not run: this host cannot isolate code ({reason}). See docs/isolation.md."
    return CheckResult(CHECK, (warning(CHECK, message),), skipped=True)


def _findings(results: list[SandboxResult]) -> Iterator[Finding]:
    """Yield one finding per cause: code that does not load fails every test with the same message."""
    failed = [result for result in results if not result.passed]
    for result in dict.fromkeys(failed):
        number = failed.count(result)
        summary = "A test failed" if number == 1 else f"{number} of {len(results)} tests failed"
        yield error(CHECK, f"{summary}: {result.message}.", result.line)


def _parsed(source: str) -> ast.Module:
    try:
        tree = parse(source)
        if _finally_depth(tree) > DEEPEST_FINALLY:
            raise _unfit(f"`finally` is nested more than {DEEPEST_FINALLY} deep", "Make them flatter")
        compile(tree, "tests.py", "exec", dont_inherit=True)
        return tree
    except SyntaxError as fault:
        problem = f"they do not parse: {fault.msg} (line {fault.lineno})"
        raise _unfit(problem, "Give Python with test_* functions or asserts") from None
    except (RecursionError, MemoryError):
        raise _unfit("they do not parse: they are nested too deeply", "Make them flatter") from None
    except ValueError as fault:
        raise _unfit(f"they do not parse: {fault}", "Give Python with test_* functions or asserts") from None


def _finally_depth(tree: ast.Module) -> int:
    """Return the nesting depth of `finally` blocks, which CPython compiles twice."""
    deepest, pending = 0, [(node, 0) for node in tree.body]
    while pending:
        node, depth = pending.pop()
        deepest = max(deepest, depth)
        twice = {id(inner) for inner in node.finalbody} if isinstance(node, ast.Try | ast.TryStar) else ()
        pending += [(inner, depth + (id(inner) in twice)) for inner in ast.iter_child_nodes(node)]
    return deepest


def _refuse_foreign_modules(node: ast.Import | ast.ImportFrom) -> None:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
    for name in names:
        root = name.split(".")[0]
        if root not in sys.stdlib_module_names and root not in MODULES:
            remedy = "Use only the standard library; the answer's names are available without an import"
            raise _unfit(f"the module {name!r} is not available when tests run", remedy, node)


def _refuse_parameters(function: Function) -> None:
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    if positional or any(default is None for default in arguments.kw_defaults):
        raise _unfit(
            f"{function.name} has required parameters, but tests are called without arguments", "Remove them", function
        )


def _refuse_twins(functions: list[Function]) -> None:
    seen: set[str] = set()
    for function in functions:
        if function.name in seen:
            raise _unfit(
                f"{function.name} is defined twice, and only the last definition would run", "Rename one", function
            )
        seen.add(function.name)


def _unfit(problem: str, remedy: str, node: ast.stmt | None = None) -> InvalidInput:
    where = f"{WHERE}, line {node.lineno}" if node else WHERE
    return InvalidInput(where=where, problem=problem, remedy=f"{remedy}.")


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, Function) and node.name.startswith("test_")


def _calls_a_test(node: ast.stmt) -> bool:
    """Whether a statement only calls a test, as `test_add()` at the end of a file. The function runs anyway."""
    match node:
        case ast.Expr(ast.Call(ast.Name(name))):
            return name.startswith("test_")
    return False


def _is_main(node: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == '__main__':`, which is not entered."""
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test)
    )


def _asserts(node: ast.AST, helpers: frozenset[str]) -> bool:
    return any(
        isinstance(part, ast.Assert)
        or (isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in helpers)
        for part in ast.walk(node)
    )


async def _run(source: str, answer: CheckedAnswer) -> CheckResult:
    """Run the tests, unless the code checks found the code unsafe or tampering with its tests."""
    if not answer.task.settings.run_tests:
        return skip_disallowed_tests()
    if refusal := await answer.limits.refusal():
        return skip_unisolated_tests(refusal)
    if answer.code.source is None:
        return reject_tests("the code does not parse")
    if any(result.rejects for result in answer.code.results if result.check in SAFE_CHECKS):
        return reject_tests("the code is not safe to run")
    limits, owner = answer.limits, answer.task.project_id
    return await check_tests(
        source, answer.code.source, limits.seconds, limits.memory_bytes, owner, allow_weak=limits.allow_weak
    )


TESTS: Check[str] = register(
    Check(
        name=CHECK,
        order=5,
        weight=3.0,
        parameter=Annotated[Text, Field(max_length=100_000, json_schema_extra={"contentMediaType": "text/x-python"})],
        description="Python that the answer's code must pass: `test_*` functions or bare asserts.",
        examples=["assert add(2, 3) == 5"],
        option="Python file with tests that the code must pass.",
        label=Wording("Python tests", "Python testleri"),
        hint=Wording(
            "test_* functions or plain asserts that the code in the answer must pass.",
            "Yanıttaki kodun geçmesi gereken test_* fonksiyonları ya da assert'ler.",
        ),
        run=_run,
        accept=accept_tests,
        reads_code=lambda source: True,
    )
)
"""Weighs most: only tests show whether the answer does the task."""
