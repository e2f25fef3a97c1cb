"""The `format` keyword: jsonschema's own checks, and those for which it would want further packages.

Added with the standard library alone: date-time, time (RFC 3339) and uri (RFC 3986, its outline). Formats that are not
known are not checked, as the specification has it.
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
    """`2026-11-24T12:00:00Z`; texts alone have formats."""
    if not isinstance(value, str):
        return True
    return DATE_TIME.fullmatch(value) is not None and bool(datetime.fromisoformat(_in_micros(value)))


@FORMATS.checks("time", raises=ValueError)
def is_time(value: object) -> bool:
    """`12:00:00Z`, always with its offset."""
    if not isinstance(value, str):
        return True
    return TIME.fullmatch(value) is not None and time.fromisoformat(_in_micros(value)) is not None


@FORMATS.checks("uri", raises=ValueError)
def is_uri(value: object) -> bool:
    """An absolute address: with a scheme, without white space."""
    if not isinstance(value, str):
        return True
    return URI.fullmatch(value) is not None and bool(urlsplit(value).scheme)


def _in_micros(value: str) -> str:
    """Python's clocks end at microseconds."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value)
