"""Lenient JSON parser for model servers: accepts NaN, lone surrogates, and bytes that are not UTF-8."""

from __future__ import annotations

import json
from typing import Any

import orjson

from kairos.http import excerpt
from kairos.llm.answers.answer_faults import InvalidAnswer

NESTED_TOO_DEEP = "it is nested too deeply"


def loads(data: bytes) -> Any:
    """Parse a JSON text. Bytes that are not UTF-8 become lone surrogates, as with `surrogateescape`.

    Raises `InvalidAnswer` if the text is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"), strict=False)
    except RecursionError as error:
        raise InvalidAnswer(NESTED_TOO_DEEP) from error
    except ValueError as error:
        raise InvalidAnswer(f"it is not valid JSON: {excerpt(data)}") from error
