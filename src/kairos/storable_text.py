"""Text that every part of Kairos can store: PostgreSQL takes no NUL, and UTF-8 has no half of a surrogate pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\ufffd"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LARGEST_WRITTEN, SMALLEST_WRITTEN = 2**64 - 1, -(2**63)
"""What orjson writes, and JSON readers in other languages read."""


def join_pairs(text: str) -> str:
    """Make one character of each surrogate pair that arrived as two."""
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def is_storable(text: str) -> bool:
    """Whether PostgreSQL, Redis and JSON take the text as it is."""
    if text.isascii():
        return "\x00" not in text
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """The text with U+FFFD in place of each NUL and each half of a surrogate pair."""
    return text if is_storable(text) else _UNSTORABLE.sub(REPLACEMENT, join_pairs(text))


def storable_value(value: Any) -> Any:
    """The same for every text in a JSON value, its keys included. An integer beyond 64 bits becomes its digits."""
    match value:
        case str():
            return storable(value)
        case bool() | None | float():
            return value
        case int():
            return value if SMALLEST_WRITTEN <= value <= LARGEST_WRITTEN else str(value)
        case Mapping():
            return {storable(str(key)): storable_value(item) for key, item in value.items()}
        case list() | tuple():
            return [storable_value(item) for item in value]
        case _:
            return value
