"""Requests with a foreign Host header are refused on every route and change nothing."""

from __future__ import annotations

import aiohttp
import pytest

from kairos.api.access.public_address import ANY_HOST
from tests.tenancy.cases import CASES, Case
from tests.tenancy.world import SECRET, World

FOREIGN = ["evil.test", "evil.test:8484", "127.0.0.1.evil.test", "192.0.2.1"]
HEALTH = {("GET", path) for path in ANY_HOST}


@pytest.mark.parametrize(("method", "path", "case"), [(*n, c) for n, c in CASES.items()], ids=lambda v: str(v)[:40])
async def test_no_route_is_served_under_a_foreign_host(world: World, method: str, path: str, case: Case):
    request = await case.prepare(world)
    for host in FOREIGN:
        reply = await world.b.call(method, request.path, json=request.body, headers={"Host": host})
        if (method, path) in HEALTH:
            assert reply.status == 200
        else:
            assert (reply.status, reply["code"]) == (421, "foreign_host")
            assert SECRET not in str(reply.body)
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/settings", "/assets/x.js", "/api/openapi.json", "/api/nothing"])
async def test_no_page_or_file_is_served_under_a_foreign_host(world: World, path: str):
    assert (await world.anonymous.get(path, headers={"Host": "evil.test"})).status == 421


async def test_no_websocket_opens_under_a_foreign_host(world: World):
    ticket = (await world.b.post("/api/events/ticket"))["ticket"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with world.b.connect(f"/api/events?ticket={ticket}", headers={"Host": "evil.test"}):
            pass
    assert refused.value.status == 421
    headers = refused.value.headers or {}
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    async with world.b.connect(f"/api/events?ticket={ticket}") as socket:
        assert (await socket.receive_json())["type"] == "hello", "the ticket is still valid"


@pytest.mark.parametrize(
    ("origin", "served"),
    [
        ("http://{host}", True),
        ("https://{host}", False),
        ("ws://{host}", False),
        ("http://{host}.evil.test", False),
        ("http://localhost:1", False),
        ("http://evil.test", False),
        ("null", False),
        ("", False),
    ],
)
async def test_page_opens_a_websocket_only_from_its_own_origin(world: World, origin: str, served: bool):
    ticket = (await world.b.post("/api/events/ticket"))["ticket"]
    page = origin.format(host=world.anonymous.address.removeprefix("http://"))
    connecting = world.b.connect(f"/api/events?ticket={ticket}", headers={"Origin": page})
    if served:
        async with connecting as socket:
            assert (await socket.receive_json())["type"] == "hello"
        return
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connecting:
            pass
    assert refused.value.status == 403
    assert (refused.value.headers or {})["X-Content-Type-Options"] == "nosniff"


async def test_forwarded_scheme_of_a_trusted_proxy_is_accepted(world: World):
    """A proxy on loopback is trusted by default."""
    ticket = (await world.b.post("/api/events/ticket"))["ticket"]
    page = world.anonymous.address.replace("http://", "https://")
    headers = {"Origin": page, "X-Forwarded-Proto": "https"}
    async with world.b.connect(f"/api/events?ticket={ticket}", headers=headers) as socket:
        assert (await socket.receive_json())["type"] == "hello"


async def test_links_never_begin_with_the_host_header(world: World):
    invited = await world.b.post("/api/invitations", {"role": "viewer"}, headers={"Host": "127.0.0.2:1"})
    reset = await world.operator.post(f"/api/users/{world.b_id}/reset-link", headers={"Host": "127.0.0.2:1"})
    assert invited["link"].startswith("http://localhost:8484/join#")
    assert reset["link"].startswith("http://localhost:8484/reset#")


async def test_api_responses_are_not_cached(world: World):
    for path in ("/api/tasks", "/api/nothing", "/api/openapi.json", "/api/health/live", "/api/auth/login"):
        for caller in (world.b, world.anonymous):
            reply = await caller.get(path)
            assert reply.headers["Cache-Control"] == "no-store", path
            assert reply.headers["X-Content-Type-Options"] == "nosniff", path
