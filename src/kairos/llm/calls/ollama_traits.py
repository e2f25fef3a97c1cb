"""What an Ollama server reports of one model (`/api/show`), and of several within a limited time.

Documented at https://github.com/ollama/ollama/blob/main/docs/api.md; observed with Ollama 0.17.4. Values that are
missing or of the wrong type are unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from kairos.http import HttpError
from kairos.llm.calls.server import positive
from kairos.llm.calls.server_problems import ServerProblem
from kairos.llm.catalog import prices
from kairos.llm.catalog.provider_kinds import ProviderKind

MOST_DESCRIBED = 200
DESCRIBED_AT_ONCE = 8
DESCRIBING_S = 4.0
"""Longest time for all models together."""
MOST_CAPABILITIES = 20
LONGEST_TEXT = 40

Description = TypeVar("Description")


@dataclass(frozen=True, slots=True)
class OllamaTraits:
    """What `/api/show` reports of a model. None is unknown."""

    context: int | None = None
    """Tokens that it was trained for."""
    capabilities: tuple[str, ...] | None = None
    """In Ollama's terms: completion, tools, vision, thinking, insert, embedding."""


UNKNOWN = OllamaTraits()


def traits(answer: Any) -> OllamaTraits:
    """What an answer of `/api/show` states."""
    if not isinstance(answer, Mapping):
        return UNKNOWN
    info, stated = answer.get("model_info"), answer.get("capabilities")
    info = info if isinstance(info, Mapping) else {}
    contexts = (positive(value) for key, value in info.items() if str(key).endswith(".context_length"))
    texts = [short_text(one) for one in stated[:MOST_CAPABILITIES]] if isinstance(stated, list) else None
    return OllamaTraits(
        context=next((tokens for tokens in contexts if tokens), None),
        capabilities=None if texts is None else tuple(sorted({text for text in texts if text})),
    )


def is_remote(name: str, row: Mapping[str, Any]) -> bool:
    """Whether Ollama forwards the requests of a listed model to another host."""
    return bool(row.get("remote_host")) or not prices.is_local(ProviderKind.OLLAMA, name)


async def described(names: Sequence[str], describe: Callable[[str], Awaitable[Description]]) -> dict[str, Description]:
    """What a server reports of the first `MOST_DESCRIBED` models, by name. Ollama describes one model at a time.

    Those that it does not describe, or not within `DESCRIBING_S`, are left out.
    """
    slots = asyncio.Semaphore(DESCRIBED_AT_ONCE)
    found: dict[str, Description] = {}

    async def describe_one(name: str) -> None:
        async with slots:
            with suppress(HttpError, ServerProblem):
                found[name] = await describe(name)

    with suppress(TimeoutError):
        async with asyncio.timeout(DESCRIBING_S):
            await asyncio.gather(*map(describe_one, names[:MOST_DESCRIBED]))
    return found


def short_text(value: Any, longest: int = LONGEST_TEXT) -> str | None:
    """A printable text that is not blank; None for anything else."""
    usable = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= longest
    return value if usable else None
