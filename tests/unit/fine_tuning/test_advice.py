"""What to do before a training follows from figures that are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kairos.fine_tuning.dataset.advice import AdviceAction, RowNeeds, advice_for, advice_on_base
from kairos.fine_tuning.dataset.kinds import Kind
from kairos.fine_tuning.dataset.review import DatasetReview, Grouping

NEEDS = RowNeeds(fewest_training=8, fewest_held_out=8, held_out_share=0.2)


def kind(training: int, prompt: str | None = "p", task_type: str | None = None) -> Kind:
    return Kind(task_type, prompt, training + 1, training, ())


GOOD = DatasetReview(
    rows=60,
    reviewed=60,
    distinct=60,
    distinct_training=48,
    contradictions=0,
    conflicts=(),
    too_long=0,
    max_tokens=1024,
    empty_answers=0,
    kinds=(kind(24, "a"), kind(24, "b")),
    grouping=Grouping(60, 60),
)


def actions(review: DatasetReview, training: int = 48, held_out: int = 12) -> list[tuple[AdviceAction, int]]:
    return [(one.action, one.count) for one in advice_for(review, training, held_out, NEEDS)]


def test_good_samples_need_nothing():
    assert actions(GOOD) == []


def test_missing_samples_are_counted_by_the_share_that_is_held_out():
    """5 more for training are 7 corrected ones, as one in five is held out. 4 more to hold out are 20."""
    assert actions(GOOD, training=3) == [(AdviceAction.ADD_SAMPLES, 7)]
    assert actions(GOOD, held_out=4) == [(AdviceAction.ADD_HELD_OUT, 20)]


@pytest.mark.parametrize(
    ("values", "action", "count"),
    [
        ({"contradictions": 2}, AdviceAction.RESOLVE_CONTRADICTIONS, 2),
        ({"distinct": 55}, AdviceAction.REPLACE_REPEATED, 5),
        ({"too_long": 3}, AdviceAction.SHORTEN, 3),
        ({"empty_answers": 1}, AdviceAction.FILL_ANSWERS, 1),
    ],
)
def test_each_figure_has_its_advice(values: dict, action: AdviceAction, count: int):
    assert actions(replace(GOOD, **values)) == [(action, count)]


def test_small_kind_is_named():
    [advice] = advice_for(replace(GOOD, kinds=(kind(40, "a"), kind(4, "b"), kind(2, None))), 46, 12, NEEDS)
    assert (advice.action, advice.count, advice.have, advice.need) == (AdviceAction.ADD_TO_KIND, 5, 4, 8)
    assert advice.kind
    assert advice.kind.prompt == "b"


def test_few_of_many_small_kinds_are_named():
    review = replace(GOOD, kinds=tuple(kind(3, str(number)) for number in range(20)))
    assert len(actions(review)) == 3


@pytest.mark.parametrize(
    "review",
    [
        replace(GOOD, kinds=(kind(4),)),
        replace(GOOD, kinds=(kind(4, "a"), kind(4, None))),
        replace(GOOD, kinds=(kind(4, "a"), kind(4, "b")), grouping=Grouping(900, 400)),
    ],
    ids=["a single kind", "a single kind and others", "kinds of a sample"],
)
def test_kinds_are_not_compared_where_that_would_mislead(review: DatasetReview):
    assert actions(review) == []


def test_task_types_are_compared_without_the_embedder():
    review = replace(GOOD, kinds=(kind(40, None, "code"), kind(4, None, "text")), grouping=Grouping(44, 0, "away"))
    assert actions(review) == [(AdviceAction.ADD_TO_KIND, 5)]


@pytest.mark.parametrize(
    ("right", "answered", "advised"), [(0, 0, False), (5, 24, False), (12, 24, True), (24, 24, True)]
)
def test_base_that_knows_at_least_half_needs_other_samples(right: int, answered: int, advised: bool):
    assert [one.count for one in advice_on_base(right, answered)] == ([right] if advised else [])
