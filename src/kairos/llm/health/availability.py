"""Availability of models, as used by the router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a model may be called, and the utility penalty for its health."""

    open: bool = False
    """The circuit breaker is open or half-open with its probe in progress: no call before `retry_at`."""
    reason: str = ""
    retry_at: float | None = None
    penalty: float = 0.0
    """Utility penalty of a degraded model."""


HEALTHY = Availability()


class HealthLookup(Protocol):
    """Returns the availability of a model. Called for every model at every decision, so it must not block."""

    def __call__(self, model: str, now: float, /) -> Availability: ...
