"""Every route refuses values that PostgreSQL, JSON or Python cannot store with 422."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from aiohttp import WSServerHandshakeError
from fastapi import FastAPI
from fastapi.routing import APIRoute
from yarl import URL

from kairos.api.app import ROUTERS
from kairos.api.json_route import JsonRoute
from kairos.api.live.event_listener import BAD_CURSOR
from tests.kit.api import Caller, Reply
from tests.tenancy.cases import CASES, ApiRequest, Kind
from tests.tenancy.world import World

DIGITS = "5,000 digits"
"""Placeholder for an integer of that length, which Python's `json` cannot write."""
PLAIN = "a\x00", "\ud800", 2**63, -(2**63) - 1, DIGITS, float("nan"), float("inf"), -float("inf")
DEEP = json.loads("[" * 900 + "]" * 900)
ODD = [*PLAIN, {"a\x00": 1}, {"\udfff": 1}, [[{"a": ["b\x00"]}]], {"maximum": 2**64}, DEEP]
FEW = ODD[:3]
TIMES = [
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59",
    "2026-02-30T00:00:00Z",
    "-99999999999999999999",
    "1e30",
]
NUMBERS = str(2**63), str(2**64), str(-(2**63)), "1" * 5000, "nan", "1e400"
BODIES = [
    b"\xff\xfe",
    b'{"prompt": "\xff"}',
    b'{"prompt": "\xed\xa0\x80"}',
    b'{"prompt": 1e999}',
    b"[" * 100_000,
    b'"\x00"',
    '{"prompt": "x"}'.encode("utf-16"),
]

OPERATIONS = {name: case for name, case in CASES.items() if not name[1].startswith("/api/auth/logout")}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The OpenAPI document. `resolved` resolves its references."""
    app = FastAPI()
    for routes in ROUTERS:
        app.include_router(routes)
    return app.openapi()


def test_every_route_reads_its_body_strictly():
    found = [route for routes in ROUTERS for route in routes.routes if isinstance(route, APIRoute)]
    assert len(found) > 50
    assert [route.path for route in found if not isinstance(route, JsonRoute)] == []


@pytest.mark.parametrize("name", OPERATIONS, ids=" ".join)
async def test_no_route_accepts_values_that_cannot_be_stored(
    world: World, described: dict[str, Any], name: tuple[str, str]
):
    method, template = name
    request = await OPERATIONS[name].prepare(world)
    operation = described["paths"][template][method.lower()]
    caller = world.operator if OPERATIONS[name].kind is Kind.OPERATOR else world.b
    for path, body in [*odd_queries(request, operation), *odd_paths(request, template)]:
        await check_refused(caller, method, path, body)
    if template != "/api/dataset/import":  # its response reports on each row
        for body in odd_bodies(request, schema_of(described, operation)):
            await check_refused(caller, method, request.path, body)
    for other in (world.anonymous, world.viewer):
        for path, body in odd_queries(request, operation):
            assert (await send(other, method, path, body)).status in (401, 403, 404, 409, 422)


@pytest.mark.parametrize(
    "path", [path for (method, path), c in CASES.items() if c.kind is Kind.OPEN and method == "POST"]
)
async def test_no_open_route_accepts_values_that_cannot_be_stored(world: World, described: dict[str, Any], path: str):
    name = ("POST", path)
    request = await CASES[name].prepare(world)
    for body in odd_bodies(request, schema_of(described, described["paths"][name[1]][name[0].lower()])):
        await check_refused(world.anonymous, name[0], request.path, body)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_body_that_is_not_utf8_json_is_refused(world: World, body: bytes):
    for caller, path in ((world.b, "/api/tasks"), (world.anonymous, "/api/auth/login")):
        reply = await caller.call("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (reply.status, reply["code"]) == (422, "invalid_input"), path


@pytest.mark.parametrize("header", ["Idempotency-Key", "traceparent", "Cache-Control", "User-Agent", "Authorization"])
async def test_odd_headers_cause_no_server_error(world: World, header: str):
    for value in ("\udc80\udcff", "é" * 50, "a" * 300):
        headers = {header: value}
        reply = await world.b.call("POST", "/api/tasks", json={"prompt": "x"}, headers=headers)
        assert reply.status in (200, 201, 401, 422)


async def test_nul_in_a_quoted_cookie_is_refused(world: World):
    headers = {"Cookie": 'kairos_refresh="a\\000b"', "Origin": world.anonymous.address}
    reply = await world.anonymous.call("POST", "/api/auth/refresh", json={}, headers=headers)
    assert reply.status == 422


async def test_socket_with_nul_in_its_address_is_refused(world: World):
    for query in ("ticket=%00", f"ticket={world.b_id}.%00", "ticket=x&after=%00"):
        with pytest.raises(WSServerHandshakeError) as refusal:
            await world.b.connect(URL(f"/api/events?{query}", encoded=True))
        assert refusal.value.status == 403


async def test_socket_with_an_invalid_cursor_is_closed_with_a_code(world: World):
    for after in (f"{2**64}-1", "1-" + "9" * 90, "ş"):
        async with world.b.connect(f"/api/events?after={after}") as socket:
            assert (await socket.receive()).data == BAD_CURSOR.code


def odd_queries(request: ApiRequest, operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield address and body with one odd value in each query parameter, and in an unknown parameter."""
    mark = "&" if "?" in request.path else "?"
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "query":
            continue
        for value in ("\x00", "a\x00b", *odd_values_for(parameter["schema"])):
            yield f"{request.path}{mark}{urlencode({parameter['name']: value})}", request.body
    yield f"{request.path}{mark}%00=1", request.body


