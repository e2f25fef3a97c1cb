"""Which requests may be answered from the cache, and under which key: equal keys promise equal answers.

The key does not hold the routing epoch: `response_cache.lua` compares it at the moment of reading, so that a promotion
is felt at once by every replica and costs no round trip. What a replica can compute by itself is in the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Catalog, Model
from kairos.tenancy import ProjectId

VERSION = 2
"""Raised when the canonical form or the stored form changes: entries of the old one are never found again."""


VERSIONED = ("name", "upstream", "base_url", "local", "context", "specialties", "tier", "capabilities", "body")
"""The fields of a configured model that are part of its version."""


class CacheUse(StrEnum):
    """What a request allows."""

    FULL = "full"
    """A stored answer serves, and the model's is stored."""
    REFRESH = "refresh"
    """The model is asked whatever is stored, and its answer is stored: `no-cache` (RFC 9111, 5.2.1.4)."""
    OFF = "off"
    """Neither read nor stored: `cache: false`, `no-store` (5.2.1.5), or an answer that chance has a part in."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The name of an answer."""

    project_id: ProjectId
    digest: bytes
    follows_routing: bool
    """Whether the router chooses the model: the answer is then void once the project's routing epoch rises."""


def cache_use(request: ChatRequest, cache: bool | None = None, cache_control: str | None = None) -> CacheUse:
    """What the parameter `cache` and the header `Cache-Control` make of a request.

    Without either only temperature 0 is cached. Other request directives are advisory (RFC 9111, 5.2.1) and ignored.
    """
    directives = {part.strip().lower() for part in (cache_control or "").split(",")}
    if cache is False or "no-store" in directives or not (cache or _deterministic(request)):
        return CacheUse.OFF
    return CacheUse.REFRESH if directives & {"no-cache", "max-age=0"} else CacheUse.FULL


def cache_key(
    project_id: ProjectId, request: ChatRequest, *, model: str | None, version: str, rules: str, checks: object = None
) -> CacheKey | None:
    """The key of a request; None for one that cannot be written as JSON, which its server will not take either.

    `model` is the catalogue name the caller insists on, None for `auto`. `version` is `catalog_version` for `auto`,
    `model_version` else. `rules` is the version of the guardian's rules, `checks` what the task demands of the answer.
    """
    try:
        digest = fingerprint(project_id, request, model=model, version=version, rules=rules, checks=checks)
    except orjson.JSONEncodeError:
        return None
    return CacheKey(project_id, digest, follows_routing=model is None)


def fingerprint(
    project_id: ProjectId, request: ChatRequest, *, model: str | None, version: str, rules: str, checks: object = None
) -> bytes:
    """SHA-256 of everything that changes the answer or its approval. Raises `orjson.JSONEncodeError`."""
    asked = {
        "project": str(project_id),
        "form": VERSION,
        "model": model,
        "version": version,
        "rules": rules,
        "checks": checks,
        "request": _effective(request),
    }
    return hashlib.sha256(orjson.dumps(asked, default=_plain, option=orjson.OPT_SORT_KEYS)).digest()


def model_version(model: Model, adapter: str = "") -> str:
    """Changes with what a model's entry in the catalogue says of its answers and of the choice; keys and prices aside.

    An adapter's name holds its version and never names another one: the name and the base's are all of it. Its address
    and the fields of its requests differ between replicas that would give the same answer.
    """
    names = ("name", "base") if model.base is not None else VERSIONED
    entry = {name: getattr(model, name) for name in names}
    form = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps([entry, adapter], default=_jsonable, option=form)).hexdigest()[:16]


def catalog_version(models: Iterable[Model]) -> str:
    """Changes with the catalogue, whatever its order. Compute it once for a catalogue."""
    versions = sorted(model_version(model) for model in models)
    return hashlib.sha256("".join(versions).encode()).hexdigest()[:16]


class CatalogVersions:
    """The `catalog_version` of what each project may call: adapters of other projects change nothing of it."""

    def __init__(self, catalog: Catalog) -> None:
        self._shared = catalog_version(catalog)
        self._own = {owner: catalog_version(catalog.of(owner)) for owner in catalog.owners}

    def of(self, project_id: Hashable) -> str:
        return self._own.get(project_id, self._shared)


def _deterministic(request: ChatRequest) -> bool:
    temperature = request.extra.get("temperature", request.temperature)
    return isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0


def _effective(request: ChatRequest) -> dict[str, Any]:
    """The request as its server gets it: `extra` wins over the fields."""
    fields = {
        "messages": request.messages,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "response_format": request.response_format,
        "stop": request.stop or None,
        "seed": request.seed,
        "tools": request.tools or None,
        **request.extra,
    }
    if isinstance(fields["temperature"], int | float):
        fields["temperature"] = float(fields["temperature"]) + 0.0  # 0, 0.0 and -0.0 are one
    return {name: value for name, value in fields.items() if value is not None}


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def _jsonable(value: object) -> Any:
    """A field of a model that is no JSON by itself: a set, a mapping, or whatever `body` holds."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
