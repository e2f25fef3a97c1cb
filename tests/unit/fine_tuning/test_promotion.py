"""Evidence against an adapter in service: whether it is significantly worse than its predecessor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.db.repositories.adapters import MeasuredQuality
from kairos.fine_tuning.gate.promotion import Evidence

quality = st.floats(0, 1)
amount = st.integers(1, 10_000)


def test_only_many_bad_answers_are_significant():
    assert not Evidence(MeasuredQuality(3, 0.2), MeasuredQuality(3, 0.8)).significantly_worse
    assert Evidence(MeasuredQuality(30, 0.2), MeasuredQuality(30, 0.8)).significantly_worse


def test_without_a_comparison_nothing_is_significant():
    assert not Evidence(MeasuredQuality(0, 0.0), MeasuredQuality(50, 0.9)).significantly_worse
    assert not Evidence(MeasuredQuality(50, 0.0), MeasuredQuality(0, 0.0)).significantly_worse
    assert Evidence(MeasuredQuality(50, 0.0), MeasuredQuality(0, 0.0)).no_worse(0.1)


@given(quality, amount, quality, amount)
def test_adapter_that_is_no_worse_is_never_significantly_worse(a: float, answers: int, b: float, others: int):
    evidence = Evidence(MeasuredQuality(answers, a), MeasuredQuality(others, b))
    if evidence.no_worse(0.0):
        assert not evidence.significantly_worse


@given(quality, quality, amount)
def test_more_answers_of_the_same_quality_keep_significance(a: float, b: float, answers: int):
    few = Evidence(MeasuredQuality(answers, a), MeasuredQuality(answers, b))
    many = Evidence(MeasuredQuality(answers * 4, a), MeasuredQuality(answers * 4, b))
    assert many.significantly_worse or not few.significantly_worse
