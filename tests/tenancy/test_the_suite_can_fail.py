"""The checks of this folder fail if a policy, a dependency or a Redis prefix is missing."""

from __future__ import annotations

import psycopg
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy.engine import make_url

from kairos import redis_keys
from kairos.embedded import Addresses
from tests.tenancy.cases import Kind
from tests.tenancy.checks import cache_keeps_projects_apart, lists_keep_projects_apart
from tests.tenancy.test_routes import check_dependency
from tests.tenancy.world import World


async def test_checks_fail_without_a_policy(world: World, addresses: Addresses):
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("alter table tasks disable row level security")
        try:
            with pytest.raises(AssertionError):
                await lists_keep_projects_apart(world)
        finally:
            owner.execute("alter table tasks enable row level security")
    await lists_keep_projects_apart(world)


@pytest.mark.parametrize("kind", [Kind.NAMED, Kind.LISTED, Kind.OWN, Kind.OPERATOR])
def test_checks_fail_without_a_dependency(kind: Kind):
    bare = APIRouter()
    bare.get("/api/tasks")(lambda: None)
    (route,) = bare.routes
    assert isinstance(route, APIRoute)
    with pytest.raises(AssertionError):
        check_dependency(kind, route)


async def test_checks_fail_without_a_redis_prefix(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_keys, "response_cache", lambda project_id: "{all}:cache:")
    with pytest.raises(AssertionError):
        await cache_keeps_projects_apart(world)
    monkeypatch.undo()
    await cache_keeps_projects_apart(world)
