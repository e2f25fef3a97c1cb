"""The number of statements of a list route does not grow with the number of rows."""

from __future__ import annotations

import pytest

from kairos.db.models import AuditAction
from kairos.db.repositories.access.people import audit
from tests.kit.statements import counted
from tests.tenancy.cases import CASES, Kind
from tests.tenancy.world import World

LISTS = [name for name, case in CASES.items() if name[0] == "GET" and case.kind in (Kind.LISTED, Kind.OWN)]
PERIODIC_UPDATES = "update sessions", "update api_keys"
"""Statements that run once a minute, on any request."""


@pytest.mark.parametrize("name", LISTS, ids=" ".join)
async def test_longer_list_takes_no_more_statements(world: World, name: tuple[str, str]):
    few = await statements(world, name)
    for _ in range(4):
        await CASES[name].prepare(world)
    async with world.app.database.project(world.y, world.b_id) as session:
        for _ in range(4):
            await audit(session, AuditAction.CONFIG_CHANGED, user_id=world.b_id, project_id=world.y)
    many = await statements(world, name)
    assert many <= few + 1, "one more is allowed: a cache was filled, or background work sent a statement"


async def statements(world: World, name: tuple[str, str]) -> int:
    request = await CASES[name].prepare(world)
    with counted(world.app.database) as sent:
        reply = await world.b.get(request.path)
    assert reply.status == 200
    return len([one for one in sent if not one.lower().startswith(PERIODIC_UPDATES)])
