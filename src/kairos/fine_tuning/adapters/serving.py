"""The interface to hosts, which serve adapters as callable models.

A host serves the adapters of one kind of model server (`llama_cpp.py`, `llama_server.py`, `ollama.py`, `vllm.py`).
Every call passes the complete set of adapters to serve; repeating a call changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from kairos.errors import KairosError
from kairos.http import HttpCut, HttpTimeout, HttpUnreachable
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

Server = TypeVar("Server")
AWAY = (HttpUnreachable, HttpTimeout, HttpCut)
"""Errors of a server that is unavailable, which say nothing about an adapter."""


class AdapterNotRemoved(KairosError):
    """{name} is still on {server} at {address}: {reason}."""

    status, code, exit_code = 502, "adapter_not_removed", 3
    retryable = True


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """An adapter to serve."""

    id: UUID
    project_id: ProjectId
    base: Model
    version: int
    file: Path
    """GGUF file with a verified hash."""
    sha256: str
    prompts: tuple[str, ...] = ()
    """Training prompts. At temperature 0, the adapter must answer one of them differently from its base."""
    path: str = ""
    """Its folder, relative to the folder of adapters: `<project>/<base>/<version>`."""

    @property
    def server_folder(self) -> str:
        """Its folder as its server sees it: below the base's `adapters_path`, else the same path as here."""
        shared = self.base.adapters_path
        return f"{shared.rstrip('/')}/{self.path}" if shared else self.file.parent.resolve().as_posix()


@dataclass(frozen=True, slots=True)
class Serving:
    """The status of an adapter at its host."""

    adapter: ServedAdapter
    model: Model | None
    """The callable model; None if unavailable."""
    problem: str | None = None
    """The reason and the remedy."""
    reloaded: bool = False
    """Whether this call loaded it again. Calls that failed before do not count against it."""


class AdapterServer(Protocol):
    """A host of adapters."""

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve exactly these adapters. One that fails does not affect the others."""
        ...

    async def promote(self, adapter: ServedAdapter) -> None:
        """Point the alias of the project's adapter of this base, for other tools, to this adapter."""
        ...

    async def remove(self, adapter: ServedAdapter) -> None:
        """Remove a deleted adapter from the host."""
        ...

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Point the alias to the plain base."""
        ...


def project_suffix(project_id: ProjectId) -> str:
    """Return the project's suffix for names in other programs: the last eight hex digits of its random id."""
    return project_id.hex[-8:]


def served_name(base: str, project_id: ProjectId, version: int) -> str:
    """Return the adapter's unique name in the catalogue."""
    return f"{base}@{project_suffix(project_id)}-v{version}"


async def serve_by_server(
    adapters: Sequence[ServedAdapter],
    server_of: Callable[[Model], Server],
    serve_at: Callable[[Server, list[ServedAdapter]], Awaitable[list[Serving]]],
) -> list[Serving]:
    """Serve the adapters of each server, all servers concurrently. Returns the statuses in the order of `adapters`."""
    by_server: dict[Server, list[ServedAdapter]] = {}
    for adapter in adapters:
        by_server.setdefault(server_of(adapter.base), []).append(adapter)
    groups = await asyncio.gather(*(serve_at(server, group) for server, group in by_server.items()))
    found = {serving.adapter.id: serving for group in groups for serving in group}
    return [found[adapter.id] for adapter in adapters]


def clause(error: Exception) -> str:
    """Return an error's message for use inside a sentence."""
    return str(error).rstrip(".")
