"""A scripted model server, and providers that call it with normal or with short timeouts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from kairos.http import HttpClient
from kairos.llm.calls.providers import CallLimits, Providers
from tests.kit.model_server import ModelServer, ScriptedModel


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(ScriptedModel("up", answer="Grüße an dich")) as running:
        yield running


@pytest_asyncio.fixture
async def providers() -> AsyncIterator[Providers]:
    async with HttpClient() as http:
        yield Providers(http, CallLimits(usage_s=0.1, answer_bytes=20_000))


@pytest_asyncio.fixture
async def short_timeouts() -> AsyncIterator[Providers]:
    """Providers with short timeouts, for servers that hang."""
    async with HttpClient() as http:
        yield Providers(http, CallLimits(first_token_s=0.5, idle_s=0.2))
