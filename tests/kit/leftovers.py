"""Finds and removes the rows and keys that a test file leaves in the shared engines.

A pytest plugin. Each file starts with empty tables and without keys in Redis, so the order of files does not matter.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from sqlalchemy.engine import make_url

from kairos import redis_keys
from kairos.embedded import Addresses

OURS = re.compile(rf"{redis_keys.NAMESPACE}:|test-|\{{?[0-9a-f]{{8}}-[0-9a-f-]{{27}}\}}?:")
"""Matches the keys of Kairos, which start with its namespace, the namespace of a test, or a project's id. A Redis named
in the environment may hold keys of other programs."""
OF_PYTEST = {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}
TABLES = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
and c.relname <> 'alembic_version'
"""


@dataclass(frozen=True)
class Leftovers:
    """Row counts by table, and names of keys."""

    rows: dict[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows or self.keys)


def leftovers(addresses: Addresses) -> Leftovers:
    """Return the rows and keys of Kairos in the engines. All tables in PostgreSQL's catalogue are checked."""
    with _owner(addresses) as owner:
        counts = {table: _count(owner, table) for (table,) in owner.execute(TABLES).fetchall()}
    with Redis.from_url(addresses.redis_url) as redis:
        keys = sorted(name for name in map(_text, redis.scan_iter(count=1000)) if OURS.match(name))
    return Leftovers({table: count for table, count in counts.items() if count}, tuple(keys))


def remove(addresses: Addresses, found: Leftovers) -> None:
    """Remove the leftovers that were found."""
    if found.rows:
        with _owner(addresses) as owner:
            tables = sql.SQL(", ").join(map(sql.Identifier, found.rows))
            # Tables that refer to these are either empty or in the list too.
            owner.execute(sql.SQL("truncate {} cascade").format(tables))
    if found.keys:
        with Redis.from_url(addresses.redis_url) as redis:
            redis.delete(*found.keys)


@pytest.fixture(scope="module", autouse=True)
def empty_engines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what the tests of a file left in the shared engines. Torn down after every other fixture of the file."""
    if not uses_engines(request):
        yield
        return
    addresses = request.getfixturevalue("addresses")
    yield
    remove(addresses, leftovers(addresses))


@pytest.fixture(scope="session", autouse=True)
def postgres_data_is_removed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove PostgreSQL's data at the end. When the tests run as root, it is outside pytest's folders."""
    yield
    for link in tmp_path_factory.getbasetemp().glob("**/postgres"):
        if link.is_symlink():
            shutil.rmtree(link.readlink(), ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def environment_is_restored() -> Iterator[None]:
    """Check that a file leaves the environment unchanged, except for variables that libraries add when imported."""
    before = _environment()
    yield
    now = {name: value for name, value in _environment().items() if name in before or name.startswith("KAIROS")}
    assert now == before, "the file's tests changed environment variables"


@pytest.fixture(scope="module", autouse=True)
def folders_of_pytest_stay_private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check that a file leaves pytest's folders closed to other users.

    Each start of pytest closes its root folder again, which would end a PostgreSQL of another user below it.
    """
    yield
    base = tmp_path_factory.getbasetemp()
    opened = [
        str(path) for path in (base, *base.parents) if path.name.startswith("pytest-") and path.stat().st_mode & 7
    ]
    assert opened == [], "the file's tests opened these folders to other users"


def uses_engines(request: pytest.FixtureRequest) -> bool:
    """Return whether a test of this file uses the shared engines, directly or through a fixture."""
    files = (item for item in request.session.items if item.path == request.path)
    return any("addresses" in getattr(item, "fixturenames", ()) for item in files)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_PYTEST}


def _owner(addresses: Addresses) -> psycopg.Connection:
    url = make_url(addresses.migration_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _count(owner: psycopg.Connection, table: str) -> int:
    row = owner.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
    assert row
    return row[0]


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
