"""Parses answers of Anthropic's Messages API: typed server-sent events, or one message.

Documented at https://platform.claude.com/docs/en/build-with-claude/streaming. Unknown events, blocks and deltas are
skipped, as its versioning policy asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kairos.llm.answers.answer_faults import InvalidAnswer, ReportedError, reported_error
from kairos.llm.answers.answer_part import AnswerPart
from kairos.llm.answers.usage import Usage, token_count

STATUS_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that each type of error has outside of a stream."""
COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
MAX_BLOCKS = 10_000
SEPARATOR = "\n\n"


class AnthropicAnswerParser:
    """The parser of one answer."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        """The open blocks by index."""
        self._calls = 0
        self._thoughts = 0
        self._counts: dict[str, int] = {}

    def parts(self, value: Mapping[str, Any]) -> Iterator[AnswerPart]:
        kind = value.get("type")
        if kind == "error" or (kind is None and value.get("error")):
            raise _error(value)
        match kind:
            case "message_start":
                yield from self._start(_object(value, "message"))
            case "content_block_start":
                yield from self._open(_index(value), _object(value, "content_block"))
            case "content_block_delta":
                yield from self._append(_index(value), _object(value, "delta"))
            case "content_block_stop":
                yield from self._close(_index(value))
            case "message_delta":
                reason = _object(value, "delta").get("stop_reason")
                yield AnswerPart(finish_reason=reason, usage=self._usage(value.get("usage")))
            case "message_stop":
                yield AnswerPart(done=True)
            case "message":
                yield from self._whole(value)

    def _whole(self, message: Mapping[str, Any]) -> Iterator[AnswerPart]:
        """Parse an answer that was not streamed."""
        yield from self._start(message)
        blocks = message.get("content") or []
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            raise InvalidAnswer("the content is not a list of objects")
        for index, block in enumerate(blocks):
            yield from self._open(index, block)
            yield from self._close(index)
        yield AnswerPart(finish_reason=message.get("stop_reason"))

    def _start(self, message: Mapping[str, Any]) -> Iterator[AnswerPart]:
        model = message.get("model")
        yield AnswerPart(model=model if isinstance(model, str) else None, usage=self._usage(message.get("usage")))

    def _open(self, index: int, content: Mapping[str, Any]) -> Iterator[AnswerPart]:
        if len(self._blocks) >= MAX_BLOCKS:
            raise InvalidAnswer(f"more than {MAX_BLOCKS} blocks are open")
        block = _Block(str(content.get("type")), content)
        self._blocks[index] = block
        if block.kind == "tool_use":
            block.call, self._calls = self._calls, self._calls + 1
            function = {"name": content.get("name"), "arguments": ""}
            yield AnswerPart(tool_calls=[{"index": block.call, "id": content.get("id"), "function": function}])
        elif block.kind == "text":
            yield AnswerPart(text=_text(content, "text"))
        elif block.kind == "thinking":
            before = SEPARATOR if self._thoughts else ""
            self._thoughts += 1
            block.signature = _text(content, "signature")
            yield self._thought(block, _text(content, "thinking"), before)

    def _append(self, index: int, delta: Mapping[str, Any]) -> Iterator[AnswerPart]:
        if index not in self._blocks:  # some gateways leave out the beginning of a text
            if delta.get("type") == "input_json_delta":
                raise InvalidAnswer(f"the input of a tool belongs to no open block (index {index})")
            yield from self._open(index, {"type": "text"})
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta":
                yield AnswerPart(text=_text(delta, "text"))
            case "thinking_delta":
                yield self._thought(block, _text(delta, "thinking"))
            case "signature_delta":
                block.signature += _text(delta, "signature")
            case "input_json_delta" if block.call is not None:
                piece = _text(delta, "partial_json")
                block.written = block.written or bool(piece)
                yield AnswerPart(tool_calls=[{"index": block.call, "function": {"arguments": piece}}])

    def _close(self, index: int) -> Iterator[AnswerPart]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.call is not None and not block.written:
            arguments = block.content.get("input") or {}
            yield AnswerPart(tool_calls=[{"index": block.call, "function": {"arguments": arguments}}])
        elif block.kind == "thinking" and block.signature:
            text = "".join(block.thoughts)
            yield AnswerPart(thinking_blocks=[{"type": "thinking", "thinking": text, "signature": block.signature}])
        elif block.kind == "redacted_thinking":
            yield AnswerPart(thinking_blocks=[{"type": block.kind, "data": _text(block.content, "data")}])

    def _thought(self, block: _Block, text: str, before: str = "") -> AnswerPart:
        block.thoughts.append(text)
        return AnswerPart(reasoning=before + text)

    def _usage(self, value: Any) -> Usage | None:
        """Return the counts so far. Those of `message_delta` are cumulative, and may leave out the input."""
        if isinstance(value, Mapping):
            found = {name: token_count(value.get(name)) for name in COUNTS}
            self._counts |= {name: count for name, count in found.items() if count is not None}
        if "input_tokens" not in self._counts or "output_tokens" not in self._counts:
            return None
        given, written, read, output = (self._counts.get(name, 0) for name in COUNTS)
        return Usage(given + written + read, output, cache_read_tokens=read, cache_write_tokens=written)


class _Block:
    """A block of content whose end has not arrived."""

    def __init__(self, kind: str, content: Mapping[str, Any]) -> None:
        self.kind = kind
        self.content = content
        self.call: int | None = None
        """The number of its tool call."""
        self.written = False
        """Whether arguments have arrived."""
        self.signature = ""
        self.thoughts: list[str] = []


def _error(value: Mapping[str, Any]) -> ReportedError:
    error = value.get("error")
    kind = error.get("type") if isinstance(error, Mapping) else None
    found = reported_error({"error": error or value})
    reason = str(found) if found else "an error without a message"
    status = STATUS_BY_TYPE.get(kind) if isinstance(kind, str) else None
    return ReportedError(status or (found.http_status if found else 500), reason)


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    if not isinstance(found, Mapping):
        raise InvalidAnswer(f"an event of the type {value.get('type')} has no `{name}`")
    return found


def _index(value: Mapping[str, Any]) -> int:
    index = value.get("index")
    if type(index) is not int:
        raise InvalidAnswer(f"an event of the type {value.get('type')} has no index")
    return index


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text or "", str):
        raise InvalidAnswer(f"`{name}` is not a text")
    return text or ""
