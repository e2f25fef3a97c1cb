"""Loads the embedding model once per test process: each load costs half a second and a full garbage collection.

A pytest plugin. Tests of the loading itself use the fixture `own_embedding_models`.
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
    """Let each embedder load its own model, as in a daemon."""
    monkeypatch.setattr(Embedder, "_load", LOAD)
