"""A check for hard-coded secrets, by the name that a literal is assigned to and by the shape of the literal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from kairos.agents.checks.check_result import CheckResult, error, first
from kairos.agents.checks.python_names import constant_text
from kairos.agents.checks.python_syntax import Program
from kairos.agents.finding import Finding
from kairos.secret_shapes import is_plausible, is_secret_name, looks_secret, shapes_in

CHECK = "secrets"
REMEDY = "Read it from the environment or a secret store."


def check_secrets(program: Program) -> CheckResult:
    """Return findings on literals that are secrets, without quoting them. Gives no score."""
    findings: dict[int, Finding] = {}
    for node in ast.walk(program.tree):
        for line, message in _in_node(node):
            findings.setdefault(line, error(CHECK, f"{message} {REMEDY}", line))
    return CheckResult(CHECK, first(findings.values()))


def _in_node(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Constant) and (literal := _text(node)) and (found := next(shapes_in(literal), None)):
        yield node.lineno, f"The text looks like {found[0]}."
    for name, given in _given(node):
        for value in _alternatives(given):
            text = _text(value)
            if text is not None and is_secret_name(name) and looks_secret(text) and is_plausible(name, text):
                yield value.lineno, f"The code contains a secret: `{name}`."


def _text(node: ast.expr) -> str | None:
    """Return the text of a literal, also of bytes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value.decode("latin-1")
    return constant_text(node)


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the possible values of `os.getenv("PASSWORD") or "…"` or `"…" if debug else ask()`."""
    pending = [node]
    while pending:
        value = pending.pop()
        if isinstance(value, ast.BoolOp):
            pending += value.values
        elif isinstance(value, ast.IfExp):
            pending += [value.body, value.orelse]
        else:
            yield value


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield names with the values that they are assigned, passed or compared with."""
    if isinstance(node, ast.Assign):
        yield from (pair for target in node.targets for pair in _assigned(target, node.value))
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value and (name := _name(node.target)):
        yield name, node.value
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from ((name, value) for key, value in pairs if key is not None and (name := constant_text(key)))
    elif isinstance(node, ast.Compare):
        yield from _compared(node)
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        yield from ((arg.arg, value) for arg, value in zip(reversed(positional), reversed(node.defaults), strict=False))
        yield from ((arg.arg, value) for arg, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value)
    elif isinstance(node, ast.Call) and len(node.args) == 2 and (name := constant_text(node.args[0])):
        yield name, node.args[1]  # os.getenv("API_KEY", "…"), environ.setdefault, setattr-like calls


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for inner, part in zip(target.elts, value.elts, strict=False):
            yield from _assigned(inner, part)
    elif name := _name(target):
        yield name, value


def _compared(node: ast.Compare) -> Iterator[tuple[str, ast.expr]]:
    sides = [node.left, *node.comparators]
    for left, right in pairwise(sides):
        if name := _name(left):
            yield name, right
        if name := _name(right):
            yield name, left


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    return constant_text(target.slice) if isinstance(target, ast.Subscript) else None
