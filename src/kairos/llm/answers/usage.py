"""Token counts of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TOKENS = 2**31 - 1
"""Maximum of PostgreSQL's integer. A larger token count is a server error."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as reported by the server."""

    input_tokens: int
    """All tokens of the prompt, including those of the server's prompt cache."""
    output_tokens: int
    cache_read_tokens: int = 0
    """Input tokens that the server read from its prompt cache."""
    cache_write_tokens: int = 0
    """Input tokens that the server wrote to its prompt cache."""


def openai_usage(value: Any, known: Usage | None) -> Usage | None:
    """Return the latest token counts in the OpenAI form. A count of zero does not replace an earlier one."""
    if not isinstance(value, dict):
        return known
    given, written = token_count(value.get("prompt_tokens")), token_count(value.get("completion_tokens"))
    if given is None or written is None or (known and not given and not written):
        return known
    details = value.get("prompt_tokens_details")
    cached = token_count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return Usage(given, written, min(cached or 0, given))


def token_count(value: Any) -> int | None:
    """Parse a token count from a number or digits; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= MAX_TOKENS and value == int(value) else None
