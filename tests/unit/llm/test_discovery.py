"""Finding model servers: real HTTP servers on free ports of this machine, and never a remote address."""

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
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog import discovery, prices
from kairos.llm.catalog.catalog import FREE, Price
from kairos.llm.catalog.discovery import FoundModel, FoundServer, Provider, ServerKind, settings_of

KEY = "sk-secret-0123456789"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Neighbourhood:
    """Servers on free ports, and the scan that looks at them."""

    def __init__(self, stack: AsyncExitStack, http: HttpClient) -> None:
        self._stack = stack
        self._http = http

    async def serve(self, handler: Handler) -> int:
        """A server that answers every request with `handler`; its port."""
        server = web.Server(handler)  # pyright: ignore[reportArgumentType]
        runner = web.ServerRunner(server, shutdown_timeout=0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    async def listen(self, greeting: bytes | None) -> int:
        """A server that speaks no HTTP: it sends its greeting and closes, or never says anything; its port."""

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
        providers: tuple[Provider, ...] = (),
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
async def here() -> AsyncIterator[Neighbourhood]:
    async with AsyncExitStack() as stack:
        yield Neighbourhood(stack, await stack.enter_async_context(HttpClient()))


def listing(*models: str | dict[str, Any]) -> Handler:
    """A server that lists these models, at the one address where they may be asked for."""
    data = [{"id": model, "object": "model"} if isinstance(model, str) else model for model in models]

    async def answer(request: web.Request) -> web.Response:
        if (request.method, request.path) != ("GET", "/v1/models"):
            return web.json_response({"error": "nothing here"}, status=404)
        return web.json_response({"object": "list", "data": data})

    return answer


def saying(body: str, status: int = 200, content_type: str = "application/json") -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type=content_type)

    return answer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def could_not_list(server: FoundServer) -> bool:
    return (server.problem or "").startswith("models could not be listed: ")


def cloud(kind: ServerKind, port: int, *key_names: str) -> Provider:
    return Provider(kind, f"http://127.0.0.1:{port}/v1", key_names)


async def test_each_usual_server_is_found_with_its_models(here: Neighbourhood) -> None:
    ports = {kind: await here.serve(listing(f"{kind}-model")) for kind in discovery.USUAL_PORTS}
    found = await here.scan(ports)
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


def test_the_usual_ports_and_addresses() -> None:
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


async def test_where_nothing_listens_nothing_is_found(here: Neighbourhood) -> None:
    assert await here.scan({ServerKind.VLLM: free_port()}) == ()


async def test_a_server_that_hangs_is_shown_and_holds_nobody_up(here: Neighbourhood) -> None:
    ports = {ServerKind.VLLM: await here.listen(None), ServerKind.OLLAMA: await here.serve(listing("llama3.2:3b"))}
    hanging, answering = await here.scan(ports, timeout_s=1.5)
    assert could_not_list(hanging)
    assert hanging.models == ()
    assert answering.problem is None
    assert [model.name for model in answering.models] == ["llama3.2:3b"]


@pytest.mark.parametrize(
    "handler",
    [
        saying("<html>It works!</html>", content_type="text/html"),
        saying('{"hello": "world"}'),
        saying('{"data": [1, 2]}'),
        saying("[]"),
        saying("not found", status=404),
        saying('{"error": {"message": "no key given"}}', status=401),
    ],
    ids=["html", "other json", "no models in the list", "a bare list", "404", "401"],
)
async def test_a_server_that_answers_something_else_is_shown_with_its_problem(
    here: Neighbourhood, handler: Handler
) -> None:
    port = await here.serve(handler)
    (server,) = await here.scan({ServerKind.LLAMA_CPP: port}, cards=True)
    assert (server.kind, server.models) == (ServerKind.LLAMA_CPP, ())
    assert could_not_list(server)


async def test_odd_entries_of_a_list_cost_no_other_entry(here: Neighbourhood) -> None:
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
    (server,) = await here.scan({ServerKind.VLLM: await here.serve(saying(listed))}, cards=True)
    names = [model.name for model in server.models]
    assert names[:4] == ["context", "text", "null", "m0"]
    assert len(names) == 3003
    assert all(entry.context == 8192 for entry in settings_of((server, model) for model in server.models))


