"""Test folders are ordered by a seed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.kit.folder_order import SEED, pytest_collection_modifyitems, pytest_terminal_summary

FOLDERS = [Path(f"tests/{name}") for name in ("e2e", "fundamentals", "integration", "learning", "tenancy", "unit")]


def items(*places: str) -> list[Any]:
    return [SimpleNamespace(path=Path(place.partition("::")[0]), nodeid=place) for place in places]


def ordered(seed: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = items(*(f"{folder}/test_{file}.py::{test}" for folder in FOLDERS for file in "ab" for test in (1, 2)))
    monkeypatch.setenv(SEED, seed)
    pytest_collection_modifyitems(cast(list[pytest.Item], found))
    return [item.nodeid for item in found]


def test_seed_orders_folders_and_keeps_the_order_of_files(monkeypatch: pytest.MonkeyPatch):
    names = ordered("7", monkeypatch)
    assert names == ordered("7", monkeypatch), "another process of pytest-xdist has the same order"
    first_of_each = [name.rpartition("/")[0] for name in names][::4]
    assert sorted(first_of_each) == [str(folder) for folder in FOLDERS] != first_of_each
    assert [name.rpartition("/")[2] for name in names] == [
        "test_a.py::1",
        "test_a.py::2",
        "test_b.py::1",
        "test_b.py::2",
    ] * 6


def test_different_seeds_give_different_orders(monkeypatch: pytest.MonkeyPatch):
    assert len({tuple(ordered(str(seed), monkeypatch)) for seed in range(10)}) > 5


def test_order_is_unchanged_without_a_seed(monkeypatch: pytest.MonkeyPatch):
    assert ordered("", monkeypatch)[0].startswith("tests/e2e/")
    assert summary_lines("", monkeypatch) == []


def test_seed_is_printed(monkeypatch: pytest.MonkeyPatch):
    assert "KAIROS_TEST_ORDER=42" in summary_lines("42", monkeypatch)[0]


def summary_lines(seed: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setenv(SEED, seed)
    pytest_terminal_summary(cast(pytest.TerminalReporter, SimpleNamespace(write_line=lines.append)))
    return lines
