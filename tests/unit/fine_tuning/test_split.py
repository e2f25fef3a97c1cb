"""Training and held-out samples: a prompt is never in both parts, and a sample keeps its part."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.split import ApprovedSample, Part, group_of, rows_hash, split

PROMPTS = st.lists(st.sampled_from(["one", "One ", "two", "three", "four  words", "four words"]), max_size=30)


def rows_of(prompts: list[str], held: int = -1) -> list[ApprovedSample]:
    return [
        ApprovedSample(UUID(int=n + 1), 1, None, None, ({"role": "user", "content": prompt},), "a", held_out=n == held)
        for n, prompt in enumerate(prompts)
    ]


@given(PROMPTS, st.floats(0, 1))
def test_no_prompt_is_in_both_parts(prompts: list[str], share: float):
    parts = split(rows_of(prompts), share)
    training, held = ({group_of(row.messages) for row in parts[part]} for part in Part)
    assert not training & held
    assert sum(map(len, parts.values())) == len(prompts)


@given(PROMPTS, PROMPTS, st.floats(0, 1))
def test_sample_keeps_its_part_when_samples_are_added(prompts: list[str], more: list[str], share: float):
    before, after = split(rows_of(prompts), share), split(rows_of(prompts + more), share)
    for part in Part:
        assert {row.id for row in before[part]} <= {row.id for row in after[part]}


def test_holding_out_one_sample_holds_out_its_group():
    parts = split(rows_of(["one", "ONE", "two"], held=0), 0.0)
    assert [row.answer for row in parts[Part.HELD_OUT]] == ["a", "a"]


def test_hash_depends_on_samples_but_not_on_their_order():
    one, two = rows_of(["a", "b"])
    assert rows_hash([one, two]) == rows_hash([two, one]) != rows_hash([one])
