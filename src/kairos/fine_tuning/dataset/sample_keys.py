"""Keys under which samples are compared: same prompt, same answer.

Two prompts are the same if their messages have the same roles and the same texts in Unicode's composed form (NFC),
without differences in case and white space. A sample without a system message is compared with those of any system
message: imported rows have none, corrected answers of tasks have the one that the model received.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kairos.fine_tuning.dataset.split import ApprovedSample

EXCERPT = 120
"""Characters of a prompt or an answer in a review."""
SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class KeyedSample:
    """A sample with the keys of its parts. Equal keys mean the same text."""

    row: ApprovedSample
    system: bytes | None
    """None without a system message."""
    turns: bytes
    """The other messages."""
    answer: bytes

    @property
    def example(self) -> tuple[bytes | None, bytes, bytes]:
        """The key of the whole training example."""
        return self.system, self.turns, self.answer

    @property
    def answered(self) -> bool:
        return bool(self.row.answer.strip())


def keyed(row: ApprovedSample) -> KeyedSample:
    """Return the sample with its keys."""
    system = [_message(one) for one in row.messages if one.get("role") in SYSTEM_ROLES]
    turns = [_message(one) for one in row.messages if one.get("role") not in SYSTEM_ROLES]
    return KeyedSample(row, _digest(system) if system else None, _digest(turns), _digest(_answer(row.answer)))


def normal(text: str) -> str:
    """Return the text in composed form, without differences in case and white space."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def prompt_text(row: ApprovedSample) -> str:
    """Return the user's first message on one line. Later ones of a retry contain the guardian's findings."""
    first = next((message for message in row.messages if message.get("role") == "user"), {})
    return " ".join(text_of(first).split())


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message: its content, with parts other than text as JSON, and its tool calls."""
    calls = message.get("tool_calls")
    content = _content(message.get("content"))
    return f"{content}\n{_json(calls)}" if calls else content


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    return "\n".join(text if isinstance(text, str) else _json(part) for text, part in zip(texts, parts, strict=True))


def _message(message: Mapping[str, Any]) -> tuple[str, str]:
    return str(message.get("role", "")), normal(text_of(message))


def _answer(answer: str) -> tuple[str, str]:
    """Return a form that is equal for the same answers: JSON documents by value, texts without surrounding space."""
    text = unicodedata.normalize("NFC", answer).replace("\r\n", "\n").strip()
    if text[:1] in ("{", "["):
        try:
            return "json", orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # no JSON, or nested too deeply to be written
            pass
    return "text", text


def _digest(value: Sequence[Any]) -> bytes:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return repr(value)
