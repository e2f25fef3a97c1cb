"""Read the bodies and headers of HTTP responses."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from kairos.http_errors import HttpGarbled

EXCERPT_LENGTH = 300


def parse_json(body: bytes, address: str) -> Any:
    """The value of a JSON body. Raises `HttpGarbled`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpGarbled(address=address, expected="JSON", excerpt=excerpt(body)) from error


def excerpt(body: bytes | str) -> str:
    """The beginning of a body, on one line, for a message."""
    text = body[: EXCERPT_LENGTH * 4].decode(errors="replace") if isinstance(body, bytes) else body
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line[:EXCERPT_LENGTH] + " …" if len(line) > EXCERPT_LENGTH else line) or "an empty body"


def error_message(value: Any) -> str | None:
    """The message in an error body, in the formats of OpenAI-compatible servers; None if it has none."""
    if not isinstance(value, Mapping):
        return None
    for key in ("error", "message", "detail"):
        found = value.get(key)
        if isinstance(found, Mapping):
            found = found.get("message")
        if isinstance(found, str) and found.strip():
            return excerpt(found)
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which to retry (Retry-After, RFC 9110, 10.2.3, or OpenAI's header in milliseconds)."""
    for name, unit in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = headers.get(name, "").strip()
        with suppress(ValueError):
            seconds = float(text) * unit
            if math.isfinite(seconds):
                return max(0.0, seconds)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(headers.get("Retry-After", "")).timestamp() - time.time())
    return None
