"""Resolves names in a program: `run` after `from subprocess import run` is `subprocess.run`.

The analysis ignores control flow and scopes: a name with several bindings resolves to all of them. That errs on the
side of caution, since the guardian asks whether a name can refer to something dangerous. Values passed through
containers, object attributes or arguments of the program's own functions are not tracked.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

BUILTINS = frozenset(dir(builtins)) | {"__builtins__"}
ROUNDS = 8
"""Passes over the assignments, which resolve chains `a = os.system; b = a; …` in any order."""
MEANINGS = 32
"""Maximum paths per name: `a = b.x; a = b.y; b = a.x; …` would produce them without end."""


class NameResolver:
    """Resolves a program's expressions to dotted paths."""

    def __init__(self, tree: ast.Module) -> None:
        self._bound: dict[str, set[str]] = {}
        self._stars: set[str] = set()
        self._own = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        }
        nodes = list(ast.walk(tree))
        for node in nodes:
            self._learn_import(node)
        assignments = [pair for node in nodes for pair in _assignments(node)]
        for _ in range(ROUNDS):
            if not self._learn_assignments(assignments):
                break

    def paths(self, node: ast.expr) -> frozenset[str]:
        """Return the dotted paths that the expression can refer to, such as `{'os.system'}`. Empty if unknown."""
        suffix: list[str] = []
        while step := self._step(node):
            node, attribute = step
            suffix.insert(0, attribute)
        tail = "".join(f".{attribute}" for attribute in suffix)
        return frozenset(_plain(root + tail) for root in self._roots(node))

    def _roots(self, node: ast.expr) -> set[str]:
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Call):
            return self._imported_by_call(node)
        if isinstance(node, ast.Subscript):
            return self._module_by_key(node)
        return set()

    def _named(self, name: str) -> set[str]:
        if name in self._bound:
            return self._bound[name]
        starred = {f"{module}.{name}" for module in self._stars}
        return starred | ({name} if name in BUILTINS and name not in self._own else set())

    def _step(self, node: ast.expr) -> tuple[ast.expr, str] | None:
        """Return value and attribute name of an attribute access, in any notation; else None."""
        if isinstance(node, ast.Attribute):
            return node.value, node.attr
        if isinstance(node, ast.Call) and len(node.args) >= 2 and "getattr" in self.paths(node.func):
            attribute = constant_text(node.args[1])
            return (node.args[0], attribute) if attribute else None
        if isinstance(node, ast.Subscript) and (attribute := constant_text(node.slice)):
            return _from_namespace(node.value, attribute)
        return None

    def _imported_by_call(self, node: ast.Call) -> set[str]:
        """`__import__('os')`, `importlib.import_module('os')`."""
        if not node.args or not (module := constant_text(node.args[0])):
            return set()
        functions = self.paths(node.func)
        if "importlib.import_module" in functions:
            return {module}
        return {module.split(".")[0]} if "__import__" in functions else set()

    def _module_by_key(self, node: ast.Subscript) -> set[str]:
        """`sys.modules['os']`."""
        module = constant_text(node.slice)
        return {module} if module and "sys.modules" in self.paths(node.value) else set()

    def _learn_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._bind(alias.asname or alias.name.split(".")[0], alias.name if alias.asname else "", alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if alias.name == "*":
                    self._stars.add(node.module)
                else:
                    self._bind(alias.asname or alias.name, f"{node.module}.{alias.name}", node.module)

    def _bind(self, name: str, path: str, module: str) -> None:
        self._bound.setdefault(name, set()).add(path or module.split(".")[0])

    def _learn_assignments(self, assignments: list[tuple[str, ast.expr]]) -> bool:
        """Bind the assigned names, and return whether anything changed."""
        learned = False
        for name, value in assignments:
            paths = self.paths(value)
            known = self._bound.get(name, set())
            if paths - known and len(known) < MEANINGS:
                # A rebound builtin can still refer to the builtin elsewhere.
                before = known or self._named(name)
                self._bound[name] = set(sorted(before | paths)[:MEANINGS])
                learned = True
        return learned


def constant_text(node: ast.expr) -> str | None:
    """Return the text of a literal, of added literals, or of an f-string without values; None for anything else."""
    parts: list[str] = []
    pending: list[ast.expr] = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            pending += [part.right, part.left]
        elif isinstance(part, ast.JoinedStr):
            pending += reversed(part.values)
        else:
            return None
    return "".join(parts)


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield assigned names with their values: assignments, walrus, parameter defaults, `with … as`."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _targets(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        yield from ((arg.arg, value) for arg, value in zip(reversed(positional), reversed(node.defaults), strict=False))
        yield from ((arg.arg, value) for arg, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value)


def _targets(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for inner, part in zip(target.elts, value.elts, strict=False):
            yield from _targets(inner, part)


def _from_namespace(node: ast.expr, attribute: str) -> tuple[ast.expr, str] | None:
    """`os.__dict__['system']`, `vars(os)['system']`, `__builtins__['eval']`."""
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return node.value, attribute
    if isinstance(node, ast.Call) and len(node.args) == 1 and _is_name(node.func, "vars"):
        return node.args[0], attribute
    return (node, attribute) if _is_name(node, "__builtins__") else None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _plain(path: str) -> str:
    """Normalise a path: no prefix for builtins, `os` for `posix` and `nt`, `os.system` for `shutil.os.system`."""
    for module in ("os", "sys", "builtins"):
        _, through, rest = path.rpartition(f".{module}.")
        path = f"{module}.{rest}" if through else path
    for prefix in ("builtins.", "__builtins__."):
        path = path.removeprefix(prefix)
    head, dot, rest = path.partition(".")
    return f"os{dot}{rest}" if head in ("posix", "nt") else path
