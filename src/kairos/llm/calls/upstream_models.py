"""Lists the models of a provider's server, with what it reports of each, and explains why a server cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial

from kairos.http import HttpClient, HttpError, HttpLimits, plain_address
from kairos.llm.calls.ollama_traits import described
from kairos.llm.calls.provider import ListedModel
from kairos.llm.calls.providers import BUILT_IN
from kairos.llm.calls.server import Server
from kairos.llm.calls.server_problems import ServerProblem, no_models, problem_of
from kairos.llm.catalog import prices
from kairos.llm.catalog.catalog import Price
from kairos.llm.catalog.provider_kinds import KINDS, ProviderKind
from kairos.llm.catalog.provider_secrets import ProviderSecret

LIMITS = HttpLimits(connect_s=5.0, first_byte_s=10.0, idle_s=5.0, total_s=15.0, body_bytes=16 * 1024 * 1024)
NAME_LENGTH = 200
MIN_CONTEXT = 256


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


async def list_upstream(http: HttpClient, place: Place) -> list[UpstreamModel]:
    """The models of a server, those with a known price first. Raises `ServerProblem`, also if it lists none.

    One request; on Ollama, one more for each model that is described.
    """
    secret = place.secret
    server = Server(http, place.address, secret.key, LIMITS, secret.headers, place.ca, place.public_only)
    provider = BUILT_IN[KINDS[place.kind].protocol]
    try:
        listed = await provider.list_models(server)
    except HttpError as error:
        raise explained(error, place) from error
    usable = {model.name: model for model in reversed(listed) if _has_usable_name(model)}
    if not usable:
        raise no_models(place.kind, plain_address(place.address))
    if place.kind is ProviderKind.OLLAMA:
        found = await described(sorted(usable), partial(provider.describe, server))
        usable |= {name: replace(model, name=name) for name, model in found.items()}
    models = [_upstream(place.kind, model) for model in usable.values()]
    return sorted(models, key=lambda model: (model.price is None, model.name))


def dated_price(kind: ProviderKind, name: str) -> DatedPrice | None:
    """The list price of a model; None if unknown."""
    known = prices.known_model(kind, name)
    return DatedPrice(known.price, prices.price_list().as_of, known.source) if known else None


def _has_usable_name(model: ListedModel) -> bool:
    return bool(model.name.strip()) and model.name.isprintable() and len(model.name) <= NAME_LENGTH


def _upstream(kind: ProviderKind, model: ListedModel) -> UpstreamModel:
    known = prices.known_model(kind, model.name)
    context = known.context if known else model.context
    return UpstreamModel(
        model.name,
        context=context if context is not None and context >= MIN_CONTEXT else None,
        capabilities=model.capabilities,
        price=dated_price(kind, model.name) or _listed_price(model),
    )


def _listed_price(model: ListedModel) -> DatedPrice | None:
    if model.price is None:
        return None
    return DatedPrice(model.price, datetime.now(UTC).date(), "the provider's list of models")


def explained(error: HttpError, place: Place) -> ServerProblem:
    """The problem behind a failed call, without the credentials, which a server may repeat."""
    problem = problem_of(error, place.kind, place.secret.key is not None)
    cause = problem.cause
    for value in (place.secret.key, *place.secret.headers.values()):
        if value:
            cause = cause.replace(value, "***")
    return ServerProblem(problem.kind, cause, problem.remedy)
