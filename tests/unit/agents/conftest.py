"""Fixtures of the sandbox's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read and write, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="kairos-open-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)
