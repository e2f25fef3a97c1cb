"""Shared fixtures: engines once per session; a scripted model server and a Kairos application per test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import numpy  # noqa: F401 - pytest.approx imports it, and fails while a thread of the embedder is importing it
import pytest
from hypothesis import settings
from redis import Redis

from kairos import redis_keys
from kairos.config import Settings
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.embedded import Addresses
from tests.kit.api import Caller, serving, signed_in
from tests.kit.engines import engines_for_tests
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel

# `gate` gives the same result for the same tree, however slow the machine is. `pytest --hypothesis-profile=search`
# tries more examples, different ones in each run.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1_000)
settings.load_profile("gate")

# Tests start Kairos hundreds of times. With this variable, which some container images set, each of these processes
# would compile all of Kairos again, which takes longer than most commands.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest_plugins = [
    "tests.kit.valkey_fixtures",
    "tests.kit.caching",
    "tests.kit.hashing",
    "tests.kit.built_dashboard",
    "tests.kit.embedding",
    "tests.kit.leftovers",
    "tests.kit.daemon_process",
    "tests.kit.folder_order",
]


gc.disable()


def pytest_collection_finish() -> None:
    """Exclude tests, modules and libraries from garbage collection: they live until the end."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Replace lone surrogates in reports. A captured log may contain them, and pytest-xdist aborts the run on one."""
    return encodable((yield))


def encodable(value: Any) -> Any:
    """Return the value with `?` in place of characters that UTF-8 cannot encode, in strings at any depth."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(encodable(inner) for inner in value)
    return value


@pytest.fixture(scope="session")
async def addresses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Addresses]:
    """Start PostgreSQL and Redis, and migrate the database."""
    # When the tests run as root, PostgreSQL runs as another user, who may not read pytest's own folder.
    folder: Path = tmp_path_factory.mktemp("engines")
    async with engines_for_tests(folder) as found:
        schema.migrate(DatabaseAddresses(found.database_url, found.migration_url, found.system_url))
        yield found


@pytest.fixture(autouse=True)
def no_breaker_is_open(request: pytest.FixtureRequest) -> None:
    """Delete the shared circuit breakers before each test.

    The engines outlive a test, and breakers identify a model by its address: a port that was closed in one test may
    belong to the model server of the next.
    """
    if "addresses" in request.fixturenames:
        with Redis.from_url(request.getfixturevalue("addresses").redis_url) as redis:
            redis.delete(redis_keys.breakers())


@pytest.fixture
async def database(addresses: Addresses) -> AsyncIterator[Database]:
    """The connection pools of a daemon."""
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    database = Database(at, Settings().database)
    yield database
    await database.close()


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    """A server with one model, `echo`, that answers every prompt with `hello`."""
    async with ModelServer() as server:
        server.add(ScriptedModel(name="echo", answer="hello"))
        yield server


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer) -> AsyncIterator[KairosApp]:
    """A Kairos application in this process, with a project of its own."""
    async with open_app(addresses, models) as app:
        yield app


@pytest.fixture
async def anonymous(app: KairosApp) -> AsyncIterator[Caller]:
    """An API caller without a token."""
    async with serving(app.parts) as caller:
        yield caller


@pytest.fixture
async def owner(app: KairosApp, anonymous: Caller) -> Caller:
    """An API caller signed in as the owner of the project."""
    return await signed_in(app.parts, anonymous, app.user_id, app.project_id)
