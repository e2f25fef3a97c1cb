"""The interface to hosts, which serve adapters as callable models.

A host serves the adapters of one kind of model server (`llama_cpp.py`, `ollama.py`). Every call passes the complete set
of adapters to serve; repeating a call changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId


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


@dataclass(frozen=True, slots=True)
class Serving:
    """The status of an adapter at its host."""

    adapter: ServedAdapter
    model: Model | None
    """The callable model; None if unavailable."""
    problem: str | None = None
    """The reason and the remedy."""


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
