"""Finds model servers on the usual ports of this machine and of the host of Kairos' container, for operators to add."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from kairos import environment
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Catalog, ModelOrigin
from kairos.llm.catalog.discovery import USUAL_PORTS, FoundServer, ServerKind, local_places, scan_local
from kairos.llm.catalog.local_hosts import (
    CONTAINER_HOST,
    THIS_MACHINE,
    VARIABLES,
    candidates,
    in_container,
    resolved,
)
from kairos.llm.catalog.provider_kinds import ProviderKind
from kairos.orchestration.providers.provider_store import ProviderOwner, ProviderStore

RESOLVE_S = 0.8
PROBE_S = 1.4
"""Longest time to connect, and again to list; the whole search takes at most `RESOLVE_S` + 2 × `PROBE_S` = 3.6 s."""
LONGEST_PROBLEM = 300


class NotFoundCause(StrEnum):
    """A usual reason why no local server answers."""

    NOT_STARTED = "not_started"
    LISTENS_ON_LOOPBACK = "listens_on_loopback"
    FIREWALL = "firewall"
    HOST_UNKNOWN = "host_unknown"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answers on a usual port."""

    kind: ProviderKind
    address: str
    models: int
    needs_key: bool
    problem: str | None
    """Why it lists no models; it may not be a model server at all."""
    provider_id: UUID | None
    """The shared provider with this server, if there is one."""
    from_file: bool
    """Whether an entry of kairos.toml has this server."""


@dataclass(frozen=True, slots=True)
class TriedHost:
    """A host that was tried. `known` is false if its name cannot be resolved."""

    name: str
    known: bool


@dataclass(frozen=True, slots=True)
class LocalSearch:
    """The result of a search."""

    servers: tuple[LocalServer, ...]
    hosts: tuple[TriedHost, ...]
    in_container: bool
    causes: tuple[NotFoundCause, ...]
    """The usual causes, if no server lists models."""


class LocalServers:
    """Searches for local servers. Every search is bounded in time, and what a server answers cannot fail it."""

    def __init__(self, providers: Providers, http: HttpClient, store: ProviderStore, catalog: Catalog) -> None:
        self._list_models = providers.list_models
        self._http = http
        self._store = store
        self._catalog = catalog
        self.ports: Mapping[ServerKind, int] = USUAL_PORTS
        self.hosts: Callable[[Mapping[str, str]], tuple[str, ...]] = candidates

    async def search(self, owner: ProviderOwner) -> LocalSearch:
        """The servers that answer now, and whether they are already added."""
        environ = _environment()
        names = self.hosts(environ)
        addresses = await asyncio.gather(*(resolved(name, RESOLVE_S) for name in names))
        places = local_places(environ, _distinct(names, addresses), self.ports)
        found = await scan_local(self._list_models, places, get_json=self._get_json, timeout_s=PROBE_S)
        known = await self._known(owner)
        servers = tuple(_local_server(server, known) for server in found)
        hosts = tuple(TriedHost(name, address is not None) for name, address in zip(names, addresses, strict=True))
        contained = in_container(environ)
        causes = () if any(server.models for server in servers) else _causes(hosts, contained)
        return LocalSearch(servers, hosts, contained, causes)

    async def _get_json(self, url: str) -> Any:
        return await self._http.get_json(url)

    async def _known(self, owner: ProviderOwner) -> Mapping[str, UUID | None]:
        """The servers in use: with the provider, or None for those of kairos.toml."""
        configured = (model for model in self._catalog.servers if model.origin is ModelOrigin.FILE)
        servers: dict[str, UUID | None] = {_server(model.base_url): None for model in configured}
        stored = await self._store.list(owner)
        return {**servers, **{_server(found.row.address): found.row.id for found in stored}}


def _local_server(found: FoundServer, known: Mapping[str, UUID | None]) -> LocalServer:
    server = _server(found.base_url)
    return LocalServer(
        kind=ProviderKind(found.kind),
        address=found.base_url,
        models=len(found.models),
        needs_key=found.needs_key,
        problem=found.problem[:LONGEST_PROBLEM] if found.problem else None,
        provider_id=known.get(server),
        from_file=server in known and known[server] is None,
    )


def _distinct(names: tuple[str, ...], addresses: list[str | None]) -> list[str]:
    """The names of the hosts that are known, each host once: host.docker.internal mostly is the default gateway."""
    by_address: dict[str, str] = {}
    for name, address in zip(names, addresses, strict=True):
        if address is not None:
            by_address.setdefault(address, name)
    return list(by_address.values())


def _causes(hosts: tuple[TriedHost, ...], contained: bool) -> tuple[NotFoundCause, ...]:
    unknown = any(host.name == CONTAINER_HOST and not host.known for host in hosts)
    causes = [NotFoundCause.NOT_STARTED, NotFoundCause.LISTENS_ON_LOOPBACK, NotFoundCause.FIREWALL]
    return (*causes, *([NotFoundCause.HOST_UNKNOWN] if contained and unknown else []))


def _server(address: str) -> str:
    """Host and port of an address, with one name for this machine."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{THIS_MACHINE if host in ('localhost', '::1') else host}:{port}"


def _environment() -> dict[str, str]:
    return {name: value for name in ("OLLAMA_HOST", *VARIABLES) if (value := environment.value(name))}
