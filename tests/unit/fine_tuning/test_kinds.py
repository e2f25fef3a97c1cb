"""Kinds of samples: task types, and clusters of their prompts."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.kinds import Kind, kinds_by_prompt, kinds_by_type, prompts_to_embed, spread
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.llm.routing.embedder import Embedder
from tests.kit.approved import approved

DIRECTIONS = [(1.0, 0.0, 0.0), (0.8, 0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (-1.0, 0.0, 0.0)]
VECTORS = {f"p{number}": vector for number, vector in enumerate(DIRECTIONS)}
NOTES = [f"{feature}: draft the release note." for feature in ("Search", "Billing", "Export", "Alerts", "Invoices")]
CALLS = [f"Write the Vex call to paint the {thing}." for thing in ("kettle", "lamp", "chair", "bucket", "door", "drum")]
SINGLE = ["How do I reset my password?", "Do you ship to Norway?"]


def all_ids(rows: list[ApprovedSample]) -> frozenset:
    return frozenset(row.id for row in rows)


async def kinds_of(rows: list[ApprovedSample]) -> tuple[Kind, ...]:
    embedder = Embedder()
    prompts = prompts_to_embed(rows, len(rows))
    try:
        vectors = dict(zip(prompts, await embedder.embed(prompts, 64), strict=True))
    finally:
        await embedder.close()
    return kinds_by_prompt(rows, all_ids(rows[1:]), vectors)


async def test_prompts_of_different_rules_are_different_kinds():
    rows = [approved(n, prompt) for n, prompt in enumerate([*NOTES, *CALLS, *SINGLE], 1)]
    calls, notes, others = await kinds_of(rows)
    assert (calls.rows, calls.training) == (6, 6)
    assert (notes.rows, notes.training) == (5, 4), "the first sample is held out"
    assert calls.prompt in CALLS
    assert notes.prompt in NOTES
    assert (others.rows, others.prompt) == (2, None)


async def test_clusters_are_within_task_types():
    rows = [approved(n, prompt, task_type="code" if n % 2 else None) for n, prompt in enumerate(CALLS, 1)]
    found = await kinds_of(rows)
    assert [(kind.task_type, kind.rows) for kind in found] == [(None, 3), ("code", 3)]


async def test_repeated_prompts_count_as_samples_of_one_prompt():
    rows = [approved(n, prompt) for n, prompt in enumerate([CALLS[0], CALLS[0].upper(), *CALLS], 1)]
    [kind] = await kinds_of(rows)
    assert kind.rows == 8


async def test_prompts_of_other_languages_are_grouped_too():
    cities = ("Ankara", "Lyon", "Osaka", "Lima", "Oslo")
    turkish = [f"{city} için yarınki hava durumunu yaz." for city in cities]
    chinese = [f"把{word}写成我们的格式。" for word in ("订单", "发票", "合同", "报告", "通知")]
    found = await kinds_of([approved(n, prompt) for n, prompt in enumerate([*turkish, *chinese], 1)])
    assert [kind.rows for kind in found] == [5, 5]


def test_without_vectors_each_task_type_is_one_kind():
    rows = [approved(1, "a", task_type="code"), approved(2, "b"), approved(3, "c", task_type="code")]
    found = kinds_by_type(rows, all_ids(rows[:1]))
    assert [(kind.task_type, kind.prompt, kind.rows, kind.training) for kind in found] == [
        ("code", None, 2, 1),
        (None, None, 1, 0),
    ]


@pytest.mark.parametrize("by_prompt", [True, False])
def test_no_samples_have_no_kinds(by_prompt: bool):
    assert (kinds_by_prompt([], frozenset(), {}) if by_prompt else kinds_by_type([], frozenset())) == ()


def test_sample_without_a_prompt_is_of_a_kind():
    rows = [approved(1, " ")]
    assert prompts_to_embed(rows, 9) == []
    [kind] = kinds_by_prompt(rows, all_ids(rows), {})
    assert (kind.rows, kind.prompt) == (1, None)


TYPED = st.lists(st.tuples(st.sampled_from(sorted(VECTORS)), st.sampled_from([None, "code", "text"])), max_size=14)


@given(TYPED.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))))
def test_kinds_do_not_depend_on_the_order_of_samples(case: tuple[list[tuple[str, str | None]], list[int]]):
    given_rows, order = case
    rows = [approved(n, prompt, task_type=name) for n, (prompt, name) in enumerate(given_rows, 1)]
    shuffled = [rows[place] for place in order]
    found = kinds_by_prompt(rows, all_ids(rows), VECTORS)
    assert kinds_by_prompt(shuffled, all_ids(rows), VECTORS) == found
    assert sorted(chain.from_iterable(kind.ids for kind in found)) == sorted(all_ids(rows)), "each is of one kind"
    assert prompts_to_embed(shuffled, 3) == prompts_to_embed(rows, 3)


@given(st.lists(st.integers(1, 6), max_size=5), st.integers(0, 12))
def test_chosen_samples_are_spread_over_all_kinds(sizes: list[int], most: int):
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    kinds = [
        kinds_by_type([approved(start + n, "a") for n in range(size)], frozenset())[0]
        for start, size in zip(starts, sizes, strict=True)
    ]
    chosen = spread(kinds, most)
    assert len(chosen) == len(set(chosen)) == min(most, sum(sizes))
    taken = [len(set(chosen) & set(kind.ids)) for kind in kinds]
    for own, size in zip(taken, sizes, strict=True):
        assert own == size or own >= max(taken) - 1
