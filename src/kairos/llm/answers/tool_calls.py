"""Joins the tool calls of an answer from the fragments that servers send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kairos.llm.answers.answer_faults import InvalidAnswer
from kairos.storable_text import storable, storable_value


class ToolCalls:
    """The tool calls of an answer in progress."""

    def __init__(self, grow: Callable[[int], None]) -> None:
        """`grow` receives the length of each fragment and raises if the answer becomes too long."""
        self._grow = grow
        self._calls: list[dict[str, Any]] = []

    def feed(self, pieces: Any) -> None:
        """Add fragments. If a server omits the index, an id starts a new call."""
        if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces if piece is not None):
            raise InvalidAnswer("`tool_calls` is not a list of objects")
        for piece in filter(None, pieces):
            self._join(self._place(piece), piece)

    def feed_function(self, function: Any) -> None:
        """Add a fragment of `function_call`, which older servers send instead of tool calls."""
        self.feed([{"index": 0, "function": function}])

    def complete(self) -> tuple[Mapping[str, Any], ...]:
        """Return the calls, with their arguments as text."""
        return tuple(
            {**call, "function": {name: storable(text) for name, text in call["function"].items()}}
            for call in self._calls
        )

    def _place(self, piece: dict[str, Any]) -> dict[str, Any]:
        """Return the call that a fragment belongs to."""
        index = _number(piece.get("index"))
        if index is None:
            index = len(self._calls) - (not piece.get("id") and bool(self._calls))
        if index == len(self._calls):
            self._calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        if not isinstance(index, int) or not 0 <= index < len(self._calls):
            raise InvalidAnswer(f"a tool call has the index {index!r}")
        return self._calls[index]

    def _join(self, whole: dict[str, Any], piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        if not isinstance(function, dict):
            raise InvalidAnswer("the function of a tool call is not an object")
        name, arguments = function.get("name") or "", _arguments(function.get("arguments"))
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise InvalidAnswer("the function of a tool call is not text")
        self._grow(len(name) + len(arguments))
        whole["id"] = storable(str(piece["id"])) if piece.get("id") else whole["id"]
        whole["function"]["name"] += name
        whole["function"]["arguments"] += arguments


def _arguments(value: Any) -> Any:
    """Return arguments as text. Ollama and some gateways send an object instead."""
    if not isinstance(value, dict | list):
        return value or ""
    try:
        return orjson.dumps(storable_value(value)).decode()
    except (TypeError, RecursionError) as error:  # orjson supports 254 levels
        raise InvalidAnswer("the arguments of a tool call are nested too deeply") from error


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 9 else value
