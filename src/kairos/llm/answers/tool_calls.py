"""Tool calls of an answer, joined from the pieces in which servers send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kairos.llm.answers.answer_faults import Garbled
from kairos.storable_text import storable, storable_value


class ToolCalls:
    """The tool calls of an answer as it grows."""

    def __init__(self, grow: Callable[[int], None]) -> None:
        """`grow` is told of each piece's length, and raises where the answer gets too long."""
        self._grow = grow
        self._calls: list[dict[str, Any]] = []

    def take(self, pieces: Any) -> None:
        """Add pieces. Some servers leave the index out: then an id begins a new call."""
        if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces if piece is not None):
            raise Garbled("`tool_calls` is no list of objects")
        for piece in filter(None, pieces):
            self._join(self._place(piece), piece)

    def take_function(self, function: Any) -> None:
        """Add a piece of `function_call`, which older servers send in place of tool calls."""
        self.take([{"index": 0, "function": function}])

    def complete(self) -> tuple[Mapping[str, Any], ...]:
        """The calls, each with a whole text as its arguments."""
        return tuple(
            {**call, "function": {name: storable(text) for name, text in call["function"].items()}}
            for call in self._calls
        )

    def _place(self, piece: dict[str, Any]) -> dict[str, Any]:
        """The call that a piece belongs to."""
        index = _number(piece.get("index"))
        if index is None:
            index = len(self._calls) - (not piece.get("id") and bool(self._calls))
        if index == len(self._calls):
            self._calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        if not isinstance(index, int) or not 0 <= index < len(self._calls):
            raise Garbled(f"a tool call has the index {index!r}")
        return self._calls[index]

    def _join(self, whole: dict[str, Any], piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        if not isinstance(function, dict):
            raise Garbled("the function of a tool call is no object")
        name, arguments = function.get("name") or "", _arguments(function.get("arguments"))
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise Garbled("the function of a tool call is not in words")
        self._grow(len(name) + len(arguments))
        whole["id"] = storable(str(piece["id"])) if piece.get("id") else whole["id"]
        whole["function"]["name"] += name
        whole["function"]["arguments"] += arguments


def _arguments(value: Any) -> Any:
    """Ollama and some gateways send the arguments as an object instead of its text."""
    if not isinstance(value, dict | list):
        return value or ""
    try:
        return orjson.dumps(storable_value(value)).decode()
    except (TypeError, RecursionError) as error:  # orjson writes 254 levels
        raise Garbled("the arguments of a tool call are nested too deep") from error


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 9 else value
