"""The terms of a score, each tested separately."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.scoring import cost_scale, cost_term, evidence, expectation, latency_term, prior_quality
from kairos.llm.routing.statistics import RouterWeights, Statistics, add_qualities

W = RouterWeights()


def model(tier: float | None = None, specialties: frozenset[str] = frozenset()) -> Model:
    return Model("m", "m", "http://m", tier=tier, specialties=specialties)


def seen(qualities: list[float]) -> Statistics:
    row = Statistics()
    for quality in qualities:
        add_qualities(row, (quality,), W)
    return row


def test_unmeasured_model_has_the_prior_and_the_largest_bonus():
    n, mu, bonus = expectation(Statistics(), 0.6, 0.0, W)
    assert (n, mu) == (0.0, 0.6)
    assert bonus > expectation(seen([0.5, 0.7]), 0.6, 2.0, W)[2]


@given(qualities=st.lists(st.floats(0, 1), min_size=1, max_size=30), place=st.integers(0, 29), better=st.floats(0, 1))
def test_expected_quality_is_monotonic_in_observations(qualities, place, better):
    """Without the short memory, which may outweigh older observations."""
    w = RouterWeights(contradiction=1e9)
    place %= len(qualities)
    raised = [*qualities]
    raised[place] = max(better, qualities[place])
    assert expectation(seen(raised), 0.5, 9.0, w)[1] >= expectation(seen(qualities), 0.5, 9.0, w)[1] - 1e-12


@given(n=st.integers(1, 60), low=st.floats(0, 0.9), step=st.floats(0.01, 0.1), prior=st.floats(0.02, 0.98))
def test_better_of_two_equally_measured_models_scores_higher(n, low, step, prior):
    worse, better = expectation(seen([low] * n), prior, n, W), expectation(seen([low + step] * n), prior, n, W)
    assert better[1] > worse[1]
    assert better[1] + better[2] > worse[1] + worse[2]


def test_pending_decisions_reduce_the_bonus_like_verdicts():
    row = seen([1.0, 0.0, 1.0])
    alone = expectation(row, 0.6, 3.0, W)
    row.pending = 5
    assert expectation(row, 0.6, 3.0, W)[1] == alone[1]
    assert expectation(row, 0.6, 3.0, W)[2] < alone[2]


def test_bonus_of_a_rare_model_grows_with_other_experience_up_to_the_horizon():
    row = seen([0.0])
    young, old, older = (
        expectation(row, 0.6, n, W)[2] for n in (1.0, W.exploration_horizon, 10 * W.exploration_horizon)
    )
    assert young < old == older


def test_short_memory_prevails_if_it_contradicts_the_long_memory():
    """A model that gets worse after five hundred good answers is detected within twenty bad ones."""
    good = seen([1.0, 0.8] * 250)
    assert expectation(good, 0.6, 500, W)[1] > 0.85
    add_qualities(good, [0.3] * 15, W)
    assert expectation(good, 0.6, 500, W)[1] < 0.65
    assert good.s / good.n > 0.85


def test_few_bad_answers_are_not_a_contradiction():
    row = seen([1.0, 1.0, 0.0] * 100)
    add_qualities(row, [0.0, 0.0, 1.0, 0.0], W)
    assert expectation(row, 0.6, 300, W)[0] == row.n


def test_prior_combines_tier_other_task_types_and_specialties():
    assert prior_quality(model(), "t", 0, 0, W) == W.prior_quality
    assert prior_quality(model(tier=0.9), "t", 0, 0, W) == pytest.approx(0.9)
    assert prior_quality(model(), "t", 8, 0.8, W) == pytest.approx((2 * 0.6 + 0.8) / 10)
    assert prior_quality(model(specialties=frozenset({"t"})), "t", 0, 0, W) == pytest.approx(0.75)
    assert prior_quality(model(specialties=frozenset({"t"})), "u", 0, 0, W) == pytest.approx(0.6)
    assert prior_quality(model(tier=1.0), "t", 0, 0, W) == 0.98


def test_evidence_of_one_task_type_is_limited():
    weight, weighted = evidence(seen([0.5] * 1000), W)
    assert 0.98 < weight < 1.0
    assert weighted == pytest.approx(weight / 2)
    assert evidence(Statistics(), W) == (0.0, 0.0)


def test_cost_term_is_a_position_on_a_log_scale():
    scale = cost_scale([0.001, 0.01, 0.1])
    assert [cost_term(cost, *scale) for cost in (0.001, 0.01, 0.1, 5.0)] == pytest.approx([0, 0.5, 1, 1])


def test_free_model_counts_as_a_tenth_of_the_cheapest_price():
    scale = cost_scale([0.0, 0.01, 0.1])
    assert [cost_term(cost, *scale) for cost in (0.0, 0.01, 0.1)] == pytest.approx([0, 0.5, 1])


def test_cost_term_is_zero_for_equal_prices():
    assert cost_term(0.1, *cost_scale([0.1, 0.1])) == 0.0
    assert cost_term(0.0, *cost_scale([0.0, 0.0])) == 0.0


@given(prices=st.lists(st.floats(0, 10), max_size=6))
def test_unknown_price_counts_as_the_highest(prices):
    scale = cost_scale([-1.0, *prices])
    assert cost_term(-1.0, *scale) >= max((cost_term(price, *scale) for price in prices), default=0.0)
    assert cost_term(-1.0, *scale) == 1.0


def test_latency_term_saturates():
    assert latency_term(0, 8) == 0
    assert latency_term(8 * log(2), 8) == pytest.approx(0.5)
    assert latency_term(1e6, 8) == pytest.approx(1)
