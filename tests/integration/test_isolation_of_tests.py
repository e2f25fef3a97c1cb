"""State that one test leaves in the engines does not affect the next, even if a port is reused."""

from __future__ import annotations

import socket

import pytest

from kairos.config import ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from tests.kit.kairos_app import open_app
from tests.kit.model_server import ModelServer, ScriptedModel


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def test_unavailable_model_opens_its_breaker(addresses: Addresses, port: int):
    dead = ModelSettings(name="echo", base_url=f"http://127.0.0.1:{port}/v1", local=True, context=8192)
    async with ModelServer() as none, open_app(addresses, none, models=[dead]) as app, app.working():
        first = await app.finished(await app.submit())
        second = await app.finished(await app.submit())
    assert (first.state, second.state) == (TaskState.DEAD, TaskState.DEAD)
    assert "its circuit breaker is open" in (second.error or {})["message"]


async def test_breaker_is_closed_for_the_next_test_at_the_same_address(addresses: Addresses, port: int):
    async with ModelServer(port=port) as server:
        server.add(ScriptedModel(name="echo", answer="hello"))
        async with open_app(addresses, server) as app, app.working():
            assert (await app.finished(await app.submit())).state == TaskState.SUCCEEDED
