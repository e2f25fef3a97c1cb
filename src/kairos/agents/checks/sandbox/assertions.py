"""Rewrites the assertions of the tests, so that a failure reports the expected and the actual value."""

from __future__ import annotations

import ast
import operator
import reprlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kairos.agents.checks.sandbox import object_proxies

TESTS = "tests.py"
CHECK, FAIL = "@check", "@fail"
"""Names used by rewritten assertions. They are not valid identifiers, so programs cannot use them."""

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


@dataclass(frozen=True, slots=True)
class CompiledStatement:
    """One top-level statement of the tests, ready to run."""

    code: types.CodeType
    line: int
    test: int | None
    """The test number; None for set-up statements."""


class FailedAssertion(AssertionError):
    """A failed assertion, with the reason and the assertion's own message, if any."""

    def __str__(self) -> str:
        return ": ".join(value if isinstance(value, str) else text(value) for value in self.args)


def prepare(source: str, statements: dict[int, int], left_out: list[int]) -> list[CompiledStatement]:
    """Compile the tests, with their assertions rewritten.

    `statements`: position of each statement that is a test -> test number; `left_out`: positions not to run.
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
        steps.append(CompiledStatement(code, statement.lineno, statements.get(position)))
    return steps


def check_assertion(left: Any, name: str, right: Any, source: str, swapped: bool) -> str | None:
    """Evaluate an assertion. Returns None if it holds, else a message."""
    if not name:
        return None if left else f"`{source}` does not hold: it is {text(left)}"
    if OPERATORS[name](left, right):
        return None
    if name != "==":
        return f"`{source}` does not hold: left is {text(left)}, right is {text(right)}"
    got, expected = (right, left) if swapped else (left, right)
    return f"`{source}`: expected {text(expected)}, got {text(got)}{_opaque(left, right)}"


def text(value: Any) -> str:
    """Return a short `repr`, even if the object's own raises."""
    try:
        return _SHORT.repr(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def _opaque(left: Any, right: Any) -> str:
    """Return an explanation of a comparison that can never hold, else an empty string."""
    strange = [
        value for value in (left, right) if object_proxies.number_of(value) is not None and not isinstance(value, type)
    ]
    if len(strange) != 1 or isinstance(strange[0], object_proxies.ProxyValue | BaseException):
        return ""
    kind = type(strange[0]).__name__
    return f"; an object of the code's own class {kind} is never equal to plain data: return plain data instead"


_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 160


class _Assertions(ast.NodeTransformer):
    """`assert L == R, m` becomes `if (@why := @check_assertion(L, '==', R, text, …)): raise @fail(@why, m)`.

    The operands stay in place, so that `await`, `yield` and `:=` in them keep their meaning.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        left, name, right, swapped = _operands(node.test)
        message = (ast.get_source_segment(self._source, node.test) or "the assertion")[:200]
        values = [left, ast.Constant(name), right, ast.Constant(" ".join(message.split())), ast.Constant(swapped)]
        reason = ast.NamedExpr(ast.Name("@why", ast.Store()), ast.Call(ast.Name(CHECK, ast.Load()), values, []))
        arguments: list[ast.expr] = [ast.Name("@why", ast.Load()), *([node.msg] if node.msg else [])]
        unmet = ast.Raise(ast.Call(ast.Name(FAIL, ast.Load()), arguments, []), None)
        return ast.copy_location(ast.If(reason, [unmet], []), node)


def _operands(test: ast.expr) -> tuple[ast.expr, str, ast.expr, bool]:
    """Return left operand, operator, right operand, and whether the expected value is on the left."""
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
