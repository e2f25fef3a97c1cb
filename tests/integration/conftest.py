"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.api import Caller
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.providers import delete_all, operator_of


@pytest.fixture
async def operator(app: KairosApp, anonymous: Caller) -> AsyncIterator[Caller]:
    """An operator who owns the application's project. At the end the shared providers are removed."""
    yield await operator_of(app, anonymous)
    await delete_all(app.database)


@pytest.fixture
async def cloud() -> AsyncIterator[ModelServer]:
    """A server with two models that the application's catalogue does not have."""
    async with ModelServer() as server:
        server.add(ScriptedModel(name="large", answer="from large"))
        server.add(ScriptedModel(name="small", answer="from small"))
        yield server