def odd_values_for(schema: dict[str, Any]) -> Sequence[str]:
    kinds = [schema, *schema.get("anyOf", [])]
    if any(kind.get("format") == "date-time" for kind in kinds):
        return TIMES
    return NUMBERS if any(kind.get("type") in ("integer", "number") for kind in kinds) else ()


def odd_paths(request: ApiRequest, template: str) -> Iterator[tuple[str, Any]]:
    """Yield address and body with NUL in each path parameter."""
    given, wanted = request.path.partition("?")[0].split("/"), template.split("/")
    for number, part in enumerate(wanted):
        if part.startswith("{"):
            yield "/".join([*given[:number], "a%00b", *given[number + 1 :]]), request.body


def schema_of(described: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the body, empty if the route has none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return resolved(described, content.get("schema", {}))


def resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return resolved(described, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "properties" in schema:
        return {**schema, "properties": {k: resolved(described, v) for k, v in schema["properties"].items()}}
    return schema


def odd_bodies(request: ApiRequest, schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the route's body with one odd value in each property of the schema, and in an unknown property."""
    if not schema:
        return
    odd: list[Any] = ODD
    for properties, put in places(schema, request.body or {}):
        for name, kind in properties.items():
            for value in (*odd, *(TIMES[:4] if "date-time" in str(kind) else ())):
                yield put(name, value)
            odd = FEW
    yield {**(request.body or {}), "a\x00": 1}
    yield ODD[0]


def places(schema: dict[str, Any], body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the properties of the body and of each object in it, with a function that sets one of them."""
    yield schema["properties"], lambda name, odd: {**body, name: odd}
    for outer, inner in schema["properties"].items():
        if "properties" in inner:
            yield inner["properties"], lambda name, odd, outer=outer: {**body, outer: {name: odd}}


async def check_refused(caller: Caller, method: str, path: str, body: Any) -> None:
    reply = await send(caller, method, path, body)
    shown = json.dumps(body)[:200]
    assert reply.status == 422, f"{method} {path} {shown}: {reply.status} {reply.body}"
    assert reply["code"] == "invalid_input"


async def send(caller: Caller, method: str, path: str, body: Any) -> Reply:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    data = json.dumps(body).replace(f'"{DIGITS}"', "1" * 5000) if body is not None else None
    return await caller.call(method, URL(quote(path, safe="/?&=%"), encoded=True), data=data, headers=headers)
