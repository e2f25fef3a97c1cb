"""Lists the models of a provider's server, and explains why a server cannot be used.

Sources of the fields: OpenAI `/models` (id), OpenRouter (`context_length`, `pricing` in USD per token,
`supported_parameters`, `architecture`), vLLM (`max_model_len`), llama.cpp (`meta.n_ctx`), Mistral
(`max_context_length`, `capabilities`), Groq (`context_window`), Anthropic (`/v1/models` with `x-api-key`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from kairos.errors import KairosError
from kairos.http import (
    HttpClient,
    HttpError,
    HttpForbidden,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
    joined,
    plain_address,
)
from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import Price
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind
from kairos.llm.catalog.provider_secrets import ProviderSecret

LIMITS = HttpLimits(connect_s=5.0, first_byte_s=10.0, idle_s=5.0, total_s=15.0, body_bytes=16 * 1024 * 1024)
MOST_MODELS = 10_000
NAME_LENGTH = 200
MIN_CONTEXT, MAX_CONTEXT = 256, 1_000_000_000
DEAREST = 1_000_000.0
"""USD per million tokens; a higher price is an error."""
ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Place:
    """A provider's server and what its requests carry."""

    kind: ProviderKind
    address: str
    secret: ProviderSecret = field(repr=False)
    ca: str | None = None
    public_only: bool = False


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """A price with its day and source."""

    price: Price
    at: date
    source: str


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that a server lists; None is unknown."""

    name: str
    context: int | None = None
    capabilities: frozenset[str] | None = None
    price: DatedPrice | None = None


class ServerProblemKind(StrEnum):
    """Why a provider cannot be used."""

    FAILED = "failed"
    NO_CREDIT = "no_credit"
    NO_KEY = "no_key"
    NO_MODELS = "no_models"
    NO_TLS = "no_tls"
    NOT_A_LISTING = "not_a_listing"
    NOT_FOUND = "not_found"
    NOT_JSON = "not_json"
    PRIVATE_ADDRESS = "private_address"
    RATE_LIMITED = "rate_limited"
    REDIRECT = "redirect"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"
    UNREADABLE_KEY = "unreadable_key"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    WEB_PAGE = "web_page"
    WRONG_KEY = "wrong_key"


class ServerProblem(KairosError):
    """The provider cannot be used: {cause}. {remedy}."""

    status, code, exit_code = 422, "provider_unusable", 3

    def __init__(self, kind: ServerProblemKind, cause: str, remedy: str) -> None:
        self.kind = kind
        self.cause = cause
        self.remedy = remedy
        super().__init__(cause=cause, remedy=remedy)


async def list_upstream(http: HttpClient, place: Place) -> list[UpstreamModel]:
    """The models of a server, those with a known price first. Raises `ServerProblem`, also if it lists none."""
    url = joined(place.address, "models")
    if place.kind is ProviderKind.ANTHROPIC:
        url += ("&" if urlsplit(url).query else "?") + "limit=1000"
    token, headers = _credentials(place)
    try:
        value = await http.get_json(
            url, token=token, headers=headers, limits=LIMITS, public_only=place.public_only, ca=place.ca
        )
    except HttpError as error:
        raise without_secrets(problem_of(error, place), place.secret) from error
    models = _models(place.kind, value)
    if models is None:
        raise ServerProblem(
            ServerProblemKind.NOT_A_LISTING,
            f"{plain_address(url)} answered with JSON that is not a list of models",
            "Give the address of the OpenAI-compatible API, which usually ends with /v1",
        )
    if not models:
        raise ServerProblem(ServerProblemKind.NO_MODELS, f"{plain_address(url)} lists no models", _load_one(place.kind))
    return sorted(models, key=lambda model: (model.price is None, model.name))


def dated_price(kind: ProviderKind, name: str) -> DatedPrice | None:
    """The list price of a model; None if unknown."""
    known = prices.known_model(kind, name)
    return DatedPrice(known.price, prices.price_list().as_of, known.source) if known else None


def problem_of(error: HttpError, place: Place) -> ServerProblem:
    """The cause and the remedy of a failed call."""
    text = str(error).rstrip(".")
    match error:
        case HttpStatus():
            return _of_status(error, place)
        case HttpGarbled() if "<" in str(error.values["excerpt"])[:200]:
            return ServerProblem(
                ServerProblemKind.WEB_PAGE,
                f"{error.values['address']} answered with a web page",
                "Give the address of the API instead of the web site; it usually ends with /v1",
            )
        case HttpGarbled():
            return ServerProblem(
                ServerProblemKind.NOT_JSON, text, "Check that the address belongs to an OpenAI-compatible server"
            )
        case HttpForbidden():
            return ServerProblem(
                ServerProblemKind.PRIVATE_ADDRESS,
                f"{error.values['address']} is not on the public internet",
                f"Use a public address, or ask an operator to list it in `{error.values['key']}`",
            )
        case HttpTimeout():
            return ServerProblem(ServerProblemKind.TIMEOUT, text, "Check that the server is running and not overloaded")
        case HttpTooLarge():
            return ServerProblem(ServerProblemKind.TOO_LARGE, text, "Check that the address belongs to a model server")
        case HttpUnreachable():
            return _unreachable(str(error.values["reason"]), str(error.values["address"]), place)
        case _:
            return ServerProblem(ServerProblemKind.FAILED, text, "Check the address and the server's log")


def _of_status(error: HttpStatus, place: Place) -> ServerProblem:
    address, status = error.values["address"], error.http_status
    cause = f"{address} answered {status}: {error.reason}"
    if status in (401, 403):
        if place.secret.key is None:
            return ServerProblem(ServerProblemKind.NO_KEY, f"the server wants a key ({cause})", "Give a key")
        return ServerProblem(
            ServerProblemKind.WRONG_KEY,
            f"the server refused the key ({cause})",
            "Copy the key again, and check that it is still valid",
        )
    if 300 <= status < 400:
        return ServerProblem(
            ServerProblemKind.REDIRECT, cause, "Give the address that it redirects to, if you trust it"
        )
    if status in (404, 405):
        return ServerProblem(
            ServerProblemKind.NOT_FOUND,
            cause,
            "Check the path of the address: OpenAI-compatible APIs usually end with /v1",
        )
    if status == 429:
        return ServerProblem(
            ServerProblemKind.RATE_LIMITED, cause, "Wait, or check the limits and the credit of your account"
        )
    if status == 402:
        return ServerProblem(ServerProblemKind.NO_CREDIT, cause, "Add credit to your account")
    if status >= 500:
        return ServerProblem(ServerProblemKind.SERVER_ERROR, cause, "Try again later, and check the server's log")
    return ServerProblem(ServerProblemKind.REFUSED, cause, "Check the address and the key")


def _unreachable(reason: str, address: str, place: Place) -> ServerProblem:
    cause = f"{address} cannot be reached: {reason}"
    if "certificate" in reason:
        return ServerProblem(
            ServerProblemKind.UNTRUSTED_CERTIFICATE,
            cause,
            "If it has its own authority, give its certificate in PEM (`ca`)",
        )
    if "TLS failed" in reason:
        return ServerProblem(ServerProblemKind.NO_TLS, cause, "Begin the address with http:// if the server has no TLS")
    if KINDS[place.kind].local:
        return ServerProblem(ServerProblemKind.UNREACHABLE, cause, _local_remedy(place.kind))
    return ServerProblem(ServerProblemKind.UNREACHABLE, cause, "Check the address, your network and its proxy")


def _local_remedy(kind: ProviderKind) -> str:
    listen = "set OLLAMA_HOST=0.0.0.0 for Ollama" if kind is ProviderKind.OLLAMA else "let the server listen on 0.0.0.0"
    return (
        f"Start the server. If Kairos runs in a container, {listen}, use host.docker.internal as its name, and check "
        "the firewall"
    )


def _load_one(kind: ProviderKind) -> str:
    if kind is ProviderKind.OLLAMA:
        return "Download one: `ollama pull llama3.2`"
    if KINDS[kind].local:
        return "Load a model on the server"
    return "Check that your account may use models"


def _credentials(place: Place) -> tuple[str | None, dict[str, str]]:
    """The bearer token and the headers of a listing."""
    key, headers = place.secret.key, dict(place.secret.headers)
    if key is None:
        return None, headers
    if place.kind is ProviderKind.ANTHROPIC:
        return None, {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION, **headers}
    if place.kind is ProviderKind.AZURE:
        headers = {"api-key": key, **headers}
    return key, headers


def _models(kind: ProviderKind, value: Any) -> list[UpstreamModel] | None:
    """The models in a listing; None if it is none. Names that cannot be used are left out."""
    entries = value.get("data", value.get("models")) if isinstance(value, Mapping) else value
    if entries is None and isinstance(value, Mapping) and "data" in value:
        entries = []
    if not isinstance(entries, list):
        return None
    found: dict[str, UpstreamModel] = {}
    for entry in entries[:MOST_MODELS]:
        name = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= NAME_LENGTH:
            found.setdefault(name, _model(kind, name, entry))
    return None if entries and not found else list(found.values())


def _model(kind: ProviderKind, name: str, entry: Mapping[str, Any]) -> UpstreamModel:
    known = prices.known_model(kind, name)
    return UpstreamModel(
        name,
        context=known.context if known else _context(entry),
        capabilities=_capabilities(entry),
        price=dated_price(kind, name) or _listed_price(entry),
    )


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    values = (
        *(entry.get(name) for name in ("max_model_len", "context_length", "context_window", "max_context_length")),
        meta.get("n_ctx") if isinstance(meta, Mapping) else None,
    )
    return next((value for value in values if type(value) is int and MIN_CONTEXT <= value <= MAX_CONTEXT), None)


def _capabilities(entry: Mapping[str, Any]) -> frozenset[str] | None:
    """The capabilities that a listing states; None if it states none."""
    found: set[str] = set()
    stated = False
    parameters = entry.get("supported_parameters")
    if isinstance(parameters, list):
        stated = True
        found |= {"tools"} & {str(one) for one in parameters}
    architecture = entry.get("architecture")
    inputs = architecture.get("input_modalities") if isinstance(architecture, Mapping) else None
    if isinstance(inputs, list):
        stated = True
        found |= {"vision"} if "image" in inputs else set()
    declared = entry.get("capabilities")
    if isinstance(declared, Mapping):
        stated = True
        found |= {"tools"} if declared.get("function_calling") is True else set()
        found |= {"vision"} if declared.get("vision") is True else set()
    elif isinstance(declared, list):
        stated = True
        found |= {"tools", "vision"} & {str(one) for one in declared}
    return frozenset(found) if stated else None


def _listed_price(entry: Mapping[str, Any]) -> DatedPrice | None:
    """The price in a listing, in USD per token. A negative one is unknown: OpenRouter's automatic choice has -1."""
    pricing = entry.get("pricing")
    if not isinstance(pricing, Mapping):
        return None
    values = [_usd(pricing.get("prompt")), _usd(pricing.get("completion"))]
    if values[0] is None or values[1] is None:
        return None
    return DatedPrice(Price(values[0], values[1]), datetime.now(UTC).date(), "the provider's list of models")


def _usd(value: Any) -> float | None:
    """USD per million tokens from USD per token."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\d{1,12}(\.\d{1,20})?([eE]-?\d{1,2})?", value.strip()):
        return None
    number = float(value) * 1e6
    return round(number, 9) if math.isfinite(number) and 0 <= number <= DEAREST else None


def without_secrets(problem: ServerProblem, secret: ProviderSecret) -> ServerProblem:
    """The problem without the credentials, which a server may repeat."""
    cause = problem.cause
    for value in (secret.key, *secret.headers.values()):
        if value:
            cause = cause.replace(value, "***")
    return ServerProblem(problem.kind, cause, problem.remedy)
