"""Contradictions and repetitions among samples.

Only equal prompts can contradict each other. Prompts that resemble each other are not compared: those that differ in
one value ("Convert 12 miles …", "Convert 37 miles …") rightly have different answers, and their cosines reach .97,
while those of paraphrases are .86 to .97 (`benchmarks/dataset_kinds.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from kairos.fine_tuning.dataset.sample_keys import KeyedSample, excerpt, prompt_text


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two samples with the same prompt and different answers."""

    prompt: str
    """Excerpts; the samples have the whole texts."""
    first: UUID
    second: UUID
    first_answer: str
    second_answer: str


def contradictions(samples: Iterable[KeyedSample]) -> list[list[Contradiction]]:
    """Return the contradictions of each contradictory prompt, ordered by the ids of the samples.

    n different answers after one system message are n - 1 pairs, each with the oldest sample.
    """
    same_prompt: dict[bytes, list[KeyedSample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.row.id):
        if sample.answered:
            same_prompt[sample.turns].append(sample)
    found = (_within(group) for group in same_prompt.values() if len(group) > 1)
    return sorted((pairs for pairs in found if pairs), key=lambda pairs: (pairs[0].first, pairs[0].second))


def distinct(samples: Iterable[KeyedSample]) -> int:
    """Return the number of different examples: a repeated one has the same prompt and the same answer."""
    return len({sample.example for sample in samples})


def _within(group: Sequence[KeyedSample]) -> list[Contradiction]:
    """Return the pairs among samples with the same prompt apart from its system message."""
    systems = {sample.system for sample in group}
    pairs: dict[tuple[UUID, UUID], Contradiction] = {}
    for system in systems:
        comparable = [sample for sample in group if sample.system in (system, None)]
        oldest = {sample.answer: sample for sample in reversed(comparable)}
        first, *others = sorted(oldest.values(), key=lambda sample: sample.row.id)
        pairs |= {(first.row.id, other.row.id): _contradiction(first, other) for other in others}
    return [pairs[ids] for ids in sorted(pairs)]


def _contradiction(first: KeyedSample, second: KeyedSample) -> Contradiction:
    return Contradiction(
        prompt=excerpt(prompt_text(first.row)),
        first=first.row.id,
        second=second.row.id,
        first_answer=excerpt(first.row.answer),
        second_answer=excerpt(second.row.answer),
    )
