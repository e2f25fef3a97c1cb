"""Checks on every route that only permitted callers can read or change the data of project Y.

Each case is a request of B with real ids of B. The attackers send it first, then B, as the positive control: B's
request would fail if an attacker had changed something or if the request were wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from kairos.api.access import permissions
from kairos.api.access.auth import operator, person, principal
from kairos.api.app import ROUTERS
from tests.kit.api import Caller, Reply, signed_in
from tests.tenancy.cases import CASES, ApiRequest, Case, Kind, with_unknown_ids
from tests.tenancy.world import SECRET, World


def routes() -> Iterator[tuple[str, APIRoute]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods or ()):
                    yield method, route


NAMES = {(method, route.path.replace(":path", "")): route for method, route in routes()}


def by_kind(*kinds: Kind):
    """Parametrize a test with the method and case of each route of these kinds."""
    chosen = [(name, case) for name, case in CASES.items() if case.kind in kinds]
    return pytest.mark.parametrize(
        ("method", "case"), [(n[0], c) for n, c in chosen], ids=[f"{n[0]} {n[1]}" for n, _ in chosen]
    )


def test_every_route_is_covered():
    assert set(NAMES) == set(CASES)


@pytest.mark.parametrize("name", NAMES, ids=" ".join)
def test_every_route_has_its_dependency(name):
    """Routes that need a credential depend on `principal`; routes that act in a project name a permission."""
    case, route = CASES[name], NAMES[name]
    check_dependency(case.kind, route)


def check_dependency(kind: Kind, route: APIRoute) -> None:
    calls = dependencies(route.dependant)
    if kind is Kind.OPEN:
        assert principal not in calls
    else:
        assert principal in calls, f"{route.path} requires no credential"
    if kind is Kind.OPERATOR:
        assert operator in calls
    if kind is Kind.LISTED or (kind is Kind.NAMED and person not in calls):
        assert [c for c in calls if hasattr(c, "permission")], f"{route.path} names no permission"


def dependencies(dependant) -> list:
    return [dependant.call, *(call for child in dependant.dependencies for call in dependencies(child))]


def test_permission_table_is_printed(capsys):
    """Print the permission of each route for reviewers."""
    lines = [permissions.table(), ""]
    for (method, path), route in sorted(NAMES.items(), key=lambda item: item[0][1]):
        needed = [c.permission for c in dependencies(route.dependant) if hasattr(c, "permission")]
        lines.append(f"{method:<6} {path:<44} {', '.join(needed) or CASES[method, path].kind.name.lower()}")
    with capsys.disabled():  # pytest-xdist discards the stdout of its processes
        print("\n" + "\n".join(lines), file=sys.stderr)


@by_kind(Kind.NAMED)
async def test_foreign_id_is_answered_like_an_unknown_id(world: World, method: str, case: Case):
    request = await case.prepare(world)
    foreign = await send(world.a, method, request)
    missing_request = with_unknown_ids(request)
    missing = await send(world.a, method, missing_request)
    assert foreign.status == missing.status == 404
    assert without_ids(foreign, request) == without_ids(missing, missing_request)
    await check_b_succeeds(world, method, case, request)


@by_kind(Kind.LISTED, Kind.OWN)
async def test_own_response_contains_no_data_of_the_other_project(world: World, method: str, case: Case):
    request = await case.prepare(world)
    if "logout" in request.path:
        return  # ends the session of the caller and returns nothing
    reply = await send(world.a, method, request)
    assert reply.status < 500
    check_no_data_of_b(world, request, reply)


@by_kind(Kind.NAMED, Kind.LISTED, Kind.OWN, Kind.OPERATOR)
@pytest.mark.parametrize("who", ["anonymous", "expired", "forged", "edited"])
async def test_request_without_valid_credential_is_refused(world: World, method: str, case: Case, who: str):
    request = await case.prepare(world)
    reply = await send(getattr(world, who), method, request)
    assert (reply.status, reply["code"]) == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    check_no_data_of_b(world, request, reply)


@by_kind(Kind.NAMED, Kind.LISTED)
async def test_removed_member_has_no_access(world: World, method: str, case: Case):
    request = await case.prepare(world)
    reply = await send(world.removed, method, request)
    assert reply.status in (404, 409), "the session stays valid, without a project"
    check_no_data_of_b(world, request, reply)
    await check_b_succeeds(world, method, case, request)


@by_kind(Kind.NAMED, Kind.LISTED)
async def test_api_key_of_another_project_has_no_access(world: World, method: str, case: Case):
    request = await case.prepare(world)
    reply = await send(world.key_of_x, method, request)
    assert reply.status in ((403, 404) if case.kind is Kind.NAMED else (200, 201, 403))
    check_no_data_of_b(world, request, reply)
    await check_b_succeeds(world, method, case, request)


@by_kind(Kind.NAMED, Kind.LISTED)
async def test_viewer_may_read_but_not_change(world: World, method: str, case: Case):
    request = await case.prepare(world)
    reply = await send(world.viewer, method, request)
    if case.viewer_may:
        assert reply.status == 200
    else:
        assert reply.status in (403, 404)
        await check_b_succeeds(world, method, case, request)


@by_kind(Kind.OPERATOR)
async def test_project_owner_is_not_an_operator(world: World, method: str, case: Case):
    request = await case.prepare(world)
    for caller in (world.a, world.b):
        reply = await send(caller, method, request)
        assert (reply.status, reply["code"]) == (403, "operators_only")
        assert SECRET not in str(reply.body)
    assert (await send(world.operator, method, request)).status < 300


@by_kind(Kind.OPEN)
async def test_open_routes_reveal_nothing(world: World, method: str, case: Case):
    request = await case.prepare(world)
    reply = await send(world.anonymous, method, request)
    assert reply.status < 500
    check_no_data_of_b(world, request, reply)


async def test_sign_out_ends_only_own_sessions(world: World):
    for path in ("/api/auth/logout", "/api/auth/logout-everywhere"):
        a = await signed_in(world.app.parts, world.anonymous, world.a_id, world.x)
        if path.endswith("logout"):
            assert (await a.post(path)).status == 204
            assert (await a.get("/api/auth/me")).status == 401
        assert (await world.b.get("/api/auth/me")).status == 200


async def send(caller: Caller, method: str, request: ApiRequest) -> Reply:
    return await caller.call(method, request.path, json=request.body)


async def check_b_succeeds(world: World, method: str, case: Case, request: ApiRequest) -> None:
    """Check that the request succeeds for B, as the positive control."""
    reply = await send(world.b, method, request)
    assert reply.status < 300, f"B's request failed too: {reply.status} {reply.body}"


def check_no_data_of_b(world: World, request: ApiRequest, reply: Reply) -> None:
    text = str(reply.body).replace(request.path, "")
    assert SECRET not in text
    named = [str(known) for known in (*request.ids, world.y, world.b_id) if str(known) not in request.path]
    assert [known for known in named if known in text] == []


def without_ids(reply: Reply, request: ApiRequest) -> str:
    """Return the body of the reply with the ids of the request replaced."""
    text = str(reply.body)
    for part in request.path.split("/"):
        if len(part) > 30:
            text = text.replace(part.split("?")[0], "ID")
    return text
