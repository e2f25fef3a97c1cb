"""Training and held-out samples: a prompt is never in both parts, and a sample keeps its part."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.split import ApprovedSample, Part, group_of, rows_hash, split

PROMPTS = st.lists(st.sampled_from(["one", "One ", "two", "three", "four  words", "four words"]), max_size=30)


def rows_of(prompts: list[str], held: int = -1) -> list[ApprovedSample]:
    return [
        ApprovedSample(UUID(int=n + 1), 1, None, None, ({"role": "user", "content": prompt},), "a", held_out=n == held)
        for n, prompt in enumerate(prompts)
    ]


def groups_of(parts: dict[Part, list[ApprovedSample]], part: Part) -> set[str]:
    return {group_of(row.messages) for row in parts[part]}


@given(PROMPTS, st.floats(0, 1))
def test_no_prompt_is_in_two_parts(prompts: list[str], share: float):
    parts = split(rows_of(prompts), share)
    groups = [groups_of(parts, part) for part in Part]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert sum(map(len, parts.values())) == len(prompts)


@given(st.integers(0, 60), st.integers(1, 40))
def test_held_out_sample_of_a_large_dataset_stays_held_out(size: int, more: int):
    """It is held out by its hash alone."""
    before, after = (split(rows_of([f"prompt {n}" for n in range(60 + amount)]), 0.3) for amount in (size, size + more))
    assert groups_of(before, Part.HELD_OUT) <= groups_of(after, Part.HELD_OUT)
    assert groups_of(before, Part.SELECTION) <= groups_of(after, Part.SELECTION)


@pytest.mark.parametrize(("size", "held_out"), [(3, 1), (12, 4), (24, 8), (30, 8)])
def test_small_dataset_holds_out_enough_for_the_gate(size: int, held_out: int):
    parts = split(rows_of([f"prompt {n}" for n in range(size)]), 0.01)
    assert len(parts[Part.HELD_OUT]) == held_out
    assert not parts[Part.SELECTION]


def test_larger_dataset_has_samples_for_the_selection():
    parts = split(rows_of([f"prompt {n}" for n in range(500)]), 0.2)
    sizes = {part: len(parts[part]) / 500 for part in Part}
    assert sizes == pytest.approx({Part.TRAINING: 0.7, Part.SELECTION: 0.1, Part.HELD_OUT: 0.2}, abs=0.05)


def test_holding_out_one_sample_holds_out_its_group():
    parts = split(rows_of(["one", "ONE", "two"], held=0), 0.0)
    assert [row.answer for row in parts[Part.HELD_OUT]] == ["a", "a"]


def test_hash_depends_on_samples_but_not_on_their_order():
    one, two = rows_of(["a", "b"])
    assert rows_hash([one, two]) == rows_hash([two, one]) != rows_hash([one])
