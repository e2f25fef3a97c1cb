"""Builds a chat model's answer from the objects that its server sends."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kairos.http import excerpt
from kairos.llm.answers import loose_json
from kairos.llm.answers.answer_faults import (
    AnswerFault,
    AnswerTooLong,
    BadFinishReason,
    InvalidAnswer,
    ProviderFault,
    ReportedError,
    StreamCut,
    possible_error,
    reported_error,
)
from kairos.llm.answers.answer_part import AnswerParser, AnswerPart
from kairos.llm.answers.finish_reason import Ending, ending_of, finish_reason_of
from kairos.llm.answers.reasoning import ReasoningSplit
from kairos.llm.answers.text_pieces import TextPieces
from kairos.llm.answers.tool_calls import ToolCalls
from kairos.llm.answers.usage import Usage, openai_usage
from kairos.storable_text import storable

__all__ = [
    "AnswerBuilder",
    "AnswerFault",
    "AnswerTooLong",
    "BadFinishReason",
    "Completion",
    "InvalidAnswer",
    "ProviderFault",
    "ReportedError",
    "StreamCut",
    "Usage",
]

NO_REASON = "the stream ended without a finish reason"
REPEATED = "the stream ended without [DONE], and text followed an earlier finish reason"
UNFRAMED = "the connection closed without [DONE], and the finish reason came together with text"
ANSWER_ENDINGS = frozenset({Ending.COMPLETE, Ending.TRUNCATED})


@dataclass(frozen=True, slots=True)
class Completion:
    """A complete answer."""

    text: str
    finish_reason: str | None
    """Normalised to OpenAI's values: `stop`, `tool_calls`, or `length` for a truncated answer."""
    usage: Usage | None
    """None if the server did not report token counts."""
    first_token_s: float | None
    """Seconds to the first token of any kind, without the time for loading the model. Reasoning counts, because servers
    count it too. None if the answer was not streamed."""
    duration_s: float
    """Seconds for the whole answer, without the time for loading the model."""
    model: str | None
    """The model name reported by the server."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    """The model's reasoning; not part of `text`."""
    thinking_blocks: tuple[Mapping[str, Any], ...] = ()
    """The reasoning with the server's signatures, for the next request of a conversation with tools."""
    load_s: float = 0.0
    """Seconds for which the server loaded the model, as it reports them."""

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut the answer off."""
        return self.finish_reason == "length"


class AnswerBuilder:
    """Builds an answer incrementally."""

    def __init__(self, limit: int, parser: AnswerParser | None = None) -> None:
        """`limit` is in bytes. Without a `parser`, the server's objects are in the OpenAI form."""
        self._parser = parser
        self.done = False
        """Whether the server sent [DONE], or the answer was not streamed."""
        self.finish_reason: str | None = None
        """As sent by the server; None until it is sent."""
        self.usage: Usage | None = None
        self.first_token_s: float | None = None
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._last = self._began
        """Time of the last event."""
        self._limit = limit
        self._size = 0
        self._split = ReasoningSplit()
        self._retractions = 0
        self._model: str | None = None
        self._objects = 0
        self._possible_error: ReportedError | None = None
        self._thinking_blocks: list[Mapping[str, Any]] = []
        self._load_s = 0.0
        self._begin(None)

    def feed(self, events: list[bytes]) -> str:
        """Add events of a stream. Returns the new answer text."""
        added = ""
        if events:
            self._last = time.perf_counter()
        for event in events:
            if self.done or _is_done(event):
                self.done = True
                break
            for value in _objects(event):
                before = self._split.retractions
                text = self._feed_object(value, "delta")
                added = added + text if self._split.retractions == before else text
        return added

    def feed_whole(self, body: bytes) -> str:
        """Add an answer that was not streamed. Returns its text."""
        value = loose_json.loads(body)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]  # Gemini's errors
        if not isinstance(value, dict):
            raise InvalidAnswer(f"expected a JSON object, got a {type(value).__name__}: {excerpt(body)}")
        self._feed_object(value, "message")
        if self._index is None:
            missing = "answer" if self._parser else "choices"
            raise self._possible_error or InvalidAnswer(f"it contains no {missing}: {excerpt(body)}")
        self.done, self.first_token_s = True, None
        self._finish()
        self._check_reason()
        return self._split.answer()

    def retracted(self) -> bool:
        """Whether text returned earlier has turned out to be reasoning since the last call."""
        seen, self._retractions = self._retractions, self._split.retractions
        return self._retractions > seen

    def finish(self, beginning: bytes, *, framed: bool) -> str:
        """Finish the stream. Returns the remaining answer text; raises if the stream did not end properly.

        `framed`: the connection itself marks the end of the body (RFC 9112, 6.3), so a crashed server cannot have sent
        it.
        """
        if not self._objects:
            raise InvalidAnswer(f"neither JSON nor a stream of events: {excerpt(beginning)}")
        if self._index is None:
            raise self._possible_error or InvalidAnswer(f"the stream has no {'answer' if self._parser else 'choices'}")
        rest = self._finish()
        self._check_reason()
        if not self.done:
            self._check_end(framed)
        return rest

    def ends_well(self) -> bool:
        """Whether the answer is known to be complete although the stream is still open: a normal finish reason came
        after all text.

        False for servers that repeat their finish reason in each chunk, and before any text.
        """
        good = self.finish_reason is not None and ending_of(self.finish_reason)[0] in ANSWER_ENDINGS
        return good and self._alone and not self._reopened

    def reported_fault(self) -> AnswerFault | None:
        """Return the error that the server reported before its connection failed; None if it reported none."""
        if self.finish_reason is not None and (ending := ending_of(self.finish_reason)[0]) not in ANSWER_ENDINGS:
            return BadFinishReason(ending, self.finish_reason)
        return self._possible_error

    def end(self) -> None:
        self._ended = time.perf_counter()

    def end_at_last_event(self) -> str:
        """Finish a stream that fell silent after a normal end, timed at its last event. Returns the remaining text."""
        self._ended = self._last
        return self._finish()

    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._began

    def text(self) -> str:
        return self._split.answer()

    def completion(self) -> Completion:
        self._finish()
        first_s, whole_s = self.first_token_s, self.seconds()
        load_s = min(self._load_s, whole_s if first_s is None else first_s)
        return Completion(
            text=self.text(),
            finish_reason=ending_of(self.finish_reason)[1] if self.finish_reason else None,
            usage=self.usage,
            first_token_s=None if first_s is None else first_s - load_s,
            duration_s=whole_s - load_s,
            model=self._model,
            tool_calls=self._tools.complete(),
            reasoning="\n\n".join(filter(None, ("".join(self._reasoning).strip(), self._split.reasoning()))),
            thinking_blocks=tuple(self._thinking_blocks),
            load_s=load_s,
        )

    def _check_reason(self) -> None:
        if self.finish_reason is None:
            raise self._possible_error or StreamCut(NO_REASON)
        ending, _ = ending_of(self.finish_reason)
        if ending not in ANSWER_ENDINGS:
            raise BadFinishReason(ending, self.finish_reason)

    def _check_end(self, framed: bool) -> None:
        """Check whether a normal finish reason without [DONE] is the end."""
        if self._reopened:
            raise self._possible_error or StreamCut(REPEATED)
        if not framed and not self._alone:
            raise self._possible_error or StreamCut(UNFRAMED)

    def _finish(self) -> str:
        """Flush the buffers. Returns the remaining text."""
        self._reasoning.append(self._thoughts.finish())
        return self._split.feed(self._text.finish()) + self._split.finish()

    def _feed_object(self, value: dict[str, Any], part: str) -> str:
        self._objects += 1
        if self._parser:
            return "".join(map(self._add, self._parser.parts(value)))
        if error := reported_error(value):
            raise error
        self._possible_error = possible_error(value) or self._possible_error
        if (model := value.get("model")) and isinstance(model, str):
            self._model = storable(model)
        self.usage = openai_usage(value.get("usage"), self.usage)
        choice = self._choice(value.get("choices"))
        return self._feed_choice(choice, part) if choice is not None else ""

    def _choice(self, choices: Any) -> dict[str, Any] | None:
        """Return the choice with the lowest index. Kairos requests only one."""
        if not isinstance(choices or [], list):
            raise InvalidAnswer("`choices` is not a list")
        present = [choice for choice in choices or [] if choice is not None]
        if not all(isinstance(choice, dict) for choice in present):
            raise InvalidAnswer("a choice is not an object")
        if not present:
            return None
        first = min(map(_index, present))
        if self._index is None or first < self._index:
            self._begin(first)
        return next((choice for choice in present if _index(choice) == self._index), None)

    def _begin(self, index: int | None) -> None:
        """Start reading the choice of this index and drop what later ones sent."""
        self._index = index
        self._text, self._thoughts = TextPieces(), TextPieces()
        self._split = self._split.restarted()
        self._reasoning: list[str] = []
        self._tools = ToolCalls(self._grow)
        self.finish_reason = None
        self._alone = False
        """Whether the finish reason came after all text, in a chunk of its own."""
        self._reopened = False
        """Whether content followed a finish reason. If so, this server's finish reasons do not mark the end."""

    def _feed_choice(self, choice: dict[str, Any], part: str) -> str:
        message = self._message(choice, part)
        content, thoughts = _content(message.get("content"))
        for key in ("reasoning_content", "reasoning"):
            if (more := message.get(key)) and not thoughts:
                thoughts = _content(more)[0] or _content(more)[1]
        calls, function = message.get("tool_calls"), message.get("function_call")
        new = bool(content or thoughts or calls or function)
        if new:
            self._reopen()
        added = self._add_texts(content, thoughts)
        if calls:
            self._tools.feed(calls)
        if function:
            self._tools.feed_function(function)
        if (reason := finish_reason_of(choice.get("finish_reason"))) is not None:
            self._close(reason, alone=not new)
        return added

    def _add(self, part: AnswerPart) -> str:
        """Add a part. Returns the new answer text."""
        self._index = 0
        new = bool(part.text or part.reasoning or part.tool_calls)
        if new:
            self._reopen()
        added = self._add_texts(part.text, part.reasoning)
        self._tools.feed(list(part.tool_calls))
        self._add_facts(part)
        if (reason := finish_reason_of(part.finish_reason)) is not None:
            self._close(reason, alone=not new)
        self.done = self.done or part.done
        return added

    def _add_texts(self, text: str, reasoning: str) -> str:
        self._grow(len(text) + len(reasoning))
        self._reasoning.append(self._thoughts.feed(reasoning))
        return self._split.feed(self._text.feed(text))

    def _add_facts(self, part: AnswerPart) -> None:
        self.usage = part.usage or self.usage
        self._model = storable(part.model) if part.model else self._model
        self._load_s = max(self._load_s, part.load_s)
        for block in part.thinking_blocks:
            self._grow(sum(len(value) for value in block.values() if isinstance(value, str)))
            self._thinking_blocks.append(block)

    def _message(self, choice: dict[str, Any], part: str) -> dict[str, Any]:
        """Return the message of a choice. A stream's last event may repeat the whole message next to an empty delta."""
        message = choice.get(part)
        if message is None and self.first_token_s is None:
            message = choice.get("delta") or choice.get("message")
        if message is None and isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}
        if not isinstance(message or {}, dict):
            raise InvalidAnswer("a message is not an object")
        return message or {}

    def _reopen(self) -> None:
        if self.first_token_s is None:
            self.first_token_s = time.perf_counter() - self._began
        if self.finish_reason is not None:
            self._reopened, self.finish_reason = True, None

    def _close(self, reason: str, *, alone: bool) -> None:
        """Set the finish reason. Repetitions, such as Azure's filter results, change nothing."""
        if self.finish_reason is None:
            self._alone = alone and self.first_token_s is not None
        self.finish_reason = reason

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise AnswerTooLong(self._limit)


