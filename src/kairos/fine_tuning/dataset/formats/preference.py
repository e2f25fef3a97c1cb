"""Preference pairs (DPO): OpenAI's `input`, `preferred_output`, `non_preferred_output`, and TRL's `prompt`, `chosen`,
`rejected` as text or messages, also without `prompt` if both start with it."""

from __future__ import annotations

from kairos.fine_tuning.dataset.formats.completion import joined, prompt_of
from kairos.fine_tuning.dataset.formats.row import Imported, Row, Turn, built, refuse, refuse_tools, turns
from kairos.fine_tuning.dataset.formats.sharegpt import as_messages

SHAPE = "preference pairs: `input`, `preferred_output`, `non_preferred_output`, or `prompt`, `chosen`, `rejected`"
OPENAI = ("preferred_output", "non_preferred_output")
TRL = ("chosen", "rejected")


def matches(row: Row) -> bool:
    return "chosen" in row or "preferred_output" in row or "non_preferred_output" in row


def read(row: Row) -> Imported:
    refuse_tools(row)
    good, bad = OPENAI if "chosen" not in row else TRL
    for name in (good, bad):
        if row.get(name) is None:
            refuse(f"it is a preference pair without `{name}`")
    row = {**row, **as_messages(row, (good, bad, "conversations"))}
    prompt = _prompt(row, openai=good in OPENAI)
    chosen_prompt, right = joined(prompt, row[good], good)
    rejected_prompt, faulty = joined(prompt, row[bad], bad)
    if chosen_prompt != rejected_prompt:
        refuse(f"`{good}` and `{bad}` answer different prompts")
    if right == faulty:
        refuse(f"`{good}` and `{bad}` are the same, so neither is preferred")
    return built(row, chosen_prompt, right, faulty)


def _prompt(row: Row, *, openai: bool) -> list[Turn]:
    if openai:
        given = row.get("input")
        if not isinstance(given, dict):
            refuse("it is a preference pair without `input`, an object with `messages`")
        refuse_tools(given)
        return turns(given.get("messages"), "input.messages")
    for name in ("prompt", "conversations", "question"):
        if row.get(name) is not None:
            return prompt_of(row[name], name)
    if not isinstance(row["chosen"], list):
        refuse("it is a preference pair without `prompt`")
    return []
