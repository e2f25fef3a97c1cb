"""The report of an Ollama server on its models: those on its disk (`/api/tags`) and those in memory (`/api/ps`).

Documented at https://github.com/ollama/ollama/blob/main/docs/api.md; observed with Ollama 0.17.4. Values that are
missing or of the wrong type are unknown; entries without a usable name are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kairos.llm.calls.ollama_traits import is_remote, short_text
from kairos.orchestration.providers.ollama.model_name import LONGEST

MOST_MODELS = 1000
MOST_BYTES = 2**50
MOST_TOKENS = 2**31 - 1
UNLIMITED = timedelta(days=365)
"""Ollama reports a time centuries from now for a model that is never unloaded."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on the server's disk. None is unknown."""

    name: str
    digest: str
    size: int | None = None
    """Bytes on disk. Models may share files."""
    parameters: str | None = None
    """Such as `3.2B`."""
    quantization: str | None = None
    """Such as `Q4_K_M`."""
    family: str | None = None
    modified_at: datetime | None = None
    cloud: bool = False
    """Whether Ollama forwards its requests to another host."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in the server's memory. None is unknown."""

    name: str
    memory: int | None
    """Bytes, GPU memory included."""
    vram: int | None
    """Bytes in GPU memory."""
    context: int | None
    until: datetime | None
    """When it is unloaded if nobody uses it; None also for a model that stays loaded."""


def installed_models(answer: Any) -> list[InstalledModel] | None:
    """The models of an answer of `/api/tags` by name; None if it is none."""
    rows = _rows(answer)
    if rows is None:
        return None
    found: dict[str, InstalledModel] = {}
    for name, row in rows:
        details = row.get("details")
        details = details if isinstance(details, Mapping) else {}
        found.setdefault(
            name,
            InstalledModel(
                name,
                digest=short_text(row.get("digest"), 100) or "",
                size=count(row.get("size"), MOST_BYTES),
                parameters=short_text(details.get("parameter_size")),
                quantization=short_text(details.get("quantization_level")),
                family=short_text(details.get("family")),
                modified_at=_time(row.get("modified_at")),
                cloud=is_remote(name, row),
            ),
        )
    return sorted(found.values(), key=lambda model: model.name)


def loaded_models(answer: Any) -> list[LoadedModel] | None:
    """The models of an answer of `/api/ps`; None if it is none."""
    rows = _rows(answer)
    if rows is None:
        return None
    return [
        LoadedModel(
            name,
            memory=count(row.get("size"), MOST_BYTES),
            vram=count(row.get("size_vram"), MOST_BYTES),
            context=count(row.get("context_length"), MOST_TOKENS) or None,
            until=_until(row.get("expires_at"), datetime.now(UTC)),
        )
        for name, row in rows
    ]


def count(value: Any, most: int) -> int | None:
    """A whole number in [0, most]; None for anything else."""
    return value if type(value) is int and 0 <= value <= most else None


def _rows(answer: Any) -> list[tuple[str, Mapping[str, Any]]] | None:
    """The entries with a usable name; None if the answer is not a list of models."""
    rows = answer.get("models") if isinstance(answer, Mapping) else None
    if rows is None and isinstance(answer, Mapping) and "models" in answer:
        rows = []
    return list(_named(rows)) if isinstance(rows, list) else None


def _named(rows: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in rows[:MOST_MODELS]:
        name = (row.get("name") or row.get("model")) if isinstance(row, Mapping) else None
        if isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= LONGEST:
            yield name, row


def _time(value: Any) -> datetime | None:
    """The time of an ISO 8601 text (with nanoseconds); None if it is not between 1990 and 9998."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 60 else None
    except ValueError:
        return None
    if found is None or not 1990 <= found.year <= 9998:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _until(value: Any, now: datetime) -> datetime | None:
    found = _time(value)
    return found if found is not None and found < now + UNLIMITED else None
