"""A true loss of the margin is found, and no loss is not refused, at the error rates that the test states."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.gate import loss_test
from kairos.fine_tuning.gate.loss_test import FALSE_PROMOTIONS, FALSE_REFUSALS, Loss

MARGIN = 0.05
ADAPTERS = 500
PROMPTS = 420


def result_of(difference: Callable[[], float]) -> Loss:
    """The result for an adapter whose difference on each prompt is drawn at random."""
    found: list[float] = []
    while len(found) < PROMPTS:
        found += [difference() for _ in range(20)]
        if (result := loss_test.decide(found, MARGIN)) is not Loss.UNCERTAIN:
            return result
    return loss_test.conclude(found, MARGIN)


def share_of(result: Loss, mean: float, changed: float) -> float:
    """The share of adapters with this result, which change the given share of answers and lose or gain the mean."""
    chance = random.Random(1)

    def difference() -> float:
        answers = chance.choices((-1, 1, 0), ((changed - mean) / 2, (changed + mean) / 2, 1 - changed), k=2)
        return sum(answers) / 2

    return sum(result_of(difference) is result for _ in range(ADAPTERS)) / ADAPTERS


@pytest.mark.parametrize("changed", [0.12, 0.25])
def test_adapter_that_lost_the_margin_rarely_passes(changed: float):
    assert share_of(Loss.NONE, -MARGIN, changed) <= FALSE_PROMOTIONS + sampling_error(FALSE_PROMOTIONS)


@pytest.mark.parametrize("changed", [0.12, 0.25])
def test_adapter_that_lost_nothing_is_rarely_refused(changed: float):
    assert share_of(Loss.CERTAIN, 0.0, changed) <= FALSE_REFUSALS + sampling_error(FALSE_REFUSALS)


def test_adapter_that_lost_nothing_mostly_passes():
    assert share_of(Loss.NONE, 0.0, 0.12) > 0.9


@pytest.mark.parametrize("loss", [0.0, -0.5])
def test_clear_results_need_few_prompts(loss: float):
    assert loss_test.decide([loss] * loss_test.FEWEST_PROMPTS, MARGIN) is not Loss.UNCERTAIN


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=loss_test.FEWEST_PROMPTS - 1))
def test_few_prompts_never_decide(differences: list[float]):
    assert loss_test.decide(differences, MARGIN) is Loss.UNCERTAIN


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), max_size=400), st.randoms())
def test_order_of_the_prompts_does_not_matter(differences: list[float], chance: random.Random):
    shuffled = chance.sample(differences, len(differences))
    assert loss_test.decide(shuffled, MARGIN) is loss_test.decide(differences, MARGIN)
    assert loss_test.conclude(shuffled, MARGIN) is loss_test.conclude(differences, MARGIN)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_gain_is_never_a_loss(differences: list[float]):
    assert Loss.CERTAIN not in (loss_test.decide(differences, MARGIN), loss_test.conclude(differences, MARGIN))


def test_loss_of_less_than_half_the_margin_is_never_certain():
    assert loss_test.conclude([-0.02] * 5000, MARGIN) is not Loss.CERTAIN


def sampling_error(rate: float) -> float:
    """Three standard errors of a share of `ADAPTERS`."""
    return 3 * (rate * (1 - rate) / ADAPTERS) ** 0.5
