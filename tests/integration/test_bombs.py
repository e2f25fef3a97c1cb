"""Small requests that would hold up the daemon: each is refused in words, and others are served meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit.api import Caller
from tests.unit.agents.test_confined import CODE, SCHEMAS

CHECKS: dict[str, dict[str, Any]] = {
    **{f"tests: {name}": {"tests": source} for name, source in CODE.items() if source.isprintable() or "\n" in source},
    **{f"schema: {name}": {"schema": schema} for name, schema in SCHEMAS.items() if "infinite" not in name},
}


@pytest.mark.parametrize("checks", CHECKS.values(), ids=CHECKS.keys())
async def test_a_bomb_is_refused_in_words(owner: Caller, checks: dict[str, Any]):
    refused = await owner.post("/api/tasks", {"prompt": "x", "checks": checks})
    assert refused.status == 422
    assert "checks" in refused["detail"]


async def test_ten_bombs_at_once_do_not_hold_up_the_api(owner: Caller, anybody: Caller):
    """Somebody else's request, sent after them, is answered before they are refused."""
    body = {"prompt": "x", "checks": {"tests": CODE["finally"]}}
    bombs = asyncio.gather(*(owner.post("/api/tasks", body) for _ in range(10)))
    ready = asyncio.ensure_future(anybody.get("/api/health/ready"))
    await asyncio.wait({bombs, ready}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.done()
    assert not bombs.done()
    assert {reply.status for reply in await bombs} == {422}
