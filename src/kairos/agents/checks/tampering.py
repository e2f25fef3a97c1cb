"""A check for code that manipulates the interpreter to influence its tests. Such code is not tested.

It applies only to tasks with tests, and gives the model an early explanation. Security does not depend on it: the tests
run in a different process from the code (`sandbox/runner.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kairos.agents.checks.check_result import CheckResult, error, first
from kairos.agents.checks.python_names import NameResolver
from kairos.agents.checks.python_syntax import Program
from kairos.agents.finding import Finding

CHECK = "tampering"
WITH_TESTS = "Code under test must not use it."

REACHES = frozenset(
    {
        *("sys._getframe", "sys._current_frames", "sys.settrace", "sys.setprofile", "sys.addaudithook"),
        *("threading.settrace", "threading.setprofile", "inspect.currentframe", "inspect.stack", "inspect.trace"),
        *("inspect.getouterframes", "inspect.getinnerframes", "traceback.walk_stack", "traceback.walk_tb"),
        *("logging.currentframe", "gc.get_objects", "gc.get_referrers", "gc.get_referents", "os._exit", "os.abort"),
        *("os.fork", "os.forkpty", "os.kill", "os.killpg", "signal.raise_signal", "faulthandler._sigsegv"),
        *("sys.modules", "sys.meta_path", "sys.path_hooks", "os.closerange"),
    }
)
MODULES = frozenset({"__main__", "tests", "ctypes", "_ctypes", "_testcapi", "_xxsubinterpreters", "kairos"})
BUILTINS = frozenset({"builtins", "__builtins__", "__dict__"})
"""The module and its namespace. Paths of builtins have no `builtins.` prefix."""
FRAME_ATTRIBUTES = frozenset(
    {
        "f_back",
        "f_locals",
        "f_globals",
        "f_builtins",
        "tb_frame",
        "gi_frame",
        "cr_frame",
        "ag_frame",
        "__subclasses__",
        "__globals__",
    }
)


def check_tampering(program: Program) -> CheckResult:
    """Return findings on uses of frames, traces, module tables or the builtins. Gives no score."""
    return CheckResult(CHECK, first(_reaches(program.tree, program.names)))


def _reaches(tree: ast.Module, names: NameResolver) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FRAME_ATTRIBUTES:
            yield _finding(f"`.{node.attr}`", node)
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield from (_finding(f"`{path}`", node) for path in sorted(REACHES & names.paths(node)))
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            yield from (_finding(f"a change of `{path}`", node) for path in _changed_builtins(node, names))
        if isinstance(node, ast.Call) and names.paths(node.func) & {"setattr", "delattr"} and node.args:
            yield from (_finding("a change of the builtins", node) for path in names.paths(node.args[0]) & {"builtins"})
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (_finding(f"`{module}`", node) for module in sorted(_modules(node) & MODULES))


def _changed_builtins(node: ast.Assign | ast.AugAssign | ast.Delete, names: NameResolver) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
    reached = [target.value for target in targets if isinstance(target, ast.Attribute | ast.Subscript)]
    return ["builtins" for value in reached if names.paths(value) & BUILTINS]


def _modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {name.split(".")[0] for name in found}


def _finding(name: str, node: ast.stmt | ast.expr) -> Finding:
    return error(CHECK, f"The code uses {name}, which manipulates the interpreter. {WITH_TESTS}", node.lineno)
