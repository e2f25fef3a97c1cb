"""Analyses the names in the source of the tests: those of the answer, and those of the tests."""

from __future__ import annotations

import ast
import importlib
import sys
from typing import TypedDict

from kairos.agents.checks.sandbox.answer import MODULES

_WITH_EFFECTS = frozenset({"antigravity", "this", "idlelib", "turtledemo", "__main__"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


class SourceNames(TypedDict):
    """Names by role, as lists, since they are marshalled with the compiled tests."""

    mentioned: list[str]
    """All names, attributes, and strings that are identifiers."""
    free: list[str]
    """Names that the tests read but do not bind."""
    imported: list[str]
    """Names imported from the answer."""
    whole: bool
    """Whether the tests import the answer as a module."""
    modules: list[str]
    """Free names of standard library modules, as in `math.isclose` without an import."""


def names_in(source: str) -> SourceNames:
    """Return the names in a valid source."""
    read, bound, imported, other = set[str](), set[str](), set[str](), set[str]()
    attributes: dict[str, set[str]] = {}
    whole = False
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=context):
                (read if isinstance(context, ast.Load) else bound).add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.arg(arg=name):
                bound.add(name)
            case ast.Attribute(value=value, attr=name):
                other.add(name)
                if isinstance(value, ast.Name):
                    attributes.setdefault(value.id, set()).add(name)
            case ast.ImportFrom(module=module, names=aliases) if module in MODULES:
                imported |= {alias.name for alias in aliases}
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                whole |= isinstance(node, ast.Import) and any(alias.name in MODULES for alias in aliases)
                bound |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
            case ast.Constant(value=str(text)) if text.isidentifier():
                other.add(text)
    free = (read | imported) - bound
    return {
        "mentioned": sorted(read | imported | other),
        "free": sorted(free),
        "imported": sorted(imported),
        "whole": whole,
        "modules": sorted(name for name in free if _is_module(name, attributes.get(name, set()))),
    }


def _is_module(name: str, attributes: set[str]) -> bool:
    """Whether the name is a standard library module that has all attributes that the tests use."""
    if not attributes or name not in sys.stdlib_module_names or name in _WITH_EFFECTS:
        return False
    try:
        module = importlib.import_module(name)
    except ImportError:
        return False
    return all(hasattr(module, attribute) for attribute in attributes)
