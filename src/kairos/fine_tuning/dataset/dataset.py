"""Dataset rows: their states, their secrets, and their export as chat-format JSON lines.

open ──► corrected ──► approved      used for training
  └─────────┴──► rejected, held_out  kept, but not used for training
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
    """The row has no correct answer yet. Add a correction first."""

    status, code, exit_code = 409, "nothing_to_approve", 5


class HoldsSecrets(KairosError):
    """The row seems to contain {kinds}. Remove it, or clear the row after a review; until then it is not used."""

    status, code, exit_code = 409, "holds_secrets", 5


class RowChanged(KairosError):
    """The row has been changed meanwhile: it is at version {found}, yours was {given}. Load it again."""

    status, code, exit_code = 409, "row_changed", 5


def fingerprint(messages: Sequence[Mapping[str, Any]], faulty_output: str | None) -> bytes:
    """Return a SHA-256 of prompt and faulty answer, which identifies duplicate rows."""
    return hashlib.sha256(orjson.dumps([list(messages), faulty_output], option=orjson.OPT_SORT_KEYS)).digest()


def secrets_of(
    messages: Sequence[Mapping[str, Any]], faulty_output: str | None, corrected_output: str | None
) -> list[dict[str, str]]:
    """Return the kind and place of apparent secrets, without their text."""
    places = [(f"prompt {number}", str(m.get("content", ""))) for number, m in enumerate(messages, 1)]
    places += [("faulty output", faulty_output or ""), ("corrected output", corrected_output or "")]
    found = {(kind, place) for place, text in places for kind, *_ in shapes_in(text)}
    return [{"kind": kind, "where": place} for kind, place in sorted(found)]


def check_move(state: SampleState, *, corrected_output: str | None, secrets: Sequence[Any], cleared: bool) -> None:
    """Check whether a row may change to the state. Raises `NothingToApprove`, `HoldsSecrets`."""
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
    """Return a row in the chat format with a line end, which `formats` can import.

    `origin` has the row's project, id and version, so that an import can update it.
    """
    row: dict[str, Any] = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    if faulty is not None:
        row["rejected"] = faulty
    if task_type is not None:
        row["task_type"] = task_type
    if origin is not None:
        row["kairos"] = origin
    return orjson.dumps(row) + b"\n"
