"""Test folders in another order: `KAIROS_TEST_ORDER=7 make test` shuffles them by that seed.

A pytest plugin. Files stay whole and in their order within a folder. Processes of pytest-xdist inherit the variable,
and so collect the tests in the same order.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

SEED = "KAIROS_TEST_ORDER"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seed at the end, where `-q` prints too."""
    if seed := os.environ.get(SEED):
        terminalreporter.write_line(f"The order of the test folders was that of the seed {SEED}={seed}.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if seed := os.environ.get(SEED):
        folders = shuffled([item.path.parent for item in items], seed)
        items.sort(key=lambda item: folders.index(item.path.parent))


def shuffled(folders: list[Path], seed: str) -> list[Path]:
    """Each folder once, in the order of the seed."""
    found = list(dict.fromkeys(folders))
    random.Random(seed).shuffle(found)
    return found
