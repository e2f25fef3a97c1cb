"""Discovers model servers on this machine's usual ports, and providers whose API keys are in the environment.

Results never contain a key, only the name of its environment variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from kairos.config import ModelSettings, PriceSettings
from kairos.errors import KairosError
from kairos.http import HttpStatus
from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import Price
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind
from kairos.model_address import Unusable, clean_key

MAX_CONTEXT = 1_000_000_000
"""Larger numbers are not valid contexts."""
NAME_LENGTH = 160
"""Maximum length of a model name: with the server kind in front it must fit into `ModelSettings.name`."""


class ServerKind(StrEnum):
    """The kind of a server; also the provider's name in the price file, and the prefix of its models' names."""

    OLLAMA = "ollama"
    VLLM = "vllm"
    LLAMA_CPP = "llamacpp"
    LM_STUDIO = "lmstudio"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    OPENROUTER = "openrouter"


@dataclass(frozen=True, slots=True)
class CloudProvider:
    """A cloud provider with an OpenAI-compatible API."""

    kind: ServerKind
    base_url: str
    key_names: tuple[str, ...]
    """Environment variables that may hold its key; the first one set is used."""


USUAL_PORTS: Mapping[ServerKind, int] = {
    ServerKind.OLLAMA: 11434,
    ServerKind.VLLM: 8000,
    ServerKind.LLAMA_CPP: 8080,
    ServerKind.LM_STUDIO: 1234,
}
OWNERS = {
    "library": ServerKind.OLLAMA,
    "vllm": ServerKind.VLLM,
    "llamacpp": ServerKind.LLAMA_CPP,
    "organization_owner": ServerKind.LM_STUDIO,
}
"""Server kinds by the `owned_by` of their models (Ollama sends the publisher, mostly `library`)."""
PROVIDERS = (
    CloudProvider(ServerKind.OPENAI, "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    CloudProvider(ServerKind.ANTHROPIC, "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
    CloudProvider(
        ServerKind.GOOGLE,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        # GOOGLE_API_KEY may also be a key for Maps, so GEMINI_API_KEY comes first.
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    CloudProvider(ServerKind.MISTRAL, "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    CloudProvider(ServerKind.OPENROUTER, "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a server lists, or that the price file contains for a provider that could not be queried."""

    name: str
    """The model's name on its server."""
    local: bool
    """Whether prompts stay on this machine. Ollama also lists models of its cloud."""
    context: int | None = None
    price: Price | None = None
    """None is unknown."""


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server that responds, or a provider whose key is set."""

    kind: ServerKind
    base_url: str
    api_key_env: str | None
    local: bool
    models: tuple[FoundModel, ...]
    problem: str | None = None
    """Why its models could not be listed, or not all of them."""
    needs_key: bool = False
    """Whether it refused to list its models without a key."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The names of a server's models, or the reason for the failure."""

    names: tuple[str, ...] = ()
    problem: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of a scan."""

    servers: tuple[FoundServer, ...]


class NamedModel(Protocol):
    """An entry of a server's list."""

    @property
    def name(self) -> str: ...


class ListModels(Protocol):
    """`Providers.list_models`."""

    def __call__(
        self, base_url: str, api_key: str | None, *, timeout_s: float, protocol: str
    ) -> Awaitable[Sequence[NamedModel]]: ...


GetJson = Callable[[str], Awaitable[Any]]
"""`HttpClient.get_json`."""


async def scan(
    list_models: ListModels,
    environ: Mapping[str, str],
    *,
    get_json: GetJson | None = None,
    host: str = "127.0.0.1",
    ports: Mapping[ServerKind, int] = USUAL_PORTS,
    providers: Sequence[CloudProvider] = PROVIDERS,
    timeout_s: float = 1.5,
    remote_timeout_s: float = 5.0,
) -> ScanResult:
    """Scan all addresses concurrently, each with its own timeout. Server errors are never raised.

    With `get_json`, a local server is queried again for what `list_models` omits: its kind, and the contexts.
    """
    places = local_places(environ, (host,), ports)
    local = scan_local(list_models, places, get_json=get_json, timeout_s=timeout_s)
    remote = (_remote(list_models, provider, environ, remote_timeout_s) for provider in providers)
    servers, found = await asyncio.gather(local, asyncio.gather(*remote))
    return ScanResult((*servers, *(server for server in found if server is not None)))


