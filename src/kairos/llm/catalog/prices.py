"""List prices of models, from a dated file in the package. Models that are not in it have no known price."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from kairos.llm.catalog.catalog import FREE, Price

LOCAL_PROVIDERS = frozenset({"ollama", "vllm", "llamacpp", "lmstudio"})
"""Servers on the operator's hardware, whose models cost nothing per token."""

DATED_SUFFIXES: Mapping[str, re.Pattern[str]] = {
    "YYYY-MM-DD": re.compile(r"-20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$", re.ASCII),
    "YYYYMMDD": re.compile(r"-20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$", re.ASCII),
}
"""Date suffixes of a provider's fixed model versions: `gpt-x-2026-01-01` is a version of `gpt-x`."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One entry of the price file."""

    id: str
    """The provider's name of the model."""
    price: Price
    context: int
    """Maximum tokens of prompt and answer together for which the price applies."""
    source: str
    """The page with the price."""
    note: str = ""
    """What the price does not include."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The price file."""

    as_of: date
    """The date of the prices."""
    notice: str
    """The notice to show with a price from this file."""
    models: Mapping[str, Mapping[str, KnownModel]]
    """By provider and by the id of the model."""
    suffixes: Mapping[str, re.Pattern[str]]
    """Date suffixes of the providers that use them."""


@cache
def price_list() -> PriceList:
    """Return the packaged price file."""
    return parse(resources.files("kairos.llm.catalog").joinpath("prices.toml").read_text(encoding="utf-8"))


def price_of(provider: str, model_id: str) -> Price | None:
    """Return the price of a model; None if unknown, which never counts as free."""
    if provider in LOCAL_PROVIDERS:
        return FREE if is_local(provider, model_id) else None
    known = known_model(provider, model_id)
    return known.price if known else None


def known_model(provider: str, model_id: str) -> KnownModel | None:
    """Return the entry of a model, or of the model of which it is a dated version.

    Names that merely start alike do not match: `gpt-4o` is not `gpt-4o-mini`.
    """
    prices = price_list()
    models = prices.models.get(provider, {})
    plain = plain_id(provider, model_id)
    if plain in models:
        return models[plain]
    suffix = prices.suffixes.get(provider)
    return models.get(suffix.sub("", plain)) if suffix else None


def known_models(provider: str) -> tuple[KnownModel, ...]:
    """Return all entries of a provider in the order of the file."""
    return tuple(price_list().models.get(provider, {}).values())


def plain_id(provider: str, model_id: str) -> str:
    """Return the id without the prefix of Google's listing: `models/gemini-2.5-pro`."""
    return model_id.removeprefix("models/") if provider == "google" else model_id


def is_local(provider: str, model_id: str) -> bool:
    """Whether a model of a local server runs on that server.

    Ollama also lists models of its cloud, tagged `cloud` or `…-cloud`. Prompts to these leave the machine, and they are
    not free (docs.ollama.com/cloud).
    """
    tag = model_id.rpartition(":")[2]
    return provider in LOCAL_PROVIDERS and not (provider == "ollama" and re.search(r"(^|-)cloud$", tag))


def parse(text: str) -> PriceList:
    """Parse the price file."""
    values = tomllib.loads(text)
    as_of, notice = values.pop("as_of"), values.pop("wording")
    return PriceList(
        as_of=as_of,
        notice=notice,
        models={provider: {m["id"]: _entry(m) for m in section["models"]} for provider, section in values.items()},
        suffixes={
            provider: DATED_SUFFIXES[section["dated_suffix"]]
            for provider, section in values.items()
            if "dated_suffix" in section
        },
    )


def _entry(values: dict[str, Any]) -> KnownModel:
    price = Price(values.pop("input"), values.pop("output"))
    return KnownModel(price=price, **values)
