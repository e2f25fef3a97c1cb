"""Whether a model may be called now, as the router sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Availability:
    """The live state of a model: whether it may be called, and the utility that its health costs."""

    open: bool = False
    """The breaker is open, or its one probe is under way: no call before `retry_at`."""
    reason: str = ""
    retry_at: float | None = None
    penalty: float = 0.0
    """Utility that a degraded model loses."""


HEALTHY = Availability()


class HealthLookup(Protocol):
    """Gives the availability of a model. Called for every model at every decision: it must not wait for anything."""

    def __call__(self, model: str, now: float, /) -> Availability: ...
