"""Small requests that would block the daemon are refused with a reason, and other requests are served meanwhile."""

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
async def test_expensive_check_is_refused_with_a_reason(owner: Caller, checks: dict[str, Any]):
    refused = await owner.post("/api/tasks", {"prompt": "x", "checks": checks})
    assert refused.status == 422
    assert "checks" in refused["detail"]


async def test_ten_concurrent_expensive_checks_do_not_block_the_api(owner: Caller, anonymous: Caller):
    """Another caller's request, sent after them, is answered before they are refused."""
    body = {"prompt": "x", "checks": {"tests": CODE["finally"]}}
    bombs = asyncio.gather(*(owner.post("/api/tasks", body) for _ in range(10)))
    ready = asyncio.ensure_future(anonymous.get("/api/health/ready"))
    await asyncio.wait({bombs, ready}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.done()
    assert not bombs.done()
    assert {reply.status for reply in await bombs} == {422}
