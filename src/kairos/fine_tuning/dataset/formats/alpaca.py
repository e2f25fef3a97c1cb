"""Alpaca: `instruction`, optional `input`, `output`; also `system` and `history`, as in LLaMA-Factory."""

from __future__ import annotations

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
    text,
)

SHAPE = "Alpaca: `instruction`, `input`, `output`"
ANSWERS = ("output", "response")
INPUTS = ("input", "context")


def matches(row: Row) -> bool:
    return "instruction" in row


def read(row: Row) -> Imported:
    refuse_tools(row)
    name = next((name for name in ANSWERS if row.get(name) is not None), None)
    if name is None:
        refuse("it is an Alpaca row without `output`")
    system = optional_text(row.get("system"), "`system`")
    conversation = [Turn("system", system)] if system else []
    conversation += _history(row.get("history"))
    conversation += [Turn("user", _question(row)), Turn("assistant", text(row[name], f"`{name}`"))]
    prompt, right = answered(conversation, "the row")
    return built(row, prompt, right)


def _question(row: Row) -> str:
    parts = [text(row["instruction"], "`instruction`")]
    parts += [optional_text(row.get(name), f"`{name}`") or "" for name in INPUTS]
    return "\n\n".join(part for part in parts if part.strip()) or refuse("`instruction` is empty")


def _history(value: Any) -> list[Turn]:
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        refuse("`history` is not a list of pairs of question and answer")
    roles = ("user", "assistant")
    return [Turn(role, text(content, "`history`")) for pair in value for role, content in zip(roles, pair, strict=True)]
