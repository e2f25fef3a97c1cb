"""The dataset of a project: what a row is, how it may move, and how it is written as chat-format JSON lines.

open ──► corrected ──► approved      what is trained on
  └─────────┴──► rejected, held_out  kept, and not trained on
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kairos.db.base import SampleState
from kairos.errors import InvalidInput, KairosError
from kairos.secret_shapes import shapes_in

ROLES = ("system", "user", "assistant")
LONGEST_LINE = 1_000_000


class NothingToApprove(KairosError):
    """The row has no right answer yet. Correct it first: write what the answer should have been."""

    status, code, exit_code = 409, "nothing_to_approve", 5


class HoldsSecrets(KairosError):
    """The row seems to hold {kinds}. Take it out, or clear the row after a look at it; until then it is not used."""

    status, code, exit_code = 409, "holds_secrets", 5


class RowChanged(KairosError):
    """The row was changed by somebody else meanwhile: it is at version {found}, yours was {given}. Load it again."""

    status, code, exit_code = 409, "row_changed", 5


@dataclass(frozen=True, slots=True)
class Imported:
    """One line of an import."""

    messages: list[dict[str, str]]
    """The prompt."""
    answer: str
    faulty: str | None
    task_type: str | None


def fingerprint(messages: Sequence[Mapping[str, Any]], faulty_output: str | None) -> bytes:
    """SHA-256 of what makes two rows the same fault: the prompt as the model saw it, and what it answered."""
    return hashlib.sha256(orjson.dumps([list(messages), faulty_output], option=orjson.OPT_SORT_KEYS)).digest()


def secrets_of(
    messages: Sequence[Mapping[str, Any]], faulty_output: str | None, corrected_output: str | None
) -> list[dict[str, str]]:
    """What looks like a secret: its kind and where it stands, never its text."""
    places = [(f"prompt {number}", str(m.get("content", ""))) for number, m in enumerate(messages, 1)]
    places += [("faulty output", faulty_output or ""), ("corrected output", corrected_output or "")]
    found = {(kind, place) for place, text in places for kind, *_ in shapes_in(text)}
    return [{"kind": kind, "where": place} for kind, place in sorted(found)]


def check_move(state: SampleState, *, corrected_output: str | None, secrets: Sequence[Any], cleared: bool) -> None:
    """Whether a row may take that state. Raises `NothingToApprove`, `HoldsSecrets`."""
    if state not in (SampleState.CORRECTED, SampleState.APPROVED, SampleState.HELD_OUT):
        return
    if not corrected_output:
        raise NothingToApprove
    if state is not SampleState.CORRECTED and secrets and not cleared:
        raise HoldsSecrets(kinds=", ".join(sorted({secret["kind"] for secret in secrets})))


def line_of(messages: Sequence[Mapping[str, Any]], answer: str, faulty: str | None, task_type: str | None) -> bytes:
    """One row in the chat format, with its line end; `line_in` reads it back."""
    row: dict[str, Any] = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    if faulty is not None:
        row["rejected"] = faulty
    if task_type is not None:
        row["task_type"] = task_type
    return orjson.dumps(row) + b"\n"


def lines_in(body: bytes) -> Iterator[Imported]:
    """The rows of a whole import. Raises `InvalidInput` that names the first bad line; nothing of it was kept then."""
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            yield line_in(line, number)


def line_in(line: bytes, number: int) -> Imported:
    """One row. Raises `InvalidInput`."""
    where = f"line {number}"
    if len(line) > LONGEST_LINE:
        raise InvalidInput(where=where, problem=f"longer than {LONGEST_LINE} bytes", remedy="Split the row")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(where=where, problem=f"it is not JSON ({error})", remedy="One JSON object a line") from error
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or len(messages) < 2 or not all(map(_is_message, messages)):
        raise InvalidInput(
            where=where,
            problem="`messages` is no list of messages with `role` and `content`",
            remedy="At least a user's message and the assistant's answer",
        )
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise InvalidInput(where=where, problem="the last message is no answer", remedy="End with the assistant's")
    for name in ("rejected", "task_type"):
        if not _is_text_or_nothing(row.get(name)):
            raise InvalidInput(where=where, problem=f"`{name}` is no text", remedy="Write a text, or leave it out")
    prompt = [{"role": m["role"], "content": m["content"]} for m in messages[:-1]]
    return Imported(prompt, messages[-1]["content"], row.get("rejected"), row.get("task_type"))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("role") in ROLES and _is_text(value.get("content"))


def _is_text(value: Any) -> bool:
    """PostgreSQL keeps every character but NUL."""
    return isinstance(value, str) and "\x00" not in value


def _is_text_or_nothing(value: Any) -> bool:
    return value is None or _is_text(value)
