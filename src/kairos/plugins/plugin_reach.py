"""Decides which servers a plugin may call for a project: those set by operators, and public ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from kairos.host_literals import literal
from kairos.plugins.plugin_config import Values, free_texts, project_values, with_defaults
from kairos.public_addresses import is_listed, is_public

UrlOrigin = tuple[str, str, int | None]


class AddressPolicy:
    """Decides for each address that a plugin calls in a task if it must be public.

    If the project has set no text, any address is allowed. Otherwise an address must be public, except for servers in
    the operator's settings, because any part of an address may come from the project's text.
    """

    def __init__(self, schema: Values, system: Values, project: Values) -> None:
        own = project_values(schema, project)
        texts = {name: own[name] for name in free_texts(schema) & set(own)}
        self._restricted = any(True for _ in _texts(texts))
        named = set(_origins(texts))
        rest = {name: value for name, value in with_defaults(schema, system).items() if name not in own}
        self._operators = frozenset(set(_origins(rest)) - named)

    def public_only(self, url: str) -> bool:
        """Whether the server of this URL must have a public address."""
        return self._restricted and _origin(url) not in self._operators


def private_address(values: Mapping[str, Any], allowed: tuple[str, ...]) -> str | None:
    """The first non-public address in a project's values. Host names are resolved only when they are called."""
    for text in _texts(values):
        origin = _origin(text)
        if origin is None:
            continue
        host = origin[1]
        address = literal(host)
        local = host == "localhost" or host.endswith(".localhost")
        if (local or (address is not None and not is_public(address))) and not is_listed(host, address, allowed):
            return f"{origin[0]}://{host}"
    return None


def _origins(values: Any) -> Iterator[UrlOrigin]:
    for text in _texts(values):
        if origin := _origin(text):
            yield origin


def _origin(url: str) -> UrlOrigin | None:
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not parts.scheme:
        return None
    scheme = parts.scheme.lower()
    return scheme, host.rstrip("."), port or {"http": 80, "https": 443}.get(scheme)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
