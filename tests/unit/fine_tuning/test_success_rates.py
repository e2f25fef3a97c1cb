"""Measured success rates: the nearest measurement at or below the number of samples, never an interpolation."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kairos.fine_tuning.dataset.success_rates import (
    SuccessRate,
    SuccessRates,
    nearest_rate,
    smallest_size,
    success_rates,
)


def rate(rows: int, promoted: int = 7, **values: Any) -> SuccessRate:
    usual = {"runs": 8, "base": "small", "title": "Small", "recipe": "f6cb38f", "measured": date(2026, 12, 2)}
    return SuccessRate(rows=rows, promoted=promoted, **{**usual, **values})


RATES = (rate(16, 4), rate(24, 6), rate(48, 7))


def test_packaged_file_is_valid():
    assert all(one.promoted <= one.runs for one in success_rates())


@pytest.mark.parametrize(
    ("rows", "measured"), [(15, None), (16, 16), (23, 16), (24, 24), (47, 24), (48, 48), (9_999, 48)]
)
def test_nearest_measurement_at_or_below(rows: int, measured: int | None):
    found = nearest_rate(RATES, rows, "small")
    assert (found.rows if found else None) == measured


def test_without_measurements_there_is_no_rate():
    assert nearest_rate((), 48, "small") is None
    assert smallest_size(()) is None
    assert smallest_size(RATES) == 16


def test_measurement_of_the_same_base_comes_first():
    rates = (*RATES, rate(16, base="large", title="Large"))
    own = nearest_rate(rates, 48, "large")
    other = nearest_rate(rates, 48, "unknown")
    assert own
    assert other
    assert (own.base, own.rows) == ("large", 16)
    assert other.rows == 48


def test_latest_measurement_of_a_size_wins():
    rates = (rate(24, 2, measured=date(2026, 12, 4)), rate(24, 8, measured=date(2026, 12, 3)))
    found = nearest_rate(rates, 24, "small")
    assert found
    assert found.promoted == 2


@given(st.permutations(RATES), st.integers(0, 100))
def test_order_of_measurements_does_not_matter(rates: list[SuccessRate], rows: int):
    assert nearest_rate(rates, rows, "small") == nearest_rate(RATES, rows, "small")


@pytest.mark.parametrize(
    "fault", [{"promoted": 9}, {"runs": 0, "promoted": 0}, {"rows": 0}, {"measured": "yesterday"}, {"chance": 0.9}]
)
def test_impossible_measurement_is_refused(fault: dict[str, Any]):
    values = rate(24).model_dump() | fault
    with pytest.raises(ValidationError):
        SuccessRates.model_validate({"format": 1, "measurements": [values]})
