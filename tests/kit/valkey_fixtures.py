"""Redis for tests: a Valkey started for the session, or the server at KAIROS_TEST_REDIS_URL.

A pytest plugin: `pytest_plugins = ["tests.kit.valkey_fixtures"]`. On the shared server, each test uses its own
namespace and deletes it at the end; nothing else is flushed. Tests that kill, stop or fill a server use `own_valkey`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from kairos.orchestration.queue.queue import FairQueue
from kairos.redis_client import connect
from tests.kit.valkey import ValkeyServer, delete_namespace


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of the server that tests share."""
    if given := os.environ.get("KAIROS_TEST_REDIS_URL"):
        yield given
        return
    server = ValkeyServer()
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A server for this test only, which it may kill, stop or fill."""
    server = ValkeyServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest_asyncio.fixture
async def valkey(valkey_url: str, namespace: str) -> AsyncIterator[Redis]:
    """A client of the shared server. Deletes the namespace of the test afterwards."""
    client = connect(valkey_url)
    yield client
    await delete_namespace(client, namespace)
    await client.aclose()


@pytest_asyncio.fixture
async def fair_queue(valkey: Redis, namespace: str) -> FairQueue:
    return FairQueue(valkey, namespace=namespace)
