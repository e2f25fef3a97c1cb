"""The embedding model, loaded once for all tests of a process: each time costs half a second and a look at all objects.

A pytest plugin. Tests of the loading itself ask for `own_embedding_models`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kairos.llm.routing.embedder import DataFile, Embedder

LOAD = Embedder._load
LOADED: dict[tuple[DataFile, ...], Any] = {}


def load_once(self: Embedder) -> Any:
    if self._files not in LOADED:
        LOADED[self._files] = LOAD(self)
    return LOADED[self._files]


@pytest.fixture(scope="session", autouse=True)
def shared_model() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder, "_load", load_once)
        yield


@pytest.fixture
def own_embedding_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each embedder loads its model, as in a daemon."""
    monkeypatch.setattr(Embedder, "_load", LOAD)
