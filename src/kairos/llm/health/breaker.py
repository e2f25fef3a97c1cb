"""The circuit breaker of one model and credential: a state machine without I/O; the caller supplies the time.

    permit = breaker.acquire(now)          # None: do not call
    breaker.succeeded(permit, now)         # or failed(permit, fault, now, retry_after_s), or abandoned(permit)

Three infrastructure errors in a row open it for a period that doubles up to eight times; after that, one probe decides
(Nygard, Release It!, ch. 5). It does not consider quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

ERRORS_IN_A_ROW = 3
PERIOD_S = 30.0
MAX_PERIODS = 8
"""Maximum number of periods that it stays open."""
PROBE_S = 120.0
"""Time after which a probe without a result counts as lost and another may start."""
MAX_RETRY_AFTER_S = 3600.0
"""Maximum accepted Retry-After."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    REFUSED = "refused"
    """The server refused the credential or the model's name. Only a configuration change or a manual reset closes
    it."""


class FaultKind(StrEnum):
    """The kind of a failed call."""

    INFRASTRUCTURE = "infrastructure"
    """No answer in time, 5xx or 429: may be temporary."""
    REFUSED = "refused"
    """401, 402, 403, 404: permanent until the configuration changes or a user resets the breaker."""
    OURS = "ours"
    """Kairos' own cancellation or deadline, or a request that the server rejected rightly: not a fault of the
    server."""


@dataclass(slots=True)
class Breaker:
    """Closed, open until a given time, half-open with at most one probe, or refused."""

    errors: int = 0
    """Consecutive infrastructure errors while closed."""
    periods: int = 0
    """Number of periods of the last opening: 0 if closed, then 1, 2, 4, 8."""
    until: float = 0.0
    """Time from which it may be probed."""
    refused: bool = False
    probe_until: float = 0.0
    """Time until which a probe is in progress; 0 for none."""
    generation: int = 0
    """Increased at every change of state. Results of calls with an older generation are ignored."""

    def state(self, now: float) -> BreakerState:
        if self.refused:
            return BreakerState.REFUSED
        if self.until == 0.0:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether `acquire` would grant a permit now."""
        if self.refused:
            return False
        return self.until == 0.0 or (now >= self.until and now >= self.probe_until)

    def retry_at(self, now: float) -> float | None:
        """Return when it may be tried again; None if waiting does not help."""
        return None if self.refused else max(self.until, self.probe_until, now)

    def acquire(self, now: float) -> int | None:
        """Return a permit for one call, or None. While half-open, only one call at a time gets a permit."""
        if not self.allows(now):
            return None
        if self.state(now) is BreakerState.HALF_OPEN:
            self.generation += 1
            self.probe_until = now + PROBE_S
        return self.generation

    def succeeded(self, permit: int, now: float) -> None:
        """Report that the server answered."""
        if permit != self.generation:
            return
        if self.until != 0.0 or self.refused:
            self._close()
        self.errors = 0

    def failed(self, permit: int, fault: FaultKind, now: float, retry_after_s: float | None = None) -> None:
        """Report a failed call. A Retry-After of the server is respected."""
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
        """Report that Kairos cancelled the call: another probe may start."""
        if permit == self.generation:
            self.probe_until = 0.0

    def reset(self) -> None:
        """Close the breaker after a configuration change or at a user's request."""
        self._close()

    def to_dict(self) -> dict[str, Any]:
        """Return the state for the shared store."""
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
