"""JSON as the servers of models write it: also with NaN, halves of surrogate pairs, and bytes that are not UTF-8."""

from __future__ import annotations

import json
from typing import Any

import orjson

from kairos.http import excerpt
from kairos.llm.answers.answer_faults import Garbled

NESTED_TOO_DEEP = "it is nested too deep"


def loads(data: bytes) -> Any:
    """The value of a JSON text. Bytes that are not UTF-8 become lone surrogates, as `surrogateescape` makes them.

    Raises `Garbled` for what is not even nearly JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"), strict=False)
    except RecursionError as error:
        raise Garbled(NESTED_TOO_DEEP) from error
    except ValueError as error:
        raise Garbled(f"not JSON: {excerpt(data)}") from error
