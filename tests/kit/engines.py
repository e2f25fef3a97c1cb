"""The engines that tests use: embedded ones in a separate folder, or the servers named in the environment."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from redis.connection import parse_url
from sqlalchemy.engine import make_url

from kairos.embedded import Addresses, DataFolder, EmbeddedEngines

DATABASE = "KAIROS_TEST_DATABASE_URL"
REDIS = "KAIROS_TEST_REDIS_URL"


@asynccontextmanager
async def engines_for_tests(folder: Path) -> AsyncIterator[Addresses]:
    """Yield the addresses of an empty database with the three roles, and of a Redis. The owner is not a superuser."""
    database, redis = os.environ.get(DATABASE), given_redis()
    with DataFolder(folder) as data:
        engines = EmbeddedEngines(data, postgres=not database, valkey=not redis, model=False)
        started = await engines.start()
        own = _make_database(database) if database else None
        try:
            yield Addresses(
                own["app"] if own else started.database_url,
                own["owner"] if own else started.migration_url,
                own["system"] if own else started.system_url,
                redis or started.redis_url,
                None,
                None,
            )
        finally:
            if own and database:
                _drop_database(database, own["name"])
            await engines.stop()


def given_redis() -> str | None:
    """Return the Redis named in the environment, with a separate database number for each test process.

    With a shared number, a worker of one process would claim the tasks that another process submitted.
    """
    given, process = os.environ.get(REDIS), int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if not given or not process:
        return given
    server, _, options = given.partition("?")
    return f"{server}?db={parse_url(given).get('db', 0) + process}&{options}".rstrip("&")


def _make_database(admin_url: str) -> dict[str, str]:
    name = f"kairos_test_{secrets.token_hex(4)}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for role in ("owner", "app", "system"):
            connection.execute(
                sql.SQL("create role {} login password {}").format(sql.Identifier(f"{name}_{role}"), sql.Literal(name))
            )
        connection.execute(
            sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(f"{name}_owner"))
        )
    base = make_url(admin_url).set(drivername="postgresql+psycopg", database=name, password=name)
    urls = {
        r: base.set(username=f"{name}_{r}").render_as_string(hide_password=False) for r in ("owner", "app", "system")
    }
    return {**urls, "name": name}


def _drop_database(admin_url: str, name: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        for role in ("owner", "app", "system"):
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(f"{name}_{role}")))
