"""Redis for tests: a Valkey started for the session, or the server at KAIROS_TEST_REDIS_URL.

A pytest plugin: `pytest_plugins = ["tests.kit.valkey_fixtures"]`. On a shared server each test lives in a namespace of
its own and removes it at the end, so nothing there is flushed. What kills, stops or fills a server takes `own_valkey`.
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
    """A server that tests share."""
    if given := os.environ.get("KAIROS_TEST_REDIS_URL"):
        yield given
        return
    server = ValkeyServer()
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A server that this test may mistreat."""
    server = ValkeyServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest_asyncio.fixture
async def valkey(valkey_url: str, namespace: str) -> AsyncIterator[Redis]:
    """A client of the shared server, which forgets the test's namespace afterwards."""
    client = connect(valkey_url)
    yield client
    await delete_namespace(client, namespace)
    await client.aclose()


@pytest_asyncio.fixture
async def fair_queue(valkey: Redis, namespace: str) -> FairQueue:
    return FairQueue(valkey, namespace=namespace)
