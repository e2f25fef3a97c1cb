"""What counts as evidence against an adapter in service."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.db.repositories.adapters import MeasuredQuality
from kairos.fine_tuning.gate.promotion import Evidence

quality = st.floats(0, 1)
amount = st.integers(1, 10_000)


def test_a_few_bad_answers_are_no_proof_and_many_are():
    assert not Evidence(MeasuredQuality(3, 0.2), MeasuredQuality(3, 0.8)).significantly_worse
    assert Evidence(MeasuredQuality(30, 0.2), MeasuredQuality(30, 0.8)).significantly_worse


def test_without_anything_to_compare_with_nothing_is_proved():
    assert not Evidence(MeasuredQuality(0, 0.0), MeasuredQuality(50, 0.9)).significantly_worse
    assert not Evidence(MeasuredQuality(50, 0.0), MeasuredQuality(0, 0.0)).significantly_worse
    assert Evidence(MeasuredQuality(50, 0.0), MeasuredQuality(0, 0.0)).no_worse(0.1)


@given(quality, amount, quality, amount)
def test_what_is_no_worse_is_never_surely_worse(a: float, answers: int, b: float, others: int):
    evidence = Evidence(MeasuredQuality(answers, a), MeasuredQuality(others, b))
    if evidence.no_worse(0.0):
        assert not evidence.significantly_worse


@given(quality, quality, amount)
def test_more_answers_of_the_same_quality_prove_no_less(a: float, b: float, answers: int):
    few = Evidence(MeasuredQuality(answers, a), MeasuredQuality(answers, b))
    many = Evidence(MeasuredQuality(answers * 4, a), MeasuredQuality(answers * 4, b))
    assert many.significantly_worse or not few.significantly_worse
