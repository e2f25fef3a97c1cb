"""An answer read as Python: a tree, or why there is none."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from kairos.agents.checks.code_blocks import python_source
from kairos.agents.checks.opinion import CheckResult, error
from kairos.agents.checks.python_names import NameResolver

CHECK = "python"
LONGEST = 200_000
"""About a second of parsing and walking; no model writes a program so long in one answer."""


@dataclass(frozen=True, slots=True)
class Program:
    """Code that parses."""

    source: str
    """The answer with everything that is not code blanked: its lines are those of the answer."""
    tree: ast.Module
    names: NameResolver


@dataclass(frozen=True, slots=True)
class UnparsableCode:
    """Code that does not parse, and why."""

    problem: str
    line: int | None = None


def read_python(text: str) -> Program | UnparsableCode:
    """The answer's code as a tree. Never raises, whatever the text."""
    source = python_source(text)
    if len(source) > LONGEST:
        return UnparsableCode(f"The code is longer than the {LONGEST} characters that are checked.")
    try:
        tree = parse(source)
        return Program(source, tree, NameResolver(tree))
    except SyntaxError as fault:
        return UnparsableCode(f"The code does not parse: {fault.msg}{_quoted(fault)}.", fault.lineno or None)
    except (RecursionError, MemoryError):
        return UnparsableCode("The code does not parse: it is nested too deeply.")
    except UnicodeEncodeError:
        return UnparsableCode(
            "The code does not parse: it holds characters that are not Unicode text (lone surrogates)."
        )
    except ValueError as fault:
        return UnparsableCode(f"The code does not parse: {fault}.")


def parse(source: str) -> ast.Module:
    """`ast.parse` that keeps its warnings (invalid escapes) to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def check_syntax(code: Program | UnparsableCode) -> CheckResult:
    """Code that does not parse is rejected. It can only object: that code parses says little of it."""
    if isinstance(code, Program):
        return CheckResult(CHECK)
    return CheckResult(CHECK, (error(CHECK, code.problem, code.line),))


def _quoted(fault: SyntaxError) -> str:
    line = (fault.text or "").strip()
    return f" in `{line[:120]}`" if line else ""
