"""Splits samples into parts, by groups of equal prompts, deterministically.

Samples with the same prompt belong to the same part; otherwise held-out answers would be part of the training. The part
follows from a hash of the group, so that more samples do not change it, except in small datasets: these hold out more
than their share, because the gate cannot decide with fewer, and give the excess back to training once there are enough.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

SPACES = re.compile(r"\s+")
HELD_OUT_GROUPS, MOST_SMALL_SHARE = 8, 1 / 3
"""Small datasets hold out this many groups, but not more than this share."""
SELECTION_SHARE, SELECTION_GROUPS = 0.1, 40
"""Datasets with fewer groups train on all that is not held out, and choose by samples that they trained on."""


class Part(StrEnum):
    """The part of the dataset that a sample belongs to."""

    TRAINING = "training"
    SELECTION = "selection"
    """Not trained on: chooses among the candidates of a training."""
    HELD_OUT = "held_out"
    """Neither trained on nor used for that choice: the gate measures with it."""


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


def split(rows: Sequence[ApprovedSample], held_out_share: float) -> dict[Part, list[ApprovedSample]]:
    """Return the samples by part, each part ordered by id."""
    part_of = _parts({group_of(row.messages) for row in rows}, held_out_share)
    kept_out = {group_of(row.messages) for row in rows if row.held_out}
    parts: dict[Part, list[ApprovedSample]] = {part: [] for part in Part}
    for row in sorted(rows, key=lambda row: row.id):
        group = group_of(row.messages)
        parts[Part.HELD_OUT if group in kept_out else part_of[group]].append(row)
    return parts


def _parts(groups: Set[str], held_out_share: float) -> dict[str, Part]:
    """Return the part of each group: the lowest hashes are held out, the highest are for the selection."""
    hashes = {group: int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64 for group in groups}
    fewest = min(HELD_OUT_GROUPS, int(len(groups) * MOST_SMALL_SHARE)) if held_out_share else 0
    lowest = set(sorted(groups, key=lambda group: hashes[group])[:fewest])
    selected = 1 - SELECTION_SHARE if len(groups) >= SELECTION_GROUPS else 1

    def part(group: str) -> Part:
        if group in lowest or hashes[group] < held_out_share:
            return Part.HELD_OUT
        return Part.SELECTION if hashes[group] >= selected else Part.TRAINING

    return {group: part(group) for group in groups}


def rows_hash(rows: Sequence[ApprovedSample]) -> str:
    """Return a hash that identifies these samples in these versions."""
    listed = sorted(f"{row.id}:{row.version}" for row in rows)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()
