"""Shuffles the test folders: `KAIROS_TEST_ORDER=7 make test` uses the seed 7.

A pytest plugin. The order of files and tests within a folder stays the same. Processes of pytest-xdist inherit the
variable and collect the tests in the same order.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

SEED = "KAIROS_TEST_ORDER"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seed in the summary, which `-q` shows too."""
    if seed := os.environ.get(SEED):
        terminalreporter.write_line(f"The order of the test folders was that of the seed {SEED}={seed}.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if seed := os.environ.get(SEED):
        folders = shuffled([item.path.parent for item in items], seed)
        items.sort(key=lambda item: folders.index(item.path.parent))


def shuffled(folders: list[Path], seed: str) -> list[Path]:
    """Return each folder once, in the order given by the seed."""
    found = list(dict.fromkeys(folders))
    random.Random(seed).shuffle(found)
    return found
