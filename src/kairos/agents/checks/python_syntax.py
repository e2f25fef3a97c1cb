"""Parses an answer as Python."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.checks.code_blocks import python_source
from kairos.agents.checks.python_names import NameResolver

CHECK = "python"
LONGEST = 200_000
"""Maximum length in characters: about a second of parsing and walking."""


@dataclass(frozen=True, slots=True)
class Program:
    """Code that parses."""

    source: str
    """The answer with everything but code blanked, so that line numbers match."""
    tree: ast.Module
    names: NameResolver


@dataclass(frozen=True, slots=True)
class UnparsableCode:
    """Code that does not parse, with the reason."""

    problem: str
    line: int | None = None


def read_python(text: str) -> Program | UnparsableCode:
    """Parse the answer's code. Never raises."""
    source = python_source(text)
    if len(source) > LONGEST:
        return UnparsableCode(f"The code is longer than the maximum of {LONGEST} characters.")
    try:
        tree = parse(source)
        return Program(source, tree, NameResolver(tree))
    except SyntaxError as fault:
        return UnparsableCode(f"The code does not parse: {fault.msg}{_quoted(fault)}.", fault.lineno or None)
    except (RecursionError, MemoryError):
        return UnparsableCode("The code does not parse: it is nested too deeply.")
    except UnicodeEncodeError:
        return UnparsableCode("The code does not parse: it contains lone surrogates, which are not valid Unicode text.")
    except ValueError as fault:
        return UnparsableCode(f"The code does not parse: {fault}.")


def parse(source: str) -> ast.Module:
    """Call `ast.parse` without its warnings (invalid escapes)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def check_syntax(code: Program | UnparsableCode) -> CheckResult:
    """Reject code that does not parse. Gives no score."""
    if isinstance(code, Program):
        return CheckResult(CHECK)
    return CheckResult(CHECK, (error(CHECK, code.problem, code.line),))


def _quoted(fault: SyntaxError) -> str:
    line = (fault.text or "").strip()
    return f" in `{line[:120]}`" if line else ""
