"""Make text storable: PostgreSQL stores no NUL, and UTF-8 cannot encode half of a surrogate pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\ufffd"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LARGEST_WRITTEN, SMALLEST_WRITTEN = 2**64 - 1, -(2**63)
"""The integers that orjson writes and JSON parsers in other languages read."""


def join_pairs(text: str) -> str:
    """Combine each surrogate pair into one character."""
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def is_storable(text: str) -> bool:
    """Whether PostgreSQL, Redis and JSON can store the text unchanged."""
    if text.isascii():
        return "\x00" not in text
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """The text with U+FFFD in place of each NUL and each half of a surrogate pair."""
    return text if is_storable(text) else _UNSTORABLE.sub(REPLACEMENT, join_pairs(text))


def storable_value(value: Any) -> Any:
    """A JSON value with every text made storable, including keys. Integers beyond 64 bits become strings."""
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
