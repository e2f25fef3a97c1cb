"""The calls of one model over time: a period for each hour or day, also for those without calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from kairos.db.repositories.monitoring.metrics import CallGroup

Number = TypeVar("Number", int, float)

MAX_DAYS = 90
DAYS_BY_HOUR = 2
"""Up to this many days are divided into hours."""


class Step(StrEnum):
    """Length of a period."""

    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self is Step.HOUR else timedelta(days=1)


@dataclass(slots=True)
class Period:
    """The calls of one hour or day, in UTC."""

    at: datetime
    """Its start."""
    calls: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """Number of failed calls by error code."""
    duration_s: float | None = None
    """Mean of the calls that succeeded, like `first_token_s`."""
    median_duration_s: float | None = None
    first_token_s: float | None = None
    median_first_token_s: float | None = None
    input_tokens: int | None = None
    """As counted by the server; None if nothing was counted, like `output_tokens`."""
    output_tokens: int | None = None
    cost_usd: float | None = None
    """Sum of the known costs."""

    def add(self, group: CallGroup) -> None:
        """Add calls of this period. Times are taken from the calls that succeeded."""
        self.calls += group.calls
        self.input_tokens = _sum(self.input_tokens, group.input_tokens)
        self.output_tokens = _sum(self.output_tokens, group.output_tokens)
        self.cost_usd = _sum(self.cost_usd, group.cost_usd)
        if group.error is not None:
            self.failures[group.error] = self.failures.get(group.error, 0) + group.calls
            return
        self.duration_s, self.median_duration_s = group.duration_s, group.median_duration_s
        self.first_token_s, self.median_first_token_s = group.first_token_s, group.median_first_token_s


def step_of(days: int) -> Step:
    """Return the length of the periods into which these days are divided."""
    return Step.HOUR if days <= DAYS_BY_HOUR else Step.DAY


def periods(days: int, now: datetime) -> list[Period]:
    """Return the empty periods of the last days in order. The last one contains `now`."""
    step = step_of(days)
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if step is Step.DAY:
        last = last.replace(hour=0)
    number = days * (24 if step is Step.HOUR else 1)
    return [Period(last - step.length * back) for back in reversed(range(number))]


def fill(empty: Iterable[Period], groups: Iterable[CallGroup]) -> list[Period]:
    """Add the calls to their periods. Calls outside of them are ignored: they were made since."""
    found = {period.at: period for period in empty}
    for group in groups:
        if period := found.get(group.at):
            period.add(group)
    return list(found.values())


def _sum(one: Number | None, other: Number | None) -> Number | None:
    return other if one is None else one if other is None else one + other
