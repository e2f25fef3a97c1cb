"""The review of samples before a training, with and without the embedding model."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.fine_tuning.dataset import review as reviews
from kairos.fine_tuning.dataset.review import DatasetReview, DatasetReviewer, estimated_tokens
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.llm.calls.prompt_size import SMALL
from kairos.llm.routing.embedder import DataFile, Embedder
from tests.kit.approved import approved

ABSENT = DataFile("no-such-package", "model.onnx", "")
CALLS = [f"Write the Vex call to paint the {thing}." for thing in ("kettle", "lamp", "chair", "bucket", "door", "drum")]


async def reviewed(rows: list[ApprovedSample], *, away: bool = False, share: float = 0.2) -> DatasetReview:
    embedder = Embedder(weights=ABSENT) if away else Embedder()
    try:
        return await DatasetReviewer(embedder).review(rows, share, 1024, SMALL)
    finally:
        await embedder.close()


async def test_no_samples():
    found = await reviewed([])
    assert (found.rows, found.reviewed, found.distinct, found.repeated, found.kinds) == (0, 0, 0, 0, ())
    assert found.grouping.problem is None


async def test_one_sample():
    found = await reviewed([approved(1, CALLS[0])], share=0.0001)
    assert (found.reviewed, found.distinct, found.distinct_training, found.contradictions) == (1, 1, 1, 0)
    assert [(kind.prompt, kind.rows) for kind in found.kinds] == [(CALLS[0], 1)]


async def test_contradictions_repetitions_and_useless_samples_are_counted():
    rows = [approved(n, prompt, f"answer {n}") for n, prompt in enumerate(CALLS, 1)]
    rows += [
        approved(7, CALLS[0], "other"),
        approved(8, CALLS[1].upper(), " answer 2 "),
        approved(9, "long", "x " * 2_000),
    ]
    rows += [approved(10, "empty", " ")]
    found = await reviewed(rows)
    assert (found.reviewed, found.distinct, found.repeated) == (10, 9, 1)
    assert (found.contradictions, found.too_long, found.empty_answers) == (1, 1, 1)
    [conflict] = found.conflicts
    assert (conflict.first.int, conflict.second.int) == (1, 7)
    assert found.kinds[0].rows == 8


async def test_repeated_sample_is_no_further_training_sample():
    found = await reviewed([approved(n, CALLS[0]) for n in range(1, 40)], share=0.0001)
    assert (found.distinct, found.distinct_training) == (1, 1)


async def test_without_the_embedder_kinds_are_task_types():
    rows = [approved(n, prompt, task_type="code") for n, prompt in enumerate(CALLS, 1)]
    found = await reviewed(rows, away=True)
    assert [(kind.task_type, kind.prompt, kind.rows) for kind in found.kinds] == [("code", None, 6)]
    assert "kairos model fetch" in (found.grouping.problem or "")
    assert (found.grouping.prompts, found.grouping.grouped, found.grouping.sampled) == (6, 0, False)


async def test_slow_embedder_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reviews, "EMBEDDING_S", 0.0)
    found = await reviewed([approved(1, "a prompt that no other test embeds")])
    assert "took more than" in (found.grouping.problem or "")


async def test_many_samples_are_reviewed_in_part():
    """The newest ones; of their prompts a random sample is compared."""
    rows = [approved(n, f"prompt {n}", "same" if n % 2 else f"{n}") for n in range(1, 100_001)]
    rows[0] = approved(1, "prompt 99999", "a contradiction that is too old")
    found = await reviewed(rows, away=True)
    assert (found.rows, found.reviewed, found.contradictions) == (100_000, reviews.MAX_REVIEWED, 0)
    assert sum(kind.rows for kind in found.kinds) == reviews.MAX_REVIEWED


async def test_number_of_compared_prompts_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reviews, "MAX_EMBEDDED", 4)
    found = await reviewed([approved(n, prompt) for n, prompt in enumerate(CALLS, 1)])
    assert (found.grouping.prompts, found.grouping.grouped, found.grouping.sampled) == (6, 4, True)
    assert sum(kind.rows for kind in found.kinds) == 4


async def test_first_conflicts_of_many_are_shown():
    rows = [approved(2 * n + side, f"prompt {n}", f"{side}") for n in range(30) for side in (0, 1)]
    found = await reviewed(rows, away=True)
    assert (found.contradictions, len(found.conflicts)) == (30, reviews.SHOWN_CONFLICTS)
    assert [pair.first.int for pair in found.conflicts] == list(range(0, 20, 2))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", " "]), st.sampled_from([None, "code"])),
        max_size=12,
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows)))))
)
def test_review_of_shuffled_samples_is_the_same(case: tuple[list[tuple[str, str, str | None]], list[int]]):
    samples, order = case
    rows = [approved(n, prompt, answer, task_type=name) for n, (prompt, answer, name) in enumerate(samples, 1)]
    shuffled = [rows[place] for place in order]
    assert asyncio.run(reviewed(shuffled, away=True)) == asyncio.run(reviewed(rows, away=True))


@pytest.mark.parametrize(
    ("prompt", "answer", "long"),
    [
        ("short", "yes", False),
        ("it is in the list " * 140, "yes", False),
        ("word " * 1_500, "yes", True),
        ("yes", "word " * 1_500, True),
        ("字" * 200, "是", False),
        ("字" * 1_000, "是", True),
    ],
)
async def test_length_of_a_sample_is_estimated_from_prompt_and_answer(prompt: str, answer: str, long: bool):
    row = approved(1, prompt, answer)
    assert (estimated_tokens(row, SMALL) > 1024) is long
    assert (await reviewed([row], away=True)).too_long == long


def test_estimate_of_a_huge_sample_reads_its_ends_only():
    assert estimated_tokens(approved(1, "word " * 4_000_000), SMALL) > 3_000_000
