"""An answer of a chat model, put together from what its server sends."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kairos.http import excerpt
from kairos.llm.answers import loose_json
from kairos.llm.answers.answer_faults import Broken, Ended, Fault, Garbled, Reported, TooLong, reported, suspected
from kairos.llm.answers.finish_reason import Ending, ending_of, finish_word
from kairos.llm.answers.reasoning import ReasoningSplit
from kairos.llm.answers.text_pieces import TextPieces
from kairos.llm.answers.tool_calls import ToolCalls
from kairos.storable_text import storable

__all__ = ["Answer", "Broken", "Completion", "Ended", "Fault", "Garbled", "Reported", "TooLong", "Usage"]

MOST_TOKENS = 2**31 - 1
"""No answer has more, and PostgreSQL's integer holds no more: a larger count is an error of the server."""
NO_REASON = "the stream ended without a finish reason"
REPEATED = "the stream ended without [DONE], and its finish reasons say nothing: text followed one of them"
UNFRAMED = "the connection closed without [DONE], and the finish reason came with text, as of an answer that goes on"
ANSWER_ENDINGS = frozenset({Ending.COMPLETE, Ending.TRUNCATED})


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
    """In OpenAI's words, whatever the server's are: `stop`, `tool_calls`, or `length` for a truncated answer."""
    usage: Usage | None
    """None where the server did not count."""
    first_token_s: float | None
    """Until the first token of any kind, reasoning included, since the server counts those too. None when the answer
    came in one piece."""
    duration_s: float
    model: str | None
    """What the server says answered."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    """What the model wrote before its answer; no part of `text`."""

    @property
    def truncated(self) -> bool:
        """Whether the limit of tokens cut it off."""
        return self.finish_reason == "length"


class Answer:
    """An answer as it grows."""

    def __init__(self, limit: int) -> None:
        self.done = False
        """Whether the server said [DONE], or the answer came in one piece."""
        self.finish_reason: str | None = None
        """As the server gave it; None while the answer goes on."""
        self.usage: Usage | None = None
        self.first_token_s: float | None = None
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._last = self._began
        """When the last event came."""
        self._limit = limit
        self._size = 0
        self._split = ReasoningSplit()
        self._retractions = 0
        self._model: str | None = None
        self._objects = 0
        self._suspect: Reported | None = None
        self._begin(None)

    def take(self, events: list[bytes]) -> str:
        """Add the events of a stream; the text of the answer that is new."""
        added = ""
        if events:
            self._last = time.perf_counter()
        for event in events:
            if _is_done(event):
                self.done = True
                break
            for value in _objects(event):
                before = self._split.retractions
                text = self._take_object(value, "delta")
                added = added + text if self._split.retractions == before else text
        return added

    def take_whole(self, body: bytes) -> str:
        """Add an answer that came in one piece; its text."""
        value = loose_json.loads(body)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]  # Gemini's errors
        if not isinstance(value, dict):
            raise Garbled(f"a {type(value).__name__} where an object belongs: {excerpt(body)}")
        self._take_object(value, "message")
        if self._index is None:
            raise self._suspect or Garbled(f"it has no choices: {excerpt(body)}")
        self.done, self.first_token_s = True, None
        self._finish()
        self._check_reason()
        return self._split.answer()

    def retracted(self) -> bool:
        """Whether text that was given out has turned out to be reasoning since the last call."""
        seen, self._retractions = self._retractions, self._split.retractions
        return self._retractions > seen

    def finish(self, beginning: bytes, *, framed: bool) -> str:
        """The stream ended: the last text of the answer. Raises if its good end was not seen.

        `framed` says that the connection itself marks ends (RFC 9112, 6.3): a server that died could not have sent it.
        """
        if not self._objects:
            raise Garbled(f"neither JSON nor a stream of events: {excerpt(beginning)}")
        if self._index is None:
            raise self._suspect or Garbled("the stream has no choices")
        rest = self._finish()
        self._check_reason()
        if not self.done:
            self._check_end(framed)
        return rest

    def ended_well(self) -> bool:
        """Whether the answer is known to be whole although the stream goes on: a good reason came, alone, at its end.

        Servers that repeat their reason in each piece are no such case, and neither is one that sent nothing yet.
        """
        good = self.finish_reason is not None and ending_of(self.finish_reason)[0] in ANSWER_ENDINGS
        return good and self._alone and not self._reopened

    def bad_end(self) -> Fault | None:
        """What the server itself says is wrong with an answer whose connection failed; None where it says nothing."""
        if self.finish_reason is not None and (ending := ending_of(self.finish_reason)[0]) not in ANSWER_ENDINGS:
            return Ended(ending, self.finish_reason)
        return self._suspect

    def end(self) -> None:
        self._ended = time.perf_counter()

    def end_with_last(self) -> str:
        """End a stream that went silent after a good end, at its last event; the last text of the answer."""
        self._ended = self._last
        return self._finish()

    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._began

    def text(self) -> str:
        return self._split.answer()

    def completion(self) -> Completion:
        self._finish()
        return Completion(
            text=self.text(),
            finish_reason=ending_of(self.finish_reason)[1] if self.finish_reason else None,
            usage=self.usage,
            first_token_s=self.first_token_s,
            duration_s=self.seconds(),
            model=self._model,
            tool_calls=self._tools.complete(),
            reasoning="\n\n".join(filter(None, ("".join(self._reasoning).strip(), self._split.reasoning()))),
        )

    def _check_reason(self) -> None:
        if self.finish_reason is None:
            raise self._suspect or Broken(NO_REASON)
        ending, _ = ending_of(self.finish_reason)
        if ending not in ANSWER_ENDINGS:
            raise Ended(ending, self.finish_reason)

    def _check_end(self, framed: bool) -> None:
        """Whether a good reason without [DONE] is the end."""
        if self._reopened:
            raise self._suspect or Broken(REPEATED)
        if not framed and not self._alone:
            raise self._suspect or Broken(UNFRAMED)

    def _finish(self) -> str:
        """Give out what was held back for pieces that do not come any more."""
        self._reasoning.append(self._thoughts.finish())
        return self._split.feed(self._text.finish()) + self._split.finish()

    def _take_object(self, value: dict[str, Any], part: str) -> str:
        self._objects += 1
        if error := reported(value):
            raise error
        self._suspect = suspected(value) or self._suspect
        if (model := value.get("model")) and isinstance(model, str):
            self._model = storable(model)
        self.usage = _usage(value.get("usage"), self.usage)
        choice = self._choice(value.get("choices"))
        return self._take_choice(choice, part) if choice is not None else ""

    def _choice(self, choices: Any) -> dict[str, Any] | None:
        """The choice that is read, of several the first: what Kairos asks for is one."""
        if not isinstance(choices or [], list):
            raise Garbled("`choices` is no list")
        present = [choice for choice in choices or [] if choice is not None]
        if not all(isinstance(choice, dict) for choice in present):
            raise Garbled("a choice is no object")
        if not present:
            return None
        first = min(map(_index, present))
        if self._index is None or first < self._index:
            self._begin(first)
        return next((choice for choice in present if _index(choice) == self._index), None)

    def _begin(self, index: int | None) -> None:
        """Read the choice of this index; whatever came of a later one is dropped."""
        self._index = index
        self._text, self._thoughts = TextPieces(), TextPieces()
        self._split = self._split.anew()
        self._reasoning: list[str] = []
        self._tools = ToolCalls(self._grow)
        self.finish_reason = None
        self._alone = False
        """Whether the finish reason came after all of the text, without any of its own."""
        self._reopened = False
        """Whether anything followed a finish reason: then this server's reasons end nothing."""

    def _take_choice(self, choice: dict[str, Any], part: str) -> str:
        message = self._message(choice, part)
        content, thoughts = _content(message.get("content"))
        for key in ("reasoning_content", "reasoning"):
            if (more := message.get(key)) and not thoughts:
                thoughts = _content(more)[0] or _content(more)[1]
        calls, function = message.get("tool_calls"), message.get("function_call")
        new = bool(content or thoughts or calls or function)
        if new:
            self._reopen()
        self._grow(len(content) + len(thoughts))
        self._reasoning.append(self._thoughts.feed(thoughts))
        if calls:
            self._tools.take(calls)
        if function:
            self._tools.take_function(function)
        if (word := finish_word(choice.get("finish_reason"))) is not None:
            self._close(word, alone=not new)
        return self._split.feed(self._text.feed(content))

    def _message(self, choice: dict[str, Any], part: str) -> dict[str, Any]:
        """What a choice says. A stream's last event may repeat the whole message beside its (empty) delta."""
        said = choice.get(part)
        if said is None and self.first_token_s is None:
            said = choice.get("delta") or choice.get("message")
        if said is None and isinstance(choice.get("text"), str):
            said = {"content": choice["text"]}
        if not isinstance(said or {}, dict):
            raise Garbled("a message is no object")
        return said or {}

    def _reopen(self) -> None:
        if self.first_token_s is None:
            self.first_token_s = time.perf_counter() - self._began
        if self.finish_reason is not None:
            self._reopened, self.finish_reason = True, None

    def _close(self, word: str, *, alone: bool) -> None:
        """Take a finish reason. One that is repeated after the first, as Azure's filter results do, changes nothing."""
        if self.finish_reason is None:
            self._alone = alone and self.first_token_s is not None
        self.finish_reason = word

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise TooLong(self._limit)


