"""Which rows are trained on and which are held out: by group of prompts, the same every time.

Rows that ask the same thing fall into the same part, else the held-out answers would be known by heart. The part comes
from a hash of the group, so that a row keeps it whatever rows come later: a run never trains on what an earlier gate
measured with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

SPACES = re.compile(r"\s+")


class Part(StrEnum):
    """Where a row goes."""

    TRAINING = "training"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class ApprovedSample:
    """An approved row of the dataset."""

    id: UUID
    version: int
    task_id: UUID | None
    task_type: str | None
    messages: tuple[Mapping[str, Any], ...]
    answer: str
    held_out: bool = False
    """A person took it out of training."""


def group_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """What is asked, without what differs between two askings: case, spaces, and the turns after the first one.

    A second try of the same task, with its findings, is the same question.
    """
    asked = next((str(m.get("content", "")) for m in messages if m.get("role") == "user"), "")
    return SPACES.sub(" ", asked).strip().casefold()


def part_of(row: ApprovedSample, held_out_share: float) -> Part:
    """The part of a row: that of its group."""
    number = int.from_bytes(hashlib.sha256(group_of(row.messages).encode()).digest()[:8], "big")
    held = row.held_out or number / 2**64 < held_out_share
    return Part.HELD_OUT if held else Part.TRAINING


def split(rows: Sequence[ApprovedSample], held_out_share: float) -> dict[Part, list[ApprovedSample]]:
    """All rows by part, each part in the order of the ids."""
    parts: dict[Part, list[ApprovedSample]] = {part: [] for part in Part}
    kept_out = {group_of(row.messages) for row in rows if row.held_out}
    for row in sorted(rows, key=lambda row: row.id):
        part = Part.HELD_OUT if group_of(row.messages) in kept_out else part_of(row, held_out_share)
        parts[part].append(row)
    return parts


def rows_hash(rows: Sequence[ApprovedSample]) -> str:
    """Names exactly these rows in these versions."""
    listed = sorted(f"{row.id}:{row.version}" for row in rows)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()
