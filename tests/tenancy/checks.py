"""Isolation checks used by tests; `test_the_suite_can_fail.py` verifies that they can fail."""

from __future__ import annotations

from uuid import uuid4

from kairos.llm.cache.response_key import CacheKey
from tests.kit.caching import keep, served
from tests.tenancy.cases import listed_tasks
from tests.tenancy.world import SECRET, World


async def lists_keep_projects_apart(world: World) -> None:
    request = await listed_tasks(world)
    assert SECRET not in str((await world.a.get(request.path)).body)
    assert str(request.ids[0]) in str((await world.b.get(request.path)).body), "B sees its own task"


async def cache_keeps_projects_apart(world: World) -> None:
    """Check that an answer stored for Y is served in Y and not in X."""
    cache, digest = world.app.parts.llm.router.cache, uuid4().bytes * 2
    in_x, in_y = (CacheKey(project_id, digest, False) for project_id in (world.x, world.y))
    await keep(cache, in_y, SECRET)
    assert await served(cache, in_y)
    assert not await served(cache, in_x)
