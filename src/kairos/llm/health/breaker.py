"""The breaker of one model under one credential: a state machine with the caller's clock, no I/O.

    permit = breaker.acquire(now)          # None: do not call
    breaker.succeeded(permit, now)         # or failed(permit, fault, now, retry_after_s), or abandoned(permit)

Three infrastructure errors in a row open it, for a period that doubles up to eight times; then one probe decides
(Nygard, Release It!, ch. 5; design.md, "How the router decides", 8). It says nothing of quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ERRORS_IN_A_ROW = 3
PERIOD_S = 30.0
MAX_PERIODS = 8
"""How many periods it stays open at most."""
PROBE_S = 120.0
"""Time after which a probe that never reported counts as lost, and another may go."""
MAX_RETRY_AFTER_S = 3600.0
"""A server that asks for more than an hour is asked again after an hour."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    REFUSED = "refused"
    """The server turned the credential or the model's name down: no time heals that, only a person."""


class FaultKind(StrEnum):
    """What a failed call says of the model's server."""

    INFRASTRUCTURE = "infrastructure"
    """No answer in its time, 5xx, 429: it may pass."""
    REFUSED = "refused"
    """401, 402, 403, 404: it stays so until the configuration changes or a person tries again."""
    OURS = "ours"
    """Our cancel or deadline, or a request that the server rightly rejected: nothing is known of the server."""


REFUSALS = frozenset({401, 402, 403, 404})
OVERLOADED = frozenset({408, 425, 429})


def fault_of(status: int | None) -> FaultKind:
    """The fault that an HTTP status stands for; None is a call without an answer (refused, reset, timed out)."""
    if status in REFUSALS:
        return FaultKind.REFUSED
    if status is None or status >= 500 or status in OVERLOADED:
        return FaultKind.INFRASTRUCTURE
    return FaultKind.OURS


@dataclass(slots=True)
class Breaker:
    """Closed, open until a moment, half-open with at most one probe, or refused."""

    errors: int = 0
    """Infrastructure errors in a row while closed."""
    periods: int = 0
    """For how many periods it was opened last: 0 is closed, then 1, 2, 4, 8."""
    until: float = 0.0
    """When it may be probed."""
    refused: bool = False
    probe_until: float = 0.0
    """Until when a probe is under way; 0 is none."""
    generation: int = 0
    """Raised at every change of state: what an older call reports is about a state that is over."""

    def state(self, now: float) -> BreakerState:
        if self.refused:
            return BreakerState.REFUSED
        if self.until == 0.0:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether `acquire` would give a permit now."""
        if self.refused:
            return False
        return self.until == 0.0 or (now >= self.until and now >= self.probe_until)

    def retry_at(self, now: float) -> float | None:
        """When it may be tried next: None where time alone does not help."""
        return None if self.refused else max(self.until, self.probe_until, now)

    def acquire(self, now: float) -> int | None:
        """Permission for one call; None is a refusal. While half-open, only one call at a time has it."""
        if not self.allows(now):
            return None
        if self.state(now) is BreakerState.HALF_OPEN:
            self.generation += 1
            self.probe_until = now + PROBE_S
        return self.generation

    def succeeded(self, permit: int, now: float) -> None:
        """The server answered."""
        if permit != self.generation:
            return
        if self.until != 0.0 or self.refused:
            self._close()
        self.errors = 0

    def failed(self, permit: int, fault: FaultKind, now: float, retry_after_s: float | None = None) -> None:
        """The call brought no answer. A server that says when to come back is not called before."""
        if fault is FaultKind.OURS:
            self.abandoned(permit)
        elif permit != self.generation:
            return
        elif fault is FaultKind.REFUSED:
            self.refused, self.probe_until = True, 0.0
            self.generation += 1
        else:
            self._count(now, retry_after_s)

    def abandoned(self, permit: int) -> None:
        """We stopped the call ourselves: a probe may be sent again."""
        if permit == self.generation:
            self.probe_until = 0.0

    def reset(self) -> None:
        """The configuration changed, or a person tries again."""
        self._close()

    def to_dict(self) -> dict[str, Any]:
        """For the store that replicas share."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Breaker:
        return cls(**stored)

    def _count(self, now: float, retry_after_s: float | None) -> None:
        self.errors += 1
        wait = min(retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        if self.until != 0.0:  # the probe failed
            self._open(now, min(max(self.periods * 2, 1), MAX_PERIODS), wait)
        elif self.errors >= ERRORS_IN_A_ROW:
            self._open(now, 1, wait)
        elif wait > 0.0:
            self._open(now, 0, wait)

    def _open(self, now: float, periods: int, wait_s: float) -> None:
        self.periods = periods
        self.until = now + max(periods * PERIOD_S, wait_s)
        self.probe_until = 0.0
        self.generation += 1

    def _close(self) -> None:
        self.errors = self.periods = 0
        self.until = self.probe_until = 0.0
        self.refused = False
        self.generation += 1