def local_places(
    environ: Mapping[str, str], hosts: Iterable[str], ports: Mapping[ServerKind, int] = USUAL_PORTS
) -> dict[str, ServerKind]:
    """The addresses at which local servers may be, with the kind that usually listens there.

    Ollama's address in `OLLAMA_HOST` replaces the one on this machine, 127.0.0.1.
    """
    named = ollama_address(environ.get("OLLAMA_HOST", ""))
    places: dict[str, ServerKind] = {}
    for host in hosts:
        for kind, port in ports.items():
            own = named if kind is ServerKind.OLLAMA and host == "127.0.0.1" else None
            places.setdefault(own or f"http://{_bracketed(host)}:{port}", kind)
    return places


async def scan_local(
    list_models: ListModels,
    places: Mapping[str, ServerKind],
    *,
    get_json: GetJson | None = None,
    timeout_s: float = 1.5,
) -> tuple[FoundServer, ...]:
    """The servers that listen at these addresses. Takes at most twice `timeout_s`: to connect, and to list."""
    found = await asyncio.gather(
        *(_local(list_models, get_json, kind, address, timeout_s) for address, kind in places.items())
    )
    return tuple(server for server in found if server is not None)


def settings_of(picks: Iterable[tuple[FoundServer, FoundModel]]) -> list[ModelSettings]:
    """Return entries for `kairos.toml` with unique names: `ollama/llama3.2:3b`, `openai/gpt-5-mini`.

    `runner` is not set: it declares that models share one loaded copy, such as a base and its adapters. A listing does
    not reveal which models share a base, and a switching penalty for all models of one Ollama would be wrong if they
    fit into memory together.
    """
    entries: list[ModelSettings] = []
    taken: set[str] = set()
    for server, model in picks:
        name = f"{server.kind}/{prices.plain_id(server.kind, model.name)}"
        name = _free_name(name, server, taken)
        taken.add(name)
        entries.append(_settings(server, model, name))
    return entries


def _free_name(name: str, server: FoundServer, taken: set[str]) -> str:
    """Return a unique name: with the server's address if two servers of one kind list the model."""
    if name in taken:
        name = f"{name}@{urlsplit(server.base_url).netloc}"
    free, number = name, 1
    while free in taken:  # `models/x` and `x` of one listing
        number += 1
        free = f"{name}-{number}"
    return free


def ollama_address(value: str) -> str | None:
    """Return the address in `OLLAMA_HOST` if it is on this machine: `0.0.0.0`, `:8000`, `http://localhost`.

    Follows Ollama's rules: a scheme without a port implies the scheme's default port. A server that listens on 0.0.0.0
    is reached at 127.0.0.1.
    """
    value = value.strip().strip("\"'")
    if not value:
        return None
    scheme, separator, rest = value.rpartition("://")
    scheme = scheme or "http"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        usual = {"http": 80, "https": 443}[scheme] if separator else USUAL_PORTS[ServerKind.OLLAMA]
        host, port = parts.hostname or "127.0.0.1", parts.port or usual
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except (ValueError, KeyError):  # not an address, another machine's name, or an unknown scheme
        return None
    if address.is_unspecified:
        return f"{scheme}://{'127.0.0.1' if address.version == 4 else '[::1]'}:{port}"
    return f"{scheme}://{_bracketed(host)}:{port}" if address.is_loopback else None


async def _local(
    list_models: ListModels, get_json: GetJson | None, kind: ServerKind, address: str, timeout_s: float
) -> FoundServer | None:
    """Return the server at a local address; None if nothing is listening."""
    if not await _listening(urlsplit(address), timeout_s):
        return None
    server = FoundServer(kind, f"{address}/v1", None, True, ())
    listing, cards = await asyncio.gather(
        _listed(list_models, server.base_url, None, timeout_s), _cards(get_json, server.base_url, timeout_s)
    )
    if listing.problem is not None:
        return replace(server, problem=listing.problem, needs_key=listing.refused)
    kind = next((OWNERS[owner] for card in cards.values() if (owner := str(card.get("owned_by"))) in OWNERS), kind)
    models, problem = _models(kind, listing.names, cards)
    return replace(server, kind=kind, models=models, problem=problem)


