"""Reads the files of the built dashboard once per process, and not for each application that a test starts.

A pytest plugin. It does not affect daemons in other processes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from kairos.api import dashboard


@pytest.fixture(scope="session", autouse=True)
def dashboard_is_read_once() -> Iterator[None]:
    read, read_once = dashboard._read, functools.cache(dashboard._read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboard, "_read", lambda path: (read_once if path == dashboard.FILES else read)(path))
        yield
