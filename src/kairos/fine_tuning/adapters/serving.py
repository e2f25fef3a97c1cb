"""Adapters as models that can be called: what a host is asked for, and what it says.

A host serves the adapters of one kind of model server (`llama_cpp.py`, `ollama.py`). It is told the whole set that it
should serve, every time: the same set twice changes nothing.
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
    """An adapter as its host must know it."""

    id: UUID
    project_id: ProjectId
    base: Model
    version: int
    file: Path
    """GGUF, its hash checked."""
    sha256: str
    prompts: tuple[str, ...] = ()
    """Some that it was trained on: at temperature 0 it must answer one of them differently from its base."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What became of one adapter at its host."""

    adapter: ServedAdapter
    model: Model | None
    """To be called; None while it cannot be."""
    problem: str | None = None
    """Why, and what to do."""


class AdapterServer(Protocol):
    """Where adapters are served."""

    async def serve(self, adapters: Sequence[ServedAdapter]) -> list[Serving]:
        """Serve exactly these; one that cannot be served is told, and holds up no other."""
        ...

    async def promote(self, adapter: ServedAdapter) -> None:
        """Other tools that ask the host for the project's model of this base get this one from now on."""
        ...

    async def remove(self, adapter: ServedAdapter) -> None:
        """What the host keeps of a deleted one goes."""
        ...

    async def demote(self, project_id: ProjectId, base: Model) -> None:
        """Other tools get the plain base again."""
        ...


def project_suffix(project_id: ProjectId) -> str:
    """A project in names that other programs see: the last eight hex digits of its id, which are random."""
    return project_id.hex[-8:]


def served_name(base: str, project_id: ProjectId, version: int) -> str:
    """The adapter's name in the catalogue. It never names another one."""
    return f"{base}@{project_suffix(project_id)}-v{version}"
