"""A model's calls by hour or day."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from kairos.db.repositories.monitoring.metrics import CallGroup
from kairos.monitoring.call_history import DAYS_BY_HOUR, MAX_DAYS, Period, Step, fill, periods, step_of

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=ZONES)


def group(at: datetime, calls: int = 1, error: str | None = None, **values: float | None) -> CallGroup:
    times = dict.fromkeys(("duration_s", "median_duration_s", "first_token_s", "median_first_token_s"))
    sums = dict.fromkeys(("input_tokens", "output_tokens", "cost_usd"))
    return CallGroup(at, error, calls, **{**times, **sums, **values})  # type: ignore[arg-type]


@given(days=st.integers(1, MAX_DAYS), now=TIMES)
def test_periods_are_whole_hours_or_days_of_utc_without_gaps(days: int, now: datetime):
    found, step = periods(days, now), step_of(days)
    assert len(found) == (days * 24 if days <= DAYS_BY_HOUR else days)
    assert found[-1].at <= now < found[-1].at + step.length
    for one, following in itertools.pairwise(found):
        assert following.at - one.at == step.length
    for period in found:
        assert period.at.utcoffset() == timedelta()
        assert (period.at.minute, period.at.second, period.at.microsecond) == (0, 0, 0)
        assert step is Step.HOUR or period.at.hour == 0


def test_calls_that_failed_are_counted_by_reason_and_do_not_change_the_times():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    good = group(at, 5, duration_s=2.0, median_duration_s=1.5, input_tokens=50, cost_usd=0.5)
    bad = group(at, 2, "model_timeout", duration_s=600.0, median_duration_s=600.0, cost_usd=None)
    half = group(at, 1, "model_stream_cut", duration_s=9.0, input_tokens=7, cost_usd=0.25)
    for groups in ((good, bad, half), (half, bad, good)):
        [period] = fill([Period(at)], groups)
        assert (period.calls, period.failures) == (8, {"model_timeout": 2, "model_stream_cut": 1})
        assert (period.duration_s, period.median_duration_s) == (2.0, 1.5)
        assert (period.input_tokens, period.output_tokens, period.cost_usd) == (57, None, 0.75)


def test_calls_outside_the_periods_are_ignored():
    """The clock of PostgreSQL may be ahead, or a call may have been stored after the periods were computed."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    in_other_zone = at.astimezone(timezone(timedelta(hours=3)))
    [period] = fill([Period(at)], [group(in_other_zone, 3), group(at + timedelta(days=1))])
    assert period.calls == 3
