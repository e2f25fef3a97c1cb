"""The attack table names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", (ROOT / "docs" / "security.md").read_text())


def test_table_names_tests():
    assert len(NAMED) > 50


@pytest.mark.parametrize(("file", "path"), NAMED)
def test_every_named_test_exists(file: str, path: str):
    scope: list[ast.stmt] = ast.parse((ROOT / file).read_text()).body
    for name in filter(None, path.split("::")):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in scope if isinstance(node, kinds) and node.name == name]
        assert found, f"{file} has no {name}"
        scope = found[0].body
