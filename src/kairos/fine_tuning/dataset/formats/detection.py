"""Detects the format of a row by its keys."""

from __future__ import annotations

from typing import Any

import orjson

from kairos.fine_tuning.dataset.formats import alpaca, chat, completion, preference, sharegpt
from kairos.fine_tuning.dataset.formats.row import Imported, refuse

FORMATS = (preference, chat, sharegpt, alpaca, completion)
"""In order of precedence: preference pairs often repeat their prompt as `messages`."""
LONGEST_ROW = 1_000_000
MOST_KEYS_SHOWN = 12


def read(record: bytes) -> Imported:
    """Parse a row from a JSON object. Raises `RowRefused`."""
    if len(record) > LONGEST_ROW:
        refuse(f"it is longer than {LONGEST_ROW:,} bytes. Split it")
    try:
        row: Any = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        refuse(f"it is not JSON ({error.msg}). Write one JSON object per line, or a JSON array of objects")
    if not isinstance(row, dict):
        refuse(f"it is {_kind(row)} and not a JSON object. {supported()}")
    for one in FORMATS:
        if one.matches(row):
            return one.read(row)
    keys = ", ".join(ascii(name)[1:41].rstrip("'") for name in [*row][:MOST_KEYS_SHOWN]) or "none"
    refuse(f"its format is not known. Keys found: {keys}. {supported()}")


def supported() -> str:
    return f"Supported: {'; '.join(one.SHAPE for one in (chat, *(one for one in FORMATS if one is not chat)))}"


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "null")
