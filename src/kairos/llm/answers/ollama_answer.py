"""Parses answers of Ollama's own protocol: lines of JSON, of which the last one has `done`.

Documented at https://github.com/ollama/ollama/blob/main/docs/api.md; observed with Ollama 0.17.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kairos.llm.answers.answer_faults import InvalidAnswer, reported_error
from kairos.llm.answers.answer_part import AnswerPart
from kairos.llm.answers.finish_reason import TOOL_CALLS
from kairos.llm.answers.usage import Usage, token_count

NANOSECONDS = 1_000_000_000
MAX_LOAD_S = 24 * 3600.0


class OllamaAnswerParser:
    """The parser of one answer."""

    def __init__(self) -> None:
        self._calls = 0

    def parts(self, value: Mapping[str, Any]) -> Iterator[AnswerPart]:
        if value.get("error") and (error := reported_error(value)):
            raise error
        message = value.get("message")
        if message is not None and not isinstance(message, Mapping):
            raise InvalidAnswer("a message is not an object")
        done = value.get("done") is True
        if not done and message is None:
            return
        message = message or {}
        calls = list(self._tool_calls(message.get("tool_calls")))
        yield AnswerPart(
            text=_text(message, "content"),
            reasoning=_text(message, "thinking"),
            tool_calls=calls,
            finish_reason=self._finish_reason(value) if done else None,
            usage=_usage(value) if done else None,
            model=value["model"] if isinstance(value.get("model"), str) else None,
            load_s=_seconds(value.get("load_duration")) if done else 0.0,
            done=done,
        )

    def _finish_reason(self, value: Mapping[str, Any]) -> str:
        """Return the reason. `load` and `unload` come without an answer; old versions send none."""
        reason = value.get("done_reason") or "stop"
        return TOOL_CALLS if reason == "stop" and self._calls else str(reason)

    def _tool_calls(self, calls: Any) -> Iterator[dict[str, Any]]:
        """Iterate over tool calls, each of which is complete. Old versions send no ids, and the index is no position in
        the answer."""
        if not isinstance(calls or [], list):
            raise InvalidAnswer("`tool_calls` is not a list")
        for call in calls or ():
            if not isinstance(call, Mapping):
                raise InvalidAnswer("a tool call is not an object")
            identifier = call.get("id") or f"call_{self._calls + 1}"
            function = call.get("function")
            if isinstance(function, Mapping) and function.get("arguments") is None:
                function = {**function, "arguments": {}}
            yield {"index": self._calls, "id": identifier, "function": function}
            self._calls += 1


def _text(message: Mapping[str, Any], name: str) -> str:
    text = message.get(name)
    if not isinstance(text or "", str):
        raise InvalidAnswer(f"`{name}` is not a text")
    return text or ""


def _usage(value: Mapping[str, Any]) -> Usage | None:
    """Return the token counts. Ollama leaves out a count of zero; a prompt without tokens means that it did not
    count."""
    given, written = token_count(value.get("prompt_eval_count")), token_count(value.get("eval_count", 0))
    return None if given is None or written is None else Usage(given, written)


def _seconds(value: Any) -> float:
    seconds = value / NANOSECONDS if type(value) is int and value > 0 else 0.0
    return seconds if seconds <= MAX_LOAD_S else 0.0
