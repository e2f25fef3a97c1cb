"""The check for leftovers finds rows of every table, keys and files. Rows and keys can be removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from kairos import redis_keys
from kairos.db.engine import Database
from kairos.db.models import PROJECT_OWNED
from kairos.embedded import Addresses
from kairos.tenancy import ProjectId, new_id
from tests.kit.filling import fill
from tests.kit.leftovers import leftovers, remove
from tests.kit.people import new_project_in
from tests.tenancy.conftest import check_engines, check_files


async def test_leftover_rows_are_found_and_removed(database: Database, addresses: Addresses):
    await fill(database, *await new_project_in(database))
    found = leftovers(addresses)
    assert {row.__tablename__ for row in PROJECT_OWNED} | {"projects", "users", "audit_log"} <= found.rows.keys()
    with pytest.raises(AssertionError, match="users"):
        check_engines(addresses)
    remove(addresses, found)
    check_engines(addresses)


@pytest.mark.parametrize(
    "key",
    [
        redis_keys.breakers(),
        redis_keys.response_cache(ProjectId(new_id())),
        f"{new_id()}:x",
    ],
    ids=["of all projects", "of a project's cache", "of a project"],
)
def test_leftover_keys_are_found_and_removed(addresses: Addresses, key: str):
    with Redis.from_url(addresses.redis_url) as redis:
        redis.set(key, "x")
        redis.set("of another program", "x")
        with pytest.raises(AssertionError, match="keys are left"):
            check_engines(addresses)
        remove(addresses, leftovers(addresses))
        check_engines(addresses)
        assert redis.getdel("of another program") == b"x"


def test_leftover_files_are_found(tmp_path: Path):
    check_files(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(AssertionError, match="folder"):
        check_files(tmp_path)