def _is_done(event: bytes) -> bool:
    return len(event) < 40 and _data_of(event).strip(b' \t\r\n"').upper() == b"[DONE]"


def _data_of(event: bytes) -> bytes:
    """The data of an event; some proxies wrap an event into another one."""
    text = event.strip()
    while text.startswith(b"data:"):
        text = text[5:].lstrip()
    return text


def _objects(event: bytes) -> Iterator[dict[str, Any]]:
    """The objects of an event: one, or those of a list. Whatever else keeps a connection alive is no part of an answer.

    Raises `Garbled` for an object that cannot be read: a part of the answer may have been in it.
    """
    text = _data_of(event)
    if not text.startswith((b"{", b"[{")):
        return iter(())
    value = loose_json.loads(text)
    return iter([value] if isinstance(value, dict) else [item for item in value if isinstance(item, dict)])


def _index(choice: dict[str, Any]) -> int:
    """The number of a choice; 0 where the server gives none."""
    value = choice.get("index")
    if isinstance(value, str) and value.isdecimal() and len(value) < 9:
        return int(value)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _content(content: Any) -> tuple[str, str]:
    """Text and reasoning of a content, which may be a list of parts (Mistral sends its thinking so)."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Garbled(f"the content is a {type(content).__name__}")
    texts, thoughts = "", ""
    for part in content:
        text, thought = _part(part)
        texts, thoughts = texts + text, thoughts + thought
    return texts, thoughts


def _part(part: Any) -> tuple[str, str]:
    if part is None or isinstance(part, str):
        return part or "", ""
    if not isinstance(part, dict):
        raise Garbled(f"a part of the content is a {type(part).__name__}")
    kind = str(part.get("type") or "text")
    if kind in ("text", "output_text"):
        return _content(part.get("text"))[0], ""
    if kind in ("thinking", "reasoning"):
        return "", _content(part.get(kind) or part.get("text"))[0]
    return "", ""


def _usage(value: Any, known: Usage | None) -> Usage | None:
    """The tokens that were counted. A later count replaces an earlier one, unless it counts nothing."""
    if not isinstance(value, dict):
        return known
    given, written = _tokens(value.get("prompt_tokens")), _tokens(value.get("completion_tokens"))
    if given is None or written is None or (known and not given and not written):
        return known
    return Usage(given, written)


def _tokens(value: Any) -> int | None:
    """A count of tokens, as a number or as its digits; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= MOST_TOKENS and value == int(value) else None
