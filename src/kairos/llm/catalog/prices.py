"""What models cost: list prices from a dated file in the package. A model that is not in it has no known price."""

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
"""Servers on the operator's own hardware: their models cost nothing by the token."""

DATED_SUFFIXES: Mapping[str, re.Pattern[str]] = {
    "YYYY-MM-DD": re.compile(r"-20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$", re.ASCII),
    "YYYYMMDD": re.compile(r"-20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$", re.ASCII),
}
"""How a provider names frozen versions of a model: `gpt-x-2026-01-01` is `gpt-x`."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One entry of the price file."""

    id: str
    """The name its provider knows it by."""
    price: Price
    context: int
    """The most tokens of prompt and answer together for which the price holds."""
    source: str
    """The page that says so."""
    note: str = ""
    """What the numbers leave out."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The price file."""

    as_of: date
    """The day on which its prices were looked up."""
    wording: str
    """What to say with a price that comes from here."""
    models: Mapping[str, Mapping[str, KnownModel]]
    """By provider and by the id of the model."""
    suffixes: Mapping[str, re.Pattern[str]]
    """The dated suffix of the providers that have one."""


@cache
def price_list() -> PriceList:
    """The price file of this Kairos."""
    return parse(resources.files("kairos.llm.catalog").joinpath("prices.toml").read_text(encoding="utf-8"))


def price_of(provider: str, model_id: str) -> Price | None:
    """What a model costs; None is unknown, which is never treated as free."""
    if provider in LOCAL_PROVIDERS:
        return FREE if is_local(provider, model_id) else None
    known = known_model(provider, model_id)
    return known.price if known else None


def known_model(provider: str, model_id: str) -> KnownModel | None:
    """The entry of a model: the one with its very id, else that of the model of which it is a dated version.

    Never one that merely begins alike: `gpt-4o` says nothing of `gpt-4o-mini`.
    """
    prices = price_list()
    models = prices.models.get(provider, {})
    plain = plain_id(provider, model_id)
    if plain in models:
        return models[plain]
    suffix = prices.suffixes.get(provider)
    return models.get(suffix.sub("", plain)) if suffix else None


def known_models(provider: str) -> tuple[KnownModel, ...]:
    """All entries of a provider, in the order of the file."""
    return tuple(price_list().models.get(provider, {}).values())


def plain_id(provider: str, model_id: str) -> str:
    """The id without the folder that Google's listing puts before it: `models/gemini-2.5-pro`."""
    return model_id.removeprefix("models/") if provider == "google" else model_id


def is_local(provider: str, model_id: str) -> bool:
    """Whether a model of a local server runs on it. Ollama lists models of its cloud among its own, tagged `cloud`
    or `…-cloud`: prompts to them leave this machine, and they are not free (docs.ollama.com/cloud).
    """
    tag = model_id.rpartition(":")[2]
    return provider in LOCAL_PROVIDERS and not (provider == "ollama" and re.search(r"(^|-)cloud$", tag))


def parse(text: str) -> PriceList:
    """The price file from its text."""
    values = tomllib.loads(text)
    as_of, wording = values.pop("as_of"), values.pop("wording")
    return PriceList(
        as_of=as_of,
        wording=wording,
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
