"""Discovery of model servers, tested with real HTTP servers on free local ports. No remote address is called."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from kairos.errors import KairosError
from kairos.http import HttpClient
from kairos.llm.calls.provider import ListedModel
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog import discovery, prices
from kairos.llm.catalog.catalog import FREE, Price
from kairos.llm.catalog.discovery import CloudProvider, FoundModel, FoundServer, ServerKind, settings_of

KEY = "sk-secret-0123456789"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalServers:
    """Servers on free ports, and a scan that finds them."""

    def __init__(self, stack: AsyncExitStack, http: HttpClient) -> None:
        self._stack = stack
        self._http = http

    async def serve(self, handler: Handler) -> int:
        """Start a server that answers every request with `handler`, and return its port."""
        server = web.Server(handler)  # pyright: ignore[reportArgumentType]
        runner = web.ServerRunner(server, shutdown_timeout=0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    async def listen(self, greeting: bytes | None) -> int:
        """Start a server without HTTP, which sends its greeting and closes or stays silent, and return its port."""

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._stack.callback(writer.transport.abort)
            if greeting is not None:
                writer.write(greeting)
                writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return server.sockets[0].getsockname()[1]

    async def scan(
        self,
        ports: dict[ServerKind, int] | None = None,
        environ: dict[str, str] | None = None,
        *,
        providers: tuple[CloudProvider, ...] = (),
        cards: bool = False,
        timeout_s: float = 10,
    ) -> tuple[FoundServer, ...]:
        findings = await discovery.scan(
            Providers(self._http).list_models,
            environ or {},
            get_json=self._http.get_json if cards else None,
            ports=ports or {},
            providers=providers,
            timeout_s=timeout_s,
            remote_timeout_s=timeout_s,
        )
        return findings.servers


@pytest.fixture
async def servers() -> AsyncIterator[LocalServers]:
    async with AsyncExitStack() as stack:
        yield LocalServers(stack, await stack.enter_async_context(HttpClient()))


def listing(*models: str | dict[str, Any]) -> Handler:
    """Return a handler that lists these models at /v1/models and answers other paths with 404."""
    data = [{"id": model, "object": "model"} if isinstance(model, str) else model for model in models]

    async def answer(request: web.Request) -> web.Response:
        if (request.method, request.path) != ("GET", "/v1/models"):
            return web.json_response({"error": "nothing here"}, status=404)
        return web.json_response({"object": "list", "data": data})

    return answer


def answering_with(body: str, status: int = 200, content_type: str = "application/json") -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type=content_type)

    return answer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listing_failed(server: FoundServer) -> bool:
    return (server.problem or "").startswith("models could not be listed: ")


def cloud(kind: ServerKind, port: int, *key_names: str) -> CloudProvider:
    return CloudProvider(kind, f"http://127.0.0.1:{port}/v1", key_names)


async def test_server_on_each_usual_port_is_found_with_its_models(servers: LocalServers) -> None:
    ports = {kind: await servers.serve(listing(f"{kind}-model")) for kind in discovery.USUAL_PORTS}
    found = await servers.scan(ports)
    assert found == tuple(
        FoundServer(
            kind,
            f"http://127.0.0.1:{port}/v1",
            api_key_env=None,
            local=True,
            models=(FoundModel(f"{kind}-model", local=True, context=None, price=FREE),),
        )
        for kind, port in ports.items()
    )


def test_usual_ports_and_addresses() -> None:
    assert {str(kind): port for kind, port in discovery.USUAL_PORTS.items()} == {
        "ollama": 11434,
        "vllm": 8000,
        "llamacpp": 8080,
        "lmstudio": 1234,
    }
    assert {provider.key_names: provider.base_url for provider in discovery.PROVIDERS} == {
        ("OPENAI_API_KEY",): "https://api.openai.com/v1",
        ("ANTHROPIC_API_KEY",): "https://api.anthropic.com/v1",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"): "https://generativelanguage.googleapis.com/v1beta/openai",
        ("MISTRAL_API_KEY",): "https://api.mistral.ai/v1",
        ("OPENROUTER_API_KEY",): "https://openrouter.ai/api/v1",
    }


async def test_port_without_a_server_is_ignored(servers: LocalServers) -> None:
    assert await servers.scan({ServerKind.VLLM: free_port()}) == ()


async def test_hanging_server_is_shown_and_does_not_delay_others(servers: LocalServers) -> None:
    ports = {
        ServerKind.VLLM: await servers.listen(None),
        ServerKind.OLLAMA: await servers.serve(listing("llama3.2:3b")),
    }
    hanging, answering = await servers.scan(ports, timeout_s=1.5)
    assert listing_failed(hanging)
    assert hanging.models == ()
    assert answering.problem is None
    assert [model.name for model in answering.models] == ["llama3.2:3b"]


@pytest.mark.parametrize(
    "handler",
    [
        answering_with("<html>It works!</html>", content_type="text/html"),
        answering_with('{"hello": "world"}'),
        answering_with('{"data": [1, 2]}'),
        answering_with("[]"),
        answering_with("not found", status=404),
        answering_with('{"error": {"message": "no key given"}}', status=401),
    ],
    ids=["html", "other json", "no models in the list", "a bare list", "404", "401"],
)
async def test_server_with_another_answer_is_shown_with_its_problem(servers: LocalServers, handler: Handler) -> None:
    port = await servers.serve(handler)
    (server,) = await servers.scan({ServerKind.LLAMA_CPP: port}, cards=True)
    assert (server.kind, server.models) == (ServerKind.LLAMA_CPP, ())
    assert listing_failed(server)


async def test_invalid_entries_of_a_list_do_not_affect_others(servers: LocalServers) -> None:
    odd = [
        None,
        7,
        "x",
        [],
        {},
        {"id": None},
        {"id": 12},
        {"id": ["x"]},
        {"id": ""},
        {"id": "\u202ex"},
        {"id": "a" * 999},
    ]
    cards = [{"id": "context", "max_model_len": 10**30}, {"id": "text", "meta": "x"}, {"id": "null", "meta": None}]
    listed = json.dumps({"data": [*odd, *cards, *({"id": f"m{number}"} for number in range(3000))]})
    (server,) = await servers.scan({ServerKind.VLLM: await servers.serve(answering_with(listed))}, cards=True)
    names = [model.name for model in server.models]
    assert names[:4] == ["context", "text", "null", "m0"]
    assert len(names) == 3003
    assert all(entry.context == 8192 for entry in settings_of((server, model) for model in server.models))


def test_models_of_the_same_name_get_distinct_names() -> None:
    server = FoundServer(ServerKind.GOOGLE, "https://example.org/v1", None, False, ())
    selected = [(server, FoundModel(name, local=False)) for name in ("models/x", "x", "models/x", "y")]
    names = [entry.name for entry in settings_of(selected)]
    assert len(set(names)) == 4
    assert names[0] == "google/x"


async def test_server_without_http_is_shown_with_its_problem(servers: LocalServers) -> None:
    (found,) = await servers.scan({ServerKind.VLLM: await servers.listen(b"-ERR unknown command\r\n")})
    assert listing_failed(found)


async def test_kind_and_context_reported_by_the_server_are_used(servers: LocalServers) -> None:
    """Many programs use port 8080, so the kind that the server reports takes precedence over the port."""
    port = await servers.serve(listing({"id": "qwen", "owned_by": "vllm", "max_model_len": 32768}))
    (server,) = await servers.scan({ServerKind.LLAMA_CPP: port}, cards=True)
    assert server.kind is ServerKind.VLLM
    assert server.models == (FoundModel("qwen", local=True, context=32768, price=FREE),)


async def test_context_of_llama_cpp_is_its_configured_context(servers: LocalServers) -> None:
    started = {"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}}
    silent = {"id": "b", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}
    port = await servers.serve(listing(started, silent, {"id": "c", "meta": None, "max_model_len": "many"}))
    (server,) = await servers.scan({ServerKind.VLLM: port}, cards=True)
    assert server.kind is ServerKind.LLAMA_CPP
    assert [model.context for model in server.models] == [4096, None, None]


async def test_models_of_ollamas_cloud_are_neither_local_nor_free(servers: LocalServers) -> None:
    port = await servers.serve(listing("llama3.2:3b", "gpt-oss:120b-cloud"))
    (server,) = await servers.scan({ServerKind.OLLAMA: port})
    assert [(model.local, model.price) for model in server.models] == [(True, FREE), (False, None)]
    assert [entry.local for entry in discovery.settings_of((server, model) for model in server.models)] == [True, False]


async def test_names_with_control_characters_are_omitted_and_counted(servers: LocalServers) -> None:
    port = await servers.serve(listing("good", "\x1b[2Jbad", "", "x" * 300, "good"))
    (server,) = await servers.scan({ServerKind.OLLAMA: port})
    assert [model.name for model in server.models] == ["good"]
    assert server.problem == "3 of the 4 listed names are not valid"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:9999", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        (":8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:11434"),
        ("http://localhost", "http://localhost:80"),
        ("https://127.0.0.2/", "https://127.0.0.2:443"),
        ("http://127.0.0.1:11435/ollama", "http://127.0.0.1:11435"),
        ("[::1]:7", "http://[::1]:7"),
        ("[::]", "http://[::1]:11434"),
        (' "127.0.0.1" ', "http://127.0.0.1:11434"),
        ("", None),
        ("192.168.1.20:11434", None),
        ("https://ollama.example.com", None),
        ("127.0.0.1.example.com", None),
        ("127.0.0.1:port", None),
        ("127.0.0.1:99999", None),
        ("unix:///run/ollama.sock", None),
        ("[::1", None),
    ],
)
def test_ollama_host_is_used_if_it_names_this_machine(value: str, address: str | None) -> None:
    assert discovery.ollama_address(value) == address


async def test_ollama_is_searched_at_ollama_host(servers: LocalServers) -> None:
    port = await servers.serve(listing("llama3.2:3b"))
    (server,) = await servers.scan({ServerKind.OLLAMA: free_port()}, {"OLLAMA_HOST": f"0.0.0.0:{port}"})
    assert server.base_url == f"http://127.0.0.1:{port}/v1"


async def test_ollama_on_the_port_of_another_server_is_found_once(servers: LocalServers) -> None:
    port = await servers.serve(listing("llama3.2:3b"))
    ports = {ServerKind.OLLAMA: free_port(), ServerKind.LLAMA_CPP: port}
    (server,) = await servers.scan(ports, {"OLLAMA_HOST": f"127.0.0.1:{port}"})
    assert server.kind is ServerKind.OLLAMA


async def test_provider_receives_only_its_own_key(servers: LocalServers) -> None:
    seen: list[tuple[str, str | None]] = []

    def recording(name: str, *models: str) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            seen.append((name, request.headers.get("Authorization")))
            return await listing(*models)(request)

        return answer

    openai = cloud(
        ServerKind.OPENAI, await servers.serve(recording("openai", "whisper-1", "gpt-5-mini")), "OPENAI_API_KEY"
    )
    mistral = cloud(ServerKind.MISTRAL, await servers.serve(recording("mistral")), "MISTRAL_API_KEY")
    ports = {ServerKind.VLLM: await servers.serve(recording("vllm", "qwen"))}
    environ = {"OPENAI_API_KEY": KEY, "MISTRAL_API_KEY": "  "}
    _, found = await servers.scan(ports, environ, providers=(openai, mistral))
    assert sorted(seen) == [("openai", f"Bearer {KEY}"), ("vllm", None)]
    assert found == FoundServer(
        ServerKind.OPENAI,
        openai.base_url,
        api_key_env="OPENAI_API_KEY",
        local=False,
        models=(
            FoundModel("gpt-5-mini", local=False, context=400_000, price=Price(0.25, 2.0)),
            FoundModel("whisper-1", local=False, context=None, price=None),
        ),
    )


async def test_provider_without_a_listing_offers_the_models_of_the_price_file(servers: LocalServers) -> None:
    port = await servers.serve(answering_with('{"error": {"message": "wrong key: ' + KEY + '"}}', status=401))
    provider = cloud(ServerKind.ANTHROPIC, port, "ANTHROPIC_API_KEY")
    (server,) = await servers.scan(environ={"ANTHROPIC_API_KEY": KEY}, providers=(provider,))
    assert listing_failed(server)
    assert "401" in (server.problem or "")
    assert FoundModel("claude-haiku-4-5", False, 200_000, Price(1.0, 5.0)) in server.models
    assert KEY not in repr(server)


async def test_key_is_removed_from_error_messages() -> None:
    class EventMessage(KairosError):
        """The key {key} is not taken."""

    async def refuse(base_url: str, api_key: str | None, *, timeout_s: float, protocol: str) -> list[ListedModel]:
        raise EventMessage(key=api_key)

    provider = CloudProvider(ServerKind.MISTRAL, "http://127.0.0.1:9/v1", ("MISTRAL_API_KEY",))
    findings = await discovery.scan(refuse, {"MISTRAL_API_KEY": KEY}, ports={}, providers=(provider,))
    assert findings.servers[0].problem == "models could not be listed: The key *** is not taken"


async def test_hanging_provider_times_out(servers: LocalServers) -> None:
    provider = cloud(ServerKind.MISTRAL, await servers.listen(None), "MISTRAL_API_KEY")
    (server,) = await servers.scan(environ={"MISTRAL_API_KEY": KEY}, providers=(provider,), timeout_s=0.2)
    assert listing_failed(server)
    assert [model.name for model in server.models] == [known.id for known in prices.known_models("mistral")]


async def test_gemini_api_key_takes_precedence_over_google_api_key(servers: LocalServers) -> None:
    port = await servers.serve(listing("models/gemini-2.5-flash"))
    provider = cloud(ServerKind.GOOGLE, port, "GEMINI_API_KEY", "GOOGLE_API_KEY")
    (both,) = await servers.scan(environ={"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": KEY}, providers=(provider,))
    (one,) = await servers.scan(environ={"GOOGLE_API_KEY": KEY, "GEMINI_API_KEY": ""}, providers=(provider,))
    assert (both.api_key_env, one.api_key_env) == ("GEMINI_API_KEY", "GOOGLE_API_KEY")


async def test_selected_models_become_entries_with_readable_names() -> None:
    google = FoundServer(ServerKind.GOOGLE, "https://g/v1beta/openai", "GEMINI_API_KEY", False, ())
    ollama = FoundServer(ServerKind.OLLAMA, "http://127.0.0.1:11434/v1", None, True, ())
    priced, unknown, local = discovery.settings_of(
        [
            (google, FoundModel("models/gemini-2.5-flash", False, 1_048_576, Price(0.3, 2.5))),
            (google, FoundModel("models/aqa", False)),
            (ollama, FoundModel("llama3.2:3b", True, None, FREE)),
        ]
    )
    assert priced.model_dump(exclude_defaults=True) == {
        "name": "google/gemini-2.5-flash",
        "upstream": "models/gemini-2.5-flash",
        "base_url": "https://g/v1beta/openai",
        "api_key_env": "GEMINI_API_KEY",
        "price": {"input": 0.3, "output": 2.5},
        "context": 1_048_576,
    }
    assert unknown.price is None
    assert local.model_dump(exclude_defaults=True) == {
        "name": "ollama/llama3.2:3b",
        "upstream": "llama3.2:3b",
        "base_url": "http://127.0.0.1:11434/v1",
        "protocol": "ollama",
        "local": True,
    }


async def test_same_model_on_two_servers_of_one_kind_gets_two_names() -> None:
    servers = [FoundServer(ServerKind.VLLM, f"http://127.0.0.1:{port}/v1", None, True, ()) for port in (8000, 8080)]
    entries = discovery.settings_of((server, FoundModel("qwen", True)) for server in servers)
    assert [entry.name for entry in entries] == ["vllm/qwen", "vllm/qwen@127.0.0.1:8080"]