async def _remote(
    list_models: ListModels, provider: CloudProvider, environ: Mapping[str, str], timeout_s: float
) -> FoundServer | None:
    """Query a provider with its key; None if the environment has none. If the query fails, the price file's models are
    used."""
    variable = next((name for name in provider.key_names if environ.get(name, "").strip()), None)
    if variable is None:
        return None
    server = FoundServer(provider.kind, provider.base_url, variable, False, ())
    try:
        key = clean_key(environ[variable])
    except Unusable as fault:
        return replace(server, problem=f"the key in {variable} cannot be used: {fault}")
    listing = await _listed(list_models, provider.base_url, key, timeout_s, _protocol(provider.kind))
    if listing.problem is None:
        models, problem = _models(provider.kind, listing.names, {})
        # Providers also list models that do not chat. Those with a price do, and come first.
        return replace(server, models=tuple(sorted(models, key=lambda m: (m.price is None, m.name))), problem=problem)
    known = [model.id for model in prices.known_models(provider.kind)]
    return replace(server, models=_models(provider.kind, known, {})[0], problem=listing.problem)


async def _listening(address: SplitResult, timeout_s: float) -> bool:
    with suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.transport.abort()
        return True
    return False


async def _listed(
    list_models: ListModels, base_url: str, api_key: str | None, timeout_s: float, protocol: str = "openai"
) -> _Listing:
    """The listing of a server. The kind of a local one is not known yet, but all list in the form of OpenAI."""
    try:
        async with asyncio.timeout(timeout_s):
            listed = await list_models(base_url, api_key, timeout_s=timeout_s, protocol=protocol)
            return _Listing(tuple(model.name for model in listed))
    except TimeoutError:
        reason, refused = f"no answer within {timeout_s:g} s", False
    except KairosError as error:
        reason = str(error).rstrip(". ")
        refused = isinstance(error, HttpStatus) and error.http_status in (401, 403)
    if api_key:  # the response may contain it
        reason = reason.replace(api_key.strip(), "***")
    return _Listing(problem=f"models could not be listed: {reason}", refused=refused)


def _models(
    kind: ServerKind, names: Iterable[str], cards: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[FoundModel, ...], str | None]:
    """Return the models with usable names, and a note on the others. Names are printed on terminals: no control
    characters."""
    distinct = list(dict.fromkeys(names))
    usable = [name for name in distinct if name.strip() and name.isprintable() and len(name) <= NAME_LENGTH]
    strange = len(distinct) - len(usable)
    problem = f"{strange} of the {len(distinct)} listed names are not valid" if strange else None
    return tuple(_model(kind, name, cards.get(name, {})) for name in usable), problem


def _model(kind: ServerKind, name: str, card: Mapping[str, Any]) -> FoundModel:
    known = prices.known_model(kind, name)
    return FoundModel(
        name=name,
        local=prices.is_local(kind, name),
        context=known.context if known else _context(card),
        price=prices.price_of(kind, name),
    )


async def _cards(get_json: GetJson | None, base_url: str, timeout_s: float) -> dict[str, dict[str, Any]]:
    """Return a server's further details of its models by name. Optional: without them the port's usual kind is
    assumed."""
    if get_json is None:
        return {}
    with suppress(KairosError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            value = await get_json(f"{base_url}/models")
        cards = value.get("data") if isinstance(value, dict) else None
        return (
            {str(card.get("id")): card for card in cards if isinstance(card, dict)} if isinstance(cards, list) else {}
        )
    return {}


def _context(card: Mapping[str, Any]) -> int | None:
    """Return the context that a server was started with: vLLM's `max_model_len`, llama.cpp's `meta.n_ctx`.

    Not `n_ctx_train`: the server may not support the context that a model was trained for.
    """
    meta = card.get("meta")
    values = (card.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((value for value in values if type(value) is int and 256 <= value <= MAX_CONTEXT), None)


def _settings(server: FoundServer, model: FoundModel, name: str) -> ModelSettings:
    values: dict[str, Any] = {"name": name, "upstream": model.name, "base_url": server.base_url, "local": model.local}
    if (protocol := _protocol(server.kind)) != "openai":
        values["protocol"] = protocol
    if server.api_key_env:
        values["api_key_env"] = server.api_key_env
    if model.price is not None and not model.local:  # a local model without a price is free (`catalog.Model.price`)
        values["price"] = PriceSettings(input=model.price.input, output=model.price.output)
    if model.context is not None:
        values["context"] = model.context
    return ModelSettings(**values)


def _protocol(kind: ServerKind) -> str:
    return KINDS[ProviderKind(kind)].protocol


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
