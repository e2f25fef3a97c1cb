"""The `format` keyword of JSON Schema: jsonschema's own checks, and some for which it needs further packages.

Added here: date-time, time (RFC 3339) and uri (basic syntax of RFC 3986). Unknown formats are not checked, as the
specification requires.
"""

from __future__ import annotations

import re
from datetime import datetime, time
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

CLOCK = r"\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
TIME = re.compile(CLOCK)
DATE_TIME = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[Tt ]{CLOCK}")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]*")

FORMATS = FormatChecker(())
FORMATS.checkers = dict(Draft202012Validator.FORMAT_CHECKER.checkers)


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """Whether a string is like `2026-11-24T12:00:00Z`. Other types are valid."""
    if not isinstance(value, str):
        return True
    return DATE_TIME.fullmatch(value) is not None and bool(datetime.fromisoformat(_in_micros(value)))


@FORMATS.checks("time", raises=ValueError)
def is_time(value: object) -> bool:
    """Whether a string is like `12:00:00Z`, with an offset. Other types are valid."""
    if not isinstance(value, str):
        return True
    return TIME.fullmatch(value) is not None and time.fromisoformat(_in_micros(value)) is not None


@FORMATS.checks("uri", raises=ValueError)
def is_uri(value: object) -> bool:
    """Whether a string is an absolute URI, with a scheme and without white space. Other types are valid."""
    if not isinstance(value, str):
        return True
    return URI.fullmatch(value) is not None and bool(urlsplit(value).scheme)


def _in_micros(value: str) -> str:
    """Cut fractions of a second to the microseconds that Python supports."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value)
