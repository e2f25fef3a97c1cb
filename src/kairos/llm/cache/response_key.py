"""Cache keys of requests, and whether a request may be cached. Requests with equal keys may share an answer.

The key does not contain the routing epoch. `response_cache.lua` compares the epoch when reading, so that a promotion
takes effect on all replicas immediately without a further round trip. Everything that a replica can compute is in the
key.
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
"""Increased when the canonical or stored form changes. Older entries are then never found."""


VERSIONED = (
    "name",
    "upstream",
    "base_url",
    "local",
    "context",
    "specialties",
    "tier",
    "capabilities",
    "body",
    "protocol",
)
"""The fields of a configured model that determine its version."""


class CacheUse(StrEnum):
    """How a request may use the cache."""

    FULL = "full"
    """A cached answer may be used, and the model's answer is stored."""
    REFRESH = "refresh"
    """The model is always called, and its answer is stored: `no-cache` (RFC 9111, 5.2.1.4)."""
    OFF = "off"
    """Neither read nor stored: `cache: false`, `no-store` (5.2.1.5), or a request that is not deterministic."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The key of an answer."""

    project_id: ProjectId
    digest: bytes
    follows_routing: bool
    """Whether the router chooses the model. If so, the answer becomes invalid when the project's routing epoch
    rises."""


def cache_use(request: ChatRequest, cache: bool | None = None, cache_control: str | None = None) -> CacheUse:
    """Return how a request may use the cache, from its parameter `cache` and its header `Cache-Control`.

    Without either, only requests at temperature 0 are cached. Other request directives are advisory (RFC 9111, 5.2.1)
    and ignored.
    """
    directives = {part.strip().lower() for part in (cache_control or "").split(",")}
    if cache is False or "no-store" in directives or not (cache or _deterministic(request)):
        return CacheUse.OFF
    return CacheUse.REFRESH if directives & {"no-cache", "max-age=0"} else CacheUse.FULL


def cache_key(
    project_id: ProjectId, request: ChatRequest, *, model: str | None, version: str, rules: str, checks: object = None
) -> CacheKey | None:
    """Return the cache key of a request; None if it cannot be encoded as JSON.

    `model` is the requested model, None for `auto`. `version` is `catalog_version` for `auto`, else `model_version`.
    `rules` is the version of the guardian's rules, `checks` the task's checks.
    """
    try:
        digest = fingerprint(project_id, request, model=model, version=version, rules=rules, checks=checks)
    except orjson.JSONEncodeError:
        return None
    return CacheKey(project_id, digest, follows_routing=model is None)


def fingerprint(
    project_id: ProjectId, request: ChatRequest, *, model: str | None, version: str, rules: str, checks: object = None
) -> bytes:
    """Return the SHA-256 of everything that affects the answer or its approval. Raises `orjson.JSONEncodeError`."""
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
    """Return a version that changes with the fields of a model that affect its answers or its choice, not keys and
    prices.

    An adapter's name contains its version and is never reused, so its name and its base's suffice. Its address and
    request fields may differ between replicas that give the same answer.
    """
    names = ("name", "base") if model.base is not None else VERSIONED
    entry = {name: getattr(model, name) for name in names}
    form = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps([entry, adapter], default=_jsonable, option=form)).hexdigest()[:16]


def catalog_version(models: Iterable[Model]) -> str:
    """Return a version that changes with the catalogue, regardless of its order. Compute it once per catalogue."""
    versions = sorted(model_version(model) for model in models)
    return hashlib.sha256("".join(versions).encode()).hexdigest()[:16]


class CatalogVersions:
    """The `catalog_version` of each project's models. Adapters of other projects do not affect it."""

    def __init__(self, catalog: Catalog) -> None:
        self._shared = catalog_version(catalog)
        self._own = {owner: catalog_version(catalog.of(owner)) for owner in catalog.owners}

    def of(self, project_id: Hashable) -> str:
        return self._own.get(project_id, self._shared)


def _deterministic(request: ChatRequest) -> bool:
    temperature = request.extra.get("temperature", request.temperature)
    return isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0


def _effective(request: ChatRequest) -> dict[str, Any]:
    """Return the effective request: `extra` overrides the fields."""
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
        fields["temperature"] = float(fields["temperature"]) + 0.0  # 0, 0.0 and -0.0 are equal
    return {name: value for name, value in fields.items() if value is not None}


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be encoded as JSON")


def _jsonable(value: object) -> Any:
    """Convert a model's field that is not JSON: a set, a mapping, or any value in `body`."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
