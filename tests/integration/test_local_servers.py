"""The search for local model servers: real servers on free ports, also hostile ones, and what it reports of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from kairos.llm.catalog.discovery import ServerKind
from kairos.orchestration.providers import local_servers
from kairos.orchestration.providers.local_servers import LocalServers
from tests.kit.any_server import AnyServer
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer
from tests.kit.providers import draft

MOST_S = 4.0
OLLAMA = {"data": [{"id": "llama3.2:3b", "owned_by": "library"}, {"id": "qwen3:4b", "owned_by": "library"}]}


@pytest.fixture
def local(app: KairosApp, monkeypatch: pytest.MonkeyPatch) -> LocalServers:
    """The application's search, on this machine and on no port yet."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    found = app.parts.orchestration.local_servers
    found.hosts, found.ports = lambda _: ("127.0.0.1",), {}
    return found


async def search(operator: Caller) -> Reply:
    began = time.monotonic()
    reply = await operator.get("/api/providers/local")
    assert reply.status == 200, reply.body
    assert time.monotonic() - began < MOST_S
    return reply


async def test_servers_are_found_with_kind_address_and_models(operator: Caller, local: LocalServers):
    vllm = {"data": [{"id": "qwen", "owned_by": "vllm", "max_model_len": 32768}]}
    async with AnyServer(lambda _: OLLAMA) as first, AnyServer(lambda _: vllm) as second:
        local.ports = {ServerKind.OLLAMA: first.port, ServerKind.LLAMA_CPP: second.port}
        found = await search(operator)
    assert [(s["kind"], s["address"], s["models"]) for s in found["servers"]] == [
        ("ollama", f"{first.address}/v1", 2),
        ("vllm", f"{second.address}/v1", 1),
    ]
    assert all((s["problem"], s["provider_id"], s["from_file"]) == (None, None, False) for s in found["servers"])
    assert (found["causes"], found["hosts"]) == ([], [{"name": "127.0.0.1", "known": True}])
    assert all("Authorization" not in request.headers for request in first.requests)


async def test_ollama_at_ollama_host_is_found(
    operator: Caller, local: LocalServers, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
):
    async with AnyServer(lambda _: OLLAMA) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{server.port}")
        local.ports = {ServerKind.OLLAMA: unused_tcp_port}
        found = await search(operator)
    assert [s["address"] for s in found["servers"]] == [f"{server.address}/v1"]


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"data": [')
    while True:
        await response.write(b'{"id": "x"},' * 1000)


async def dripping(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def silent(request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def answering(make: Callable[[], web.Response]) -> Any:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return make()

    return answer


ODD = {
    "html": answering(lambda: web.Response(text="<html><h1>It works!</h1></html>", content_type="text/html")),
    "garbage": answering(lambda: web.Response(body=bytes(range(256)) * 100)),
    "deep": answering(lambda: web.json_response(text="[" * 200_000)),
    "huge": answering(lambda: web.json_response({"data": [{"id": "x" * 1000}] * 20_000})),
    "redirect": answering(lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/v1/models"})),
    "numbers": answering(lambda: web.json_response({"data": [1, None, {"id": 7}, {"id": "\x1b[2J"}]})),
    "endless": endless,
    "dripping": dripping,
    "silent": silent,
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_server_neither_breaks_nor_delays_the_search(operator: Caller, local: LocalServers, name: str):
    runner = web.ServerRunner(web.Server(ODD[name], access_log=None, handler_cancellation=True), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with AnyServer(lambda _: OLLAMA) as good:
            local.ports = {ServerKind.VLLM: runner.addresses[0][1], ServerKind.OLLAMA: good.port}
            found = await search(operator)
    finally:
        await runner.cleanup()
    odd, ollama = found["servers"]
    assert (ollama["address"], ollama["models"], ollama["problem"]) == (f"{good.address}/v1", 2, None)
    assert (odd["models"], odd["needs_key"], bool(odd["problem"])) == (0, False, True)
    assert len(odd["problem"]) <= local_servers.LONGEST_PROBLEM
    assert "\x1b" not in json.dumps(found.body, ensure_ascii=False)


async def test_server_that_speaks_no_http_is_reported(operator: Caller, local: LocalServers):
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        local.ports = {ServerKind.LM_STUDIO: server.sockets[0].getsockname()[1]}
        found = await search(operator)
    assert [(s["kind"], s["models"], bool(s["problem"])) for s in found["servers"]] == [("lmstudio", 0, True)]


async def test_server_that_wants_a_key_is_marked(operator: Caller, local: LocalServers):
    async with AnyServer(lambda _: (401, {"error": "no key"})) as server:
        local.ports = {ServerKind.VLLM: server.port}
        found = await search(operator)
    assert [(s["needs_key"], s["models"]) for s in found["servers"]] == [(True, 0)]


async def test_added_servers_are_marked(operator: Caller, local: LocalServers, models: ModelServer):
    """A stored provider, also under the name localhost, and an entry of kairos.toml."""
    async with AnyServer(lambda _: OLLAMA) as server:
        address = f"http://localhost:{server.port}/v1"
        made = await operator.post("/api/providers", draft(address, kind="ollama", key=None))
        local.ports = {ServerKind.OLLAMA: server.port, ServerKind.VLLM: models.port}
        found = await search(operator)
    marks = {s["address"]: (s["provider_id"], s["from_file"]) for s in found["servers"]}
    assert marks == {f"{server.address}/v1": (made["id"], False), models.base_url: (None, True)}


async def test_causes_are_named_when_nothing_answers(operator: Caller, local: LocalServers, unused_tcp_port: int):
    local.ports = {ServerKind.OLLAMA: unused_tcp_port}
    local.hosts = lambda _: ("127.0.0.1", "no-such-host.invalid")
    found = await search(operator)
    assert found["servers"] == []
    assert found["causes"][:3] == ["not_started", "listens_on_loopback", "firewall"]
    assert found["hosts"] == [
        {"name": "127.0.0.1", "known": True},
        {"name": "no-such-host.invalid", "known": False},
    ]


async def test_container_that_does_not_know_its_host_is_named(
    operator: Caller, local: LocalServers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("container", "podman")
    local.hosts = lambda _: ("127.0.0.1", "host.docker.internal.invalid")
    monkeypatch.setattr(local_servers, "CONTAINER_HOST", "host.docker.internal.invalid")
    found = await search(operator)
    assert (found["in_container"], found["causes"][-1]) == (True, "host_unknown")


async def test_host_with_two_names_is_searched_once(operator: Caller, local: LocalServers):
    async with AnyServer(lambda _: OLLAMA) as server:
        local.ports, local.hosts = {ServerKind.OLLAMA: server.port}, lambda _: ("127.0.0.1", "localhost")
        found = await search(operator)
    assert len(found["servers"]) == 1


async def test_only_operators_search(app: KairosApp, anonymous: Caller, local: LocalServers):
    owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
    async with AnyServer(lambda _: OLLAMA) as server:
        local.ports = {ServerKind.OLLAMA: server.port}
        assert (await owner.get("/api/providers/local")).status == 403
        assert (await anonymous.get("/api/providers/local")).status == 401
    assert server.requests == []
