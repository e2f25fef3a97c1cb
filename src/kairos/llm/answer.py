"""An answer of a chat model, put together from what its server sends, and what can be wrong with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kairos.http import error_words, excerpt

STATUS_OF_WORDS = {
    "rate_limit": 429,
    "insufficient_quota": 429,
    "invalid_request": 400,
    "BadRequest": 400,
    "context_length": 400,
    "context_size": 400,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
}
"""Words in the type or code of an error inside a stream, and the status they would have come with before it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    """None where the server did not count."""
    first_token_s: float | None
    """Until the first token of any kind, reasoning included, since the server counts those too. None when the answer
    came in one piece."""
    duration_s: float
    model: str | None
    """What the server says answered."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()


class Fault(Exception):
    """What is wrong with an answer, in words."""


class Garbled(Fault):
    pass


class Broken(Fault):
    """The stream ended too early."""


class TooLong(Fault):
    def __init__(self, limit: int) -> None:
        super().__init__(f"it is longer than {limit} bytes, which is all Kairos takes")


class Reported(Fault):
    """The server itself reported an error in its answer."""

    def __init__(self, http_status: int, reason: str) -> None:
        super().__init__(reason)
        self.http_status = http_status


class Answer:
    """An answer as it grows."""

    def __init__(self, limit: int) -> None:
        self.done = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.first_token_s: float | None = None
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._limit = limit
        self._size = 0
        self._texts: list[str] = []
        self._tools: list[dict[str, Any]] = []
        self._model: str | None = None
        self._events = 0
        self._chosen = False

    def take(self, events: list[bytes]) -> str:
        """Add the events of a stream; the text that is new."""
        added = ""
        for event in events:
            if event == b"[DONE]":
                self.done = True
                break
            self._events += 1
            added += self._take_object(_loads(event), "delta")
        return added

    def take_whole(self, body: bytes) -> str:
        """Add an answer that came in one piece; its text."""
        text = self._take_object(_loads(body), "message")
        if not self._chosen:
            raise Garbled(f"it has no choices: {excerpt(body)}")
        self.done, self.first_token_s = True, None
        return text

    def check_end(self, beginning: bytes) -> None:
        """Raise if the stream that ended here is no whole answer."""
        if not self._events:
            raise Garbled(f"neither JSON nor a stream of events: {excerpt(beginning)}")
        if not self.done and self.finish_reason is None:
            raise Broken("the stream ended without a finish reason")
        if not self._chosen:
            raise Garbled("the stream has no choices")

    def end(self) -> None:
        self._ended = time.perf_counter()

    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._began

    def text(self) -> str:
        return "".join(self._texts)

    def completion(self) -> Completion:
        return Completion(
            text=self.text(),
            finish_reason=self.finish_reason,
            usage=self.usage,
            first_token_s=self.first_token_s,
            duration_s=self.seconds(),
            model=self._model,
            tool_calls=tuple(self._tools),
        )

    def _take_object(self, value: Any, part: str) -> str:
        if not isinstance(value, dict):
            raise Garbled(f"a {type(value).__name__} where an object belongs: {excerpt(orjson.dumps(value))}")
        if error := value.get("error"):
            raise _reported(error)
        if (model := value.get("model")) and isinstance(model, str):
            self._model = model
        self.usage = _usage(value.get("usage")) or self.usage
        choices = value.get("choices") or []
        if not isinstance(choices, list):
            raise Garbled("`choices` is no list")
        for choice in choices:
            if not isinstance(choice, dict):
                raise Garbled("a choice is no object")
            if choice.get("index", 0) == 0:
                return self._take_choice(choice, choice.get(part) or choice.get("delta") or choice.get("message") or {})
        return ""

    def _take_choice(self, choice: dict[str, Any], message: Any) -> str:
        if not isinstance(message, dict):
            raise Garbled("a message is no object")
        self._chosen = True
        text = _text(message.get("content"))
        calls = message.get("tool_calls")
        if calls:
            self._take_tools(calls)
        if self.first_token_s is None and (
            text or calls or message.get("reasoning_content") or message.get("reasoning")
        ):
            self.first_token_s = time.perf_counter() - self._began
        if text:
            self._grow(len(text))
            self._texts.append(text)
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = str(reason)
        return text

    def _take_tools(self, calls: Any) -> None:
        """Join the pieces of tool calls. Some servers leave the index out: then an id begins a new call."""
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise Garbled("`tool_calls` is no list of objects")
        for call in calls:
            index = call.get("index")
            if index is None:
                index = len(self._tools) - (not call.get("id") and bool(self._tools))
            if index == len(self._tools):
                self._tools.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
            if not isinstance(index, int) or not 0 <= index < len(self._tools):
                raise Garbled(f"a tool call has the index {index!r}")
            self._join_tool(self._tools[index], call)

    def _join_tool(self, whole: dict[str, Any], piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise Garbled("the function of a tool call is not in words")
        self._grow(len(name) + len(arguments))
        whole["id"] = piece.get("id") or whole["id"]
        whole["function"]["name"] += name
        whole["function"]["arguments"] += arguments

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise TooLong(self._limit)


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Garbled(f"not JSON: {excerpt(data)}") from error


def _text(content: Any) -> str:
    """The text of a content; of a list of parts, the text parts (Mistral's reasoning models send thinking besides)."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(_text(part.get("text")) for part in content if part.get("type") == "text")
    raise Garbled(f"the content is a {type(content).__name__}")


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    given, written = value.get("prompt_tokens"), value.get("completion_tokens")
    return Usage(given, written) if type(given) is int and type(written) is int else None


def _reported(error: Any) -> Reported:
    """An error object in an answer whose status was 200. Its code is a status with some servers, a word with others."""
    reason = error_words({"error": error}) or excerpt(orjson.dumps(error))
    if not isinstance(error, dict):
        return Reported(500, reason)
    for number in (error.get("code"), error.get("status")):
        if isinstance(number, (int, str)) and str(number).isdigit() and 400 <= int(number) < 600:
            return Reported(int(number), reason)
    words = f"{error.get('type')} {error.get('code')}"
    return Reported(next((status for word, status in STATUS_OF_WORDS.items() if word in words), 500), reason)
