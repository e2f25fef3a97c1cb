"""OpenAI's chat format and Kairos' export: `messages` ending with the answer, and optionally `rejected`."""

from __future__ import annotations

from kairos.fine_tuning.dataset.formats.row import (
    Imported,
    Row,
    Turn,
    answered,
    built,
    optional_text,
    refuse_tools,
    text,
    turns,
)

SHAPE = "OpenAI chat: `messages`"


def matches(row: Row) -> bool:
    return "messages" in row


def read(row: Row) -> Imported:
    refuse_tools(row)
    conversation = turns(row["messages"], "messages")
    if row.get("system") is not None:  # as in Anthropic's format
        conversation = [Turn("system", text(row["system"], "`system`")), *conversation]
    prompt, right = answered(conversation, "messages")
    return built(row, prompt, right, optional_text(row.get("rejected"), "`rejected`"))
