"""ShareGPT: `conversations` of turns with `from` and `value`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kairos.fine_tuning.dataset.formats.row import (
    Imported,
    Row,
    Turn,
    answered,
    built,
    optional_text,
    refuse,
    refuse_tools,
    turns,
)

SHAPE = "ShareGPT: `conversations` with `from` and `value`"
NAMES = ("conversations", "conversation")
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_call": "tool",
    "function_response": "tool",
}


def matches(row: Row) -> bool:
    return any(name in row for name in NAMES)


def read(row: Row) -> Imported:
    refuse_tools(row)
    name = next(name for name in NAMES if name in row)
    conversation = turns(as_messages(row, (name,)).get(name, row[name]), name)
    system = optional_text(row.get("system"), "`system`")
    if system:
        conversation = [Turn("system", system), *conversation]
    prompt, right = answered(conversation, name)
    return built(row, prompt, right)


def as_messages(row: Row, names: Iterable[str]) -> dict[str, Any]:
    """Convert the values that are turns with `from` and `value` to messages with `role` and `content`."""
    return {name: _converted(row[name], name) for name in names if _has_speakers(row.get(name))}


def _has_speakers(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and "from" in first


def _converted(value: Any, where: str) -> list[dict[str, Any]]:
    return [
        _message(turn, f"{where}[{number}]")
        for number, turn in enumerate(value if isinstance(value, list) else [value])
    ]


def _message(turn: Any, where: str) -> dict[str, Any]:
    if not isinstance(turn, dict) or "from" not in turn or "value" not in turn:
        refuse(f"{where} is not a turn with `from` and `value`")
    speaker = turn["from"]
    if not isinstance(speaker, str) or speaker.lower() not in SPEAKERS:
        refuse(f"{where} is from {ascii(speaker)[:40]}; known speakers: {', '.join(SPEAKERS)}")
    return {"role": SPEAKERS[speaker.lower()], "content": turn["value"], "weight": turn.get("weight")}
