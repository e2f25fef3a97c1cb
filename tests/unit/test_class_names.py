"""No two classes of Kairos have the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import kairos

SOURCES = Path(kairos.__file__).parent


def test_each_class_has_a_name_of_its_own():
    files: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                files[node.name].add(str(path.relative_to(SOURCES)))
    assert len(files) > 400, "the search found the classes"
    assert {name: found for name, found in files.items() if len(found) > 1} == {}
