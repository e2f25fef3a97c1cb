"""Prompt and completion, as text or messages (TRL), also as `prompt` and `response`."""

from __future__ import annotations

from typing import Any

from kairos.fine_tuning.dataset.formats.row import (
    Imported,
    Message,
    Row,
    Turn,
    answered,
    built,
    refuse,
    refuse_tools,
    text,
    turns,
)

SHAPE = "prompt and completion: `prompt`, `completion`"
ANSWERS = ("completion", "response")


def matches(row: Row) -> bool:
    return "prompt" in row or "completion" in row


def read(row: Row) -> Imported:
    refuse_tools(row)
    name = next((name for name in ANSWERS if row.get(name) is not None), None)
    if row.get("prompt") is None:
        refuse("it has a `completion` and no `prompt`")
    if name is None:
        refuse("it has a `prompt` and neither `completion` nor `chosen` and `rejected`")
    prompt, right = joined(prompt_of(row["prompt"], "prompt"), row[name], name)
    return built(row, prompt, right)


def prompt_of(value: Any, where: str) -> list[Turn]:
    """Return the prompt's messages. Text becomes a user message."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
        return turns(value, where)
    return [Turn("user", text(value, f"`{where}`"))]


def joined(prompt: list[Turn], value: Any, where: str) -> tuple[list[Message], str]:
    """Return prompt and answer. The value is text, a message, or messages that may repeat the prompt."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
        given = turns(value, where)
        before = given[:-1]
        prompt_messages = [one.message for one in prompt]
        repeated = [one.message for one in before[-len(prompt) :]] == prompt_messages or [
            one.message for one in before[: len(prompt)]
        ] == prompt_messages
        return answered(given if prompt and before and repeated else [*prompt, *given], where)
    return answered([*prompt, Turn("assistant", text(value, f"`{where}`"))], where)
