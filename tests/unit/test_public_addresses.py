"""Calls to addresses set by a project reach only public addresses, in any notation."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from kairos.host_literals import literal
from kairos.http import HttpClient, HttpForbidden, HttpLimits, HttpStatus, HttpTimeout, HttpUnreachable
from kairos.public_addresses import is_listed, is_public
from tests.kit.any_server import AnyServer


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
     "fc00::1", "fd12::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "2130706433", "0x7f.1",
     "0177.0.0.1", "127.1", "0x7f000001", "017700000001", "[::1]", "127.0.0.1."],
)  # fmt: skip
def test_address_is_not_public(host: str):
    address = literal(host)
    assert address is not None
    assert not is_public(address)


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "134744072"])
def test_address_is_public(host: str):
    address = literal(host)
    assert address is not None
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["example.com", "1password.com", "3com.test", "", "a b", "0x", "1.2.3.4.5", "1\x00", "1\ud800"]
)
def test_name_is_not_an_address(host: str):
    assert literal(host) is None


def test_operators_list_contains_names_addresses_and_networks():
    allowed = ["Intra.test", "10.0.0.0/8", "192.168.1.5", "fd00::/8", "bad/entry"]
    assert is_listed("intra.test.", None, allowed)
    assert is_listed("x", literal("10.2.3.4"), allowed)
    assert is_listed("x", literal("fd00::1"), allowed)
    assert not is_listed("x", literal("192.168.1.6"), allowed)
    assert not is_listed("not-intra.test", None, allowed)


class ScriptedResolver:
    """A resolver with scripted answers; the last one is repeated."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.queries: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        self.queries.append(host)
        turns = self.answers[host.partition(".")[0]]
        now = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            {"hostname": host, "host": each, "port": port, "family": socket.AF_INET6 if ":" in each else socket.AF_INET,
             "proto": 0, "flags": socket.AI_NUMERICHOST}
            for each in now
        ]  # fmt: skip

    async def close(self) -> None: ...


def client(names: ScriptedResolver, allowed: Sequence[str] = ()) -> HttpClient:
    return HttpClient(resolver=cast(AbstractResolver, names), private_hosts=lambda: allowed)


async def forbidden(http: HttpClient, url: str) -> None:
    with pytest.raises(HttpForbidden, match=r"not on the public internet.*plugins\.private_hosts"):
        await http.get_json(url, public_only=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"]
)
async def test_server_of_this_machine_is_not_called(host: str):
    async with AnyServer(lambda request: "secret") as server, HttpClient() as http:
        await forbidden(http, f"http://{host}:{server.port}/")
        assert server.requests == []


@pytest.mark.parametrize("found", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1"]])
async def test_name_that_resolves_to_a_private_address_is_not_called(found: list[str]):
    async with AnyServer(lambda request: "secret") as server, client(ScriptedResolver(inside=[found])) as http:
        await forbidden(http, f"http://inside.test:{server.port}/")
        assert server.requests == []


async def test_name_that_changes_its_address_is_checked_at_each_call():
    """DNS rebinding: the name first resolves to an allowed address, and then to one of this machine."""
    names = ScriptedResolver(turning=[["127.0.0.2"], ["127.0.0.1"]])
    async with AnyServer(lambda request: "secret") as server, client(names, ["127.0.0.2"]) as http:
        url = f"http://turning.test:{server.port}/"
        with pytest.raises((HttpUnreachable, HttpTimeout)):
            await http.get_json(url, public_only=True, limits=HttpLimits(connect_s=0.2, total_s=0.5))
        await forbidden(http, url)
        assert (server.requests, names.queries) == ([], ["turning.test", "turning.test"])


async def test_listed_host_is_called_and_its_redirect_is_not_followed():
    def answer(request: Any) -> Any:
        if request.target == "/away":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1/"})
        return "fine"

    allowed = ["inside.test"]
    names = ScriptedResolver(inside=[["127.0.0.1"]])
    async with AnyServer(answer) as server, client(names, allowed) as http:
        url = f"http://inside.test:{server.port}/"
        assert await http.get_json(url, public_only=True) == "fine"
        with pytest.raises(HttpStatus, match="not followed"):
            await http.get_json(f"{url}away", public_only=True)
        allowed.clear()
        await forbidden(http, url)
