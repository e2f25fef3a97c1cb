"""The protocol between daemon and child: JSON frames with a length prefix; and validation of the result of `execute`.

Imports the standard library only, so that the child starts fast.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from kairos.plugins.base_plugin import Answer

HEAD = struct.Struct(">I")
MAX_FRAME = 32 << 20
MAX_RESULT = 1_000_000
"""Maximum number of characters, as for the guardian's JSON."""


class InvalidResult(ValueError):
    """The result of a plugin is not a valid answer."""


def frame(value: Any) -> bytes:
    """Encode a value. Raises `ValueError` if it is not JSON serializable or too large."""
    body = json.dumps(value, allow_nan=False).encode()
    if len(body) > MAX_FRAME:
        raise ValueError(f"it has {len(body)} bytes, the limit is {MAX_FRAME}")
    return HEAD.pack(len(body)) + body


def shape(value: Any) -> dict[str, Any]:
    """Convert the result of an execution to `text`, or to `answer` with the number of a call.

    Raises `InvalidResult`.
    """
    if isinstance(value, Answer):
        return {"answer": value.number}
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping | list | tuple):
        text = _rendered(value)
    else:
        raise InvalidResult(f"execute returned {_named(value)}; return a str, a dict, a list or an Answer")
    if not text.strip():
        raise InvalidResult("execute returned an empty text")
    if len(text) > MAX_RESULT:
        raise InvalidResult(f"execute returned {len(text)} characters; at most {MAX_RESULT} are allowed")
    if "\x00" in text or not _is_text(text):
        raise InvalidResult("execute returned a text with characters that cannot be stored (NUL or lone surrogates)")
    return {"text": text}


def _rendered(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    except (TypeError, ValueError, RecursionError) as fault:
        raise InvalidResult(
            f"execute returned a {type(value).__name__} that is not JSON serializable: {fault}"
        ) from None


def _named(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