def test_models_of_one_name_get_names_of_their_own() -> None:
    server = FoundServer(ServerKind.GOOGLE, "https://example.org/v1", None, False, ())
    picks = [(server, FoundModel(name, local=False)) for name in ("models/x", "x", "models/x", "y")]
    names = [entry.name for entry in settings_of(picks)]
    assert len(set(names)) == 4
    assert names[0] == "google/x"


async def test_a_server_that_speaks_no_http_is_shown_with_its_problem(here: Neighbourhood) -> None:
    (found,) = await here.scan({ServerKind.VLLM: await here.listen(b"-ERR unknown command\r\n")})
    assert could_not_list(found)


async def test_a_server_tells_its_kind_and_its_context(here: Neighbourhood) -> None:
    """Port 8080 is everybody's: what the server says of itself goes before what the port lets one expect."""
    port = await here.serve(listing({"id": "qwen", "owned_by": "vllm", "max_model_len": 32768}))
    (server,) = await here.scan({ServerKind.LLAMA_CPP: port}, cards=True)
    assert server.kind is ServerKind.VLLM
    assert server.models == (FoundModel("qwen", local=True, context=32768, price=FREE),)


async def test_the_context_of_llama_cpp_is_the_one_it_was_started_with(here: Neighbourhood) -> None:
    started = {"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}}
    silent = {"id": "b", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}
    port = await here.serve(listing(started, silent, {"id": "c", "meta": None, "max_model_len": "many"}))
    (server,) = await here.scan({ServerKind.VLLM: port}, cards=True)
    assert server.kind is ServerKind.LLAMA_CPP
    assert [model.context for model in server.models] == [4096, None, None]


async def test_models_of_ollamas_cloud_are_neither_local_nor_free(here: Neighbourhood) -> None:
    port = await here.serve(listing("llama3.2:3b", "gpt-oss:120b-cloud"))
    (server,) = await here.scan({ServerKind.OLLAMA: port})
    assert [(model.local, model.price) for model in server.models] == [(True, FREE), (False, None)]
    assert [entry.local for entry in discovery.settings_of((server, model) for model in server.models)] == [True, False]


async def test_names_that_would_harm_a_terminal_are_left_out_and_counted(here: Neighbourhood) -> None:
    port = await here.serve(listing("good", "\x1b[2Jbad", "", "x" * 300, "good"))
    (server,) = await here.scan({ServerKind.OLLAMA: port})
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
def test_ollama_host_counts_where_it_names_this_machine(value: str, address: str | None) -> None:
    assert discovery.ollama_address(value) == address


async def test_ollama_is_looked_for_where_ollama_host_says(here: Neighbourhood) -> None:
    port = await here.serve(listing("llama3.2:3b"))
    (server,) = await here.scan({ServerKind.OLLAMA: free_port()}, {"OLLAMA_HOST": f"0.0.0.0:{port}"})
    assert server.base_url == f"http://127.0.0.1:{port}/v1"


async def test_an_ollama_on_another_ones_port_is_found_once(here: Neighbourhood) -> None:
    port = await here.serve(listing("llama3.2:3b"))
    ports = {ServerKind.OLLAMA: free_port(), ServerKind.LLAMA_CPP: port}
    (server,) = await here.scan(ports, {"OLLAMA_HOST": f"127.0.0.1:{port}"})
    assert server.kind is ServerKind.OLLAMA


async def test_a_provider_is_asked_with_its_own_key_and_no_other(here: Neighbourhood) -> None:
    seen: list[tuple[str, str | None]] = []

    def noting(name: str, *models: str) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            seen.append((name, request.headers.get("Authorization")))
            return await listing(*models)(request)

        return answer

    openai = cloud(ServerKind.OPENAI, await here.serve(noting("openai", "whisper-1", "gpt-5-mini")), "OPENAI_API_KEY")
    mistral = cloud(ServerKind.MISTRAL, await here.serve(noting("mistral")), "MISTRAL_API_KEY")
    ports = {ServerKind.VLLM: await here.serve(noting("vllm", "qwen"))}
    environ = {"OPENAI_API_KEY": KEY, "MISTRAL_API_KEY": "  "}
    _, found = await here.scan(ports, environ, providers=(openai, mistral))
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


async def test_a_provider_that_cannot_be_asked_offers_what_the_price_file_knows(here: Neighbourhood) -> None:
    port = await here.serve(saying('{"error": {"message": "wrong key: ' + KEY + '"}}', status=401))
    provider = cloud(ServerKind.ANTHROPIC, port, "ANTHROPIC_API_KEY")
    (server,) = await here.scan(environ={"ANTHROPIC_API_KEY": KEY}, providers=(provider,))
    assert could_not_list(server)
    assert "401" in (server.problem or "")
    assert FoundModel("claude-haiku-4-5", False, 200_000, Price(1.0, 5.0)) in server.models
    assert KEY not in repr(server)


async def test_an_error_that_repeats_the_key_is_shown_without_it() -> None:
    class EventMessage(KairosError):
        """The key {key} is not taken."""

    async def refuse(base_url: str, api_key: str | None, *, timeout_s: float) -> list[str]:
        raise EventMessage(key=api_key)

    provider = Provider(ServerKind.MISTRAL, "http://127.0.0.1:9/v1", ("MISTRAL_API_KEY",))
    findings = await discovery.scan(refuse, {"MISTRAL_API_KEY": KEY}, ports={}, providers=(provider,))
    assert findings.servers[0].problem == "models could not be listed: The key *** is not taken"


async def test_a_provider_that_hangs_is_given_up_on(here: Neighbourhood) -> None:
    provider = cloud(ServerKind.MISTRAL, await here.listen(None), "MISTRAL_API_KEY")
    (server,) = await here.scan(environ={"MISTRAL_API_KEY": KEY}, providers=(provider,), timeout_s=0.2)
    assert could_not_list(server)
    assert [model.name for model in server.models] == [known.id for known in prices.known_models("mistral")]


async def test_the_key_that_says_gemini_goes_before_the_one_that_says_google(here: Neighbourhood) -> None:
    port = await here.serve(listing("models/gemini-2.5-flash"))
    provider = cloud(ServerKind.GOOGLE, port, "GEMINI_API_KEY", "GOOGLE_API_KEY")
    (both,) = await here.scan(environ={"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": KEY}, providers=(provider,))
    (one,) = await here.scan(environ={"GOOGLE_API_KEY": KEY, "GEMINI_API_KEY": ""}, providers=(provider,))
    assert (both.api_key_env, one.api_key_env) == ("GEMINI_API_KEY", "GOOGLE_API_KEY")


async def test_picks_become_entries_with_readable_names() -> None:
    google = FoundServer(ServerKind.GOOGLE, "https://g/v1beta/openai", "GEMINI_API_KEY", False, ())
    ollama = FoundServer(ServerKind.OLLAMA, "http://127.0.0.1:11434/v1", None, True, ())
    cloudy, unknown, local = discovery.settings_of(
        [
            (google, FoundModel("models/gemini-2.5-flash", False, 1_048_576, Price(0.3, 2.5))),
            (google, FoundModel("models/aqa", False)),
            (ollama, FoundModel("llama3.2:3b", True, None, FREE)),
        ]
    )
    assert cloudy.model_dump(exclude_defaults=True) == {
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
        "local": True,
    }


async def test_the_same_model_on_two_servers_of_one_kind_gets_two_names() -> None:
    servers = [FoundServer(ServerKind.VLLM, f"http://127.0.0.1:{port}/v1", None, True, ()) for port in (8000, 8080)]
    entries = discovery.settings_of((server, FoundModel("qwen", True)) for server in servers)
    assert [entry.name for entry in entries] == ["vllm/qwen", "vllm/qwen@127.0.0.1:8080"]
