"""The dataset of a project: what a row is, how it may move, and how it is written as chat-format JSON lines.

open ──► corrected ──► approved      what is trained on
  └─────────┴──► rejected, held_out  kept, and not trained on
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kairos.db.base import SampleState
from kairos.errors import KairosError
from kairos.secret_shapes import shapes_in


class NothingToApprove(KairosError):
    """The row has no right answer yet. Correct it first: write what the answer should have been."""

    status, code, exit_code = 409, "nothing_to_approve", 5


class HoldsSecrets(KairosError):
    """The row seems to hold {kinds}. Take it out, or clear the row after a look at it; until then it is not used."""

    status, code, exit_code = 409, "holds_secrets", 5


class RowChanged(KairosError):
    """The row was changed by somebody else meanwhile: it is at version {found}, yours was {given}. Load it again."""

    status, code, exit_code = 409, "row_changed", 5


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


def line_of(
    messages: Sequence[Mapping[str, Any]],
    answer: str,
    faulty: str | None,
    task_type: str | None,
    origin: Mapping[str, Any] | None = None,
) -> bytes:
    """One row in the chat format, with its line end; `formats` reads it back. `origin` names the row's project, id and
    version, so that an import can update it."""
    row: dict[str, Any] = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    if faulty is not None:
        row["rejected"] = faulty
    if task_type is not None:
        row["task_type"] = task_type
    if origin is not None:
        row["kairos"] = origin
    return orjson.dumps(row) + b"\n"
