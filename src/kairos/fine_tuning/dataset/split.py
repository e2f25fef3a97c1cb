"""Splits samples into training and held-out parts, by groups of equal prompts, deterministically.

Samples with the same prompt belong to the same part; otherwise held-out answers would be part of the training. The part
is derived from a hash of the group, so that later samples do not change it: no run trains on samples that an earlier
gate measured with.
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
    """The part of the dataset that a sample belongs to."""

    TRAINING = "training"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class ApprovedSample:
    """An approved or held-out row of the dataset."""

    id: UUID
    version: int
    task_id: UUID | None
    task_type: str | None
    messages: tuple[Mapping[str, Any], ...]
    answer: str
    held_out: bool = False
    """Whether a person excluded it from training."""


def group_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the first user message, without differences in case and white space.

    A retry of the same task, with findings in later turns, is in the same group.
    """
    prompt = next((str(m.get("content", "")) for m in messages if m.get("role") == "user"), "")
    return SPACES.sub(" ", prompt).strip().casefold()


def part_of(row: ApprovedSample, held_out_share: float) -> Part:
    """Return the part of a sample, which is that of its group."""
    number = int.from_bytes(hashlib.sha256(group_of(row.messages).encode()).digest()[:8], "big")
    held = row.held_out or number / 2**64 < held_out_share
    return Part.HELD_OUT if held else Part.TRAINING


def split(rows: Sequence[ApprovedSample], held_out_share: float) -> dict[Part, list[ApprovedSample]]:
    """Return the samples by part, each part ordered by id."""
    parts: dict[Part, list[ApprovedSample]] = {part: [] for part in Part}
    kept_out = {group_of(row.messages) for row in rows if row.held_out}
    for row in sorted(rows, key=lambda row: row.id):
        part = Part.HELD_OUT if group_of(row.messages) in kept_out else part_of(row, held_out_share)
        parts[part].append(row)
    return parts


def rows_hash(rows: Sequence[ApprovedSample]) -> str:
    """Return a hash that identifies these samples in these versions."""
    listed = sorted(f"{row.id}:{row.version}" for row in rows)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()