def _is_done(event: bytes) -> bool:
    return len(event) < 40 and _data_of(event).strip(b' \t\r\n"').upper() == b"[DONE]"


def _data_of(event: bytes) -> bytes:
    """Return the data of an event. Some proxies wrap events in another event."""
    text = event.strip()
    while text.startswith(b"data:"):
        text = text[5:].lstrip()
    return text


def _objects(event: bytes) -> Iterator[dict[str, Any]]:
    """Iterate over the objects of an event. Other data, such as keep-alives, is skipped.

    Raises `InvalidAnswer` for an object that cannot be parsed, because part of the answer may have been in it.
    """
    text = _data_of(event)
    if not text.startswith((b"{", b"[{")):
        return iter(())
    value = loose_json.loads(text)
    return iter([value] if isinstance(value, dict) else [item for item in value if isinstance(item, dict)])


def _index(choice: dict[str, Any]) -> int:
    """Return the index of a choice; 0 if the server sends none."""
    value = choice.get("index")
    if isinstance(value, str) and value.isdecimal() and len(value) < 9:
        return int(value)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _content(content: Any) -> tuple[str, str]:
    """Return text and reasoning of a content, which may be a list of parts (Mistral sends reasoning in this form)."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise InvalidAnswer(f"the content is a {type(content).__name__}")
    texts, thoughts = "", ""
    for part in content:
        text, thought = _part(part)
        texts, thoughts = texts + text, thoughts + thought
    return texts, thoughts


def _part(part: Any) -> tuple[str, str]:
    if part is None or isinstance(part, str):
        return part or "", ""
    if not isinstance(part, dict):
        raise InvalidAnswer(f"a part of the content is a {type(part).__name__}")
    kind = str(part.get("type") or "text")
    if kind in ("text", "output_text"):
        return _content(part.get("text"))[0], ""
    if kind in ("thinking", "reasoning"):
        return "", _content(part.get(kind) or part.get("text"))[0]
    return "", ""
