"""The live health of each model, from actual calls and from connection probes of idle servers.

Everything is in memory and returns immediately. `shared_breakers.py` exchanges changes with the other replicas;
`probes.py` checks whether idle servers can be reached.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from kairos.llm.calls.providers import ModelCallError, ModelTimeout, ModelUnreachable
from kairos.llm.health import breaker as limits
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.health.breaker import Breaker, BreakerState, FaultKind

RECENT = 50
WINDOW_S = 300.0
"""Only calls of this age count, and at most `RECENT` of them."""
DEGRADED_SHARE = 0.2
SLOW_SHARE = 0.5
SLOW_FACTOR = 4.0
SLOW_AT_LEAST_S = 2.0
"""An answer is slow if its first token took this many times as long as usual for the model, and at least this long."""
USUAL_WEIGHT = 0.1
SLOW_GROWTH = 1.02
"""Growth of the usual time per slow answer: a server that stays slow becomes normal after some dozens."""
MAX_PENALTY = 0.2
"""Utility penalty if every recent call failed while the breaker is closed. Slow answers have no penalty here, because
the router's latency term covers them."""


class ModelHealthState(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """A model's health, as displayed."""

    state: ModelHealthState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LastError:
    """The last error of a model."""

    message: str = ""
    unreachable: bool = False
    """No connection was established. Only this kind of error is cleared by a successful listing."""


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """One transition of a breaker, which can be reapplied to a state written by another replica.

    A change of state sets a random generation: two replicas that change the same state independently never issue the
    same permit.
    """

    act: Callable[[Breaker], Any]
    generation: int = field(default_factory=lambda: random.getrandbits(62))

    def __call__(self, breaker: Breaker) -> Any:
        before = breaker.generation
        result = self.act(breaker)
        if breaker.generation != before:
            breaker.generation = self.generation
        return result


class _RecentCall(NamedTuple):
    at: float
    failed: bool
    slow: bool


class _CachedAvailability(NamedTuple):
    until: float
    """Time at which the availability may change by itself."""
    availability: Availability


@dataclass(slots=True)
class _Record:
    breaker: Breaker = field(default_factory=Breaker)
    recent: deque[_RecentCall] = field(default_factory=lambda: deque(maxlen=RECENT))
    last_error: LastError = LastError()
    called_at: float = 0.0
    usual_s: float | None = None
    """Moving average of the time to the first token, without slow answers."""

    def share(self, now: float, kind: Callable[[_RecentCall], bool]) -> float:
        seen = [kind(each) for each in self.recent if each.at > now - WINDOW_S]
        return sum(seen) / len(seen) if seen else 0.0

    def failing(self, now: float) -> float:
        return self.share(now, lambda seen: seen.failed)

    def slow(self, now: float) -> float:
        return self.share(now, lambda seen: seen.slow)

    def is_slow(self, first_token_s: float | None) -> bool:
        """Return whether an answer was slow; otherwise include it in the average."""
        if first_token_s is None:
            return False
        if self.usual_s is not None and first_token_s > max(SLOW_AT_LEAST_S, SLOW_FACTOR * self.usual_s):
            self.usual_s *= SLOW_GROWTH
            return True
        usual = first_token_s if self.usual_s is None else self.usual_s
        self.usual_s = usual + USUAL_WEIGHT * (first_token_s - usual)
        return False


class ModelHealth:
    """Circuit breaker and recent calls of each model. Every method returns immediately.

    Models need not be registered, because adapters come and go.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Record] = defaultdict(_Record)
        self._availability: dict[str, _CachedAvailability] = {}
        """Contains only models with problems, because the selector reads the availability of every model at every
        decision."""
        self.changed: Callable[[str, BreakerChange], None] = lambda model, change: None
        """Called with every change of a breaker made here."""
        self.redis_unavailable = False
        """Whether Redis is unavailable and this replica uses its own breakers."""
        self.problems: Mapping[str, str] = {}
        """Models that this replica cannot call at all, with the reason."""

    def __call__(self, model: str, now: float) -> Availability:
        """Return the availability of a model. Called by the selector before every decision."""
        cached = self._availability.get(model)
        if cached is None:
            return HEALTHY
        return cached.availability if now < cached.until else self._evaluate(model, now)

    def is_probe(self, model: str, now: float) -> bool:
        """Whether the next call would be the probe of an open breaker."""
        return self._records[model].breaker.state(now) is BreakerState.HALF_OPEN

    def acquire(self, model: str, now: float) -> int | None:
        """Return a permit for one call, or None while another call is the probe. Report the result with `succeeded`,
        `failed` or `abandoned`."""
        record = self._records[model]
        record.called_at = now
        given = self._change(model, lambda breaker: breaker.acquire(now))
        return None if given is None else record.breaker.generation

    def succeeded(self, model: str, permit: int, now: float, first_token_s: float | None = None) -> None:
        record = self._records[model]
        record.recent.append(_RecentCall(now, failed=False, slow=record.is_slow(first_token_s)))
        self._change(model, lambda breaker: breaker.succeeded(permit, now))

    def failed(self, model: str, permit: int, error: ModelCallError, now: float) -> None:
        fault, record = _fault(error), self._records[model]
        if fault is not FaultKind.OURS:
            record.recent.append(_RecentCall(now, failed=True, slow=False))
            if permit == record.breaker.generation or not record.last_error.message:  # else the error is newer
                record.last_error = LastError(_public_message(error), isinstance(error, ModelUnreachable))
        self._change(model, lambda breaker: breaker.failed(permit, fault, now, error.retry_after_s))

    def abandoned(self, model: str, permit: int) -> None:
        """Report that Kairos cancelled the call: not a fault of the server."""
        self._change(model, lambda breaker: breaker.abandoned(permit))

    def unreachable(self, model: str, message: str, now: float) -> None:
        """Report that a probe could not connect. Counts as a failed call, so that no user's call is spent on the
        server."""
        breaker = self._records[model].breaker
        if breaker.refused:
            return
        self._records[model].last_error = LastError(message, unreachable=True)
        if breaker.state(now) is BreakerState.CLOSED:
            permit = breaker.generation
            self._change(model, lambda breaker: breaker.failed(permit, FaultKind.INFRASTRUCTURE, now))
        else:
            self._change(model, lambda breaker: _postpone(breaker, now))

    def reachable(self, model: str, now: float) -> None:
        """Report that a probe connected. If the server was unreachable before, the next call tries it. A breaker opened
        by errors stays open: a server that lists its models may still fail to answer."""
        if self.is_unreachable(model):
            self._records[model].last_error = LastError("its server is reachable again; the next call tries it")
            self._change(model, lambda breaker: _bring_forward(breaker, now))

    def reset(self, model: str) -> None:
        """Reset a model's health at a user's request."""
        record = self._records[model]
        record.recent.clear()
        record.last_error = LastError()
        self._change(model, lambda breaker: breaker.reset())

    def discard(self, model: str) -> None:
        """Discard a model's health, because it was removed or its name now belongs to an adapter on another server.

        Results of calls that are still running do not affect the new breaker.
        """
        self._records[model] = _Record(Breaker(generation=random.getrandbits(62)))
        self._availability.pop(model, None)

    def last_called_at(self, model: str) -> float:
        """Return when the model was called last; 0 for never."""
        return self._records[model].called_at

    def is_unreachable(self, model: str) -> bool:
        """Whether its server was unreachable at the last attempt."""
        record = self._records[model]
        return record.last_error.unreachable and (record.breaker.errors > 0 or record.breaker.until != 0.0)

    def snapshot(self, model: str) -> tuple[Breaker, LastError]:
        """Return the breaker and the last error."""
        record = self._records[model]
        return record.breaker, record.last_error

    def apply_shared(self, model: str, breaker: Breaker, last_error: LastError) -> None:
        """Apply the state shared by all replicas."""
        record = self._records[model]
        if record.breaker.refused and not breaker.refused:  # a user reset it
            record.recent.clear()
        record.breaker, record.last_error = breaker, last_error
        self._availability[model] = _CachedAvailability(-math.inf, HEALTHY)  # evaluated when read

    def status(self, model: str, now: float) -> HealthStatus:
        """Return a model's health for display."""
        if problem := self.problems.get(model):
            return HealthStatus(ModelHealthState.UNHEALTHY, problem)
        record = self._records.get(model)
        if record is None or not (record.called_at or record.last_error.message):
            return HealthStatus(ModelHealthState.HEALTHY, "not called yet")
        message = record.last_error.message
        if record.breaker.state(now) is not BreakerState.CLOSED:
            return HealthStatus(ModelHealthState.UNHEALTHY, message)
        if self.is_unreachable(model):
            return HealthStatus(ModelHealthState.UNHEALTHY, message)
        if record.failing(now) >= DEGRADED_SHARE:
            return HealthStatus(
                ModelHealthState.DEGRADED, f"{record.failing(now):.0%} of recent calls failed: {message}"
            )
        if record.slow(now) >= SLOW_SHARE:
            return HealthStatus(ModelHealthState.DEGRADED, f"{record.slow(now):.0%} of recent answers started late")
        return HealthStatus(ModelHealthState.HEALTHY)

    def _change(self, model: str, act: Callable[[Breaker], Any]) -> Any:
        record, change = self._records[model], BreakerChange(act)
        before = replace(record.breaker)
        result = change(record.breaker)
        if record.breaker != before:
            self.changed(model, change)
        if record.breaker != before or record.recent:
            self._availability[model] = _CachedAvailability(-math.inf, HEALTHY)
        return result

    def _evaluate(self, model: str, now: float) -> Availability:
        record = self._records[model]
        breaker = record.breaker
        if not breaker.allows(now):
            retry_at = breaker.retry_at(now)
            reason = f"its circuit breaker is {breaker.state(now)}: {record.last_error.message}"
            availability = Availability(open=True, reason=reason, retry_at=retry_at)
            self._availability[model] = _CachedAvailability(math.inf if retry_at is None else retry_at, availability)
            return availability
        failed_at = [seen.at for seen in record.recent if seen.failed and seen.at > now - WINDOW_S]
        if not failed_at:
            del self._availability[model]
            return HEALTHY
        availability = Availability(penalty=MAX_PENALTY * record.failing(now))
        oldest = next(seen.at for seen in record.recent if seen.at > now - WINDOW_S)
        self._availability[model] = _CachedAvailability(oldest + WINDOW_S, availability)
        return availability


def _postpone(breaker: Breaker, now: float) -> None:
    """Postpone the next call by a period, unless a probe is in progress."""
    if not breaker.refused and breaker.until != 0.0 and now >= breaker.probe_until:
        breaker.until = max(breaker.until, now + limits.PERIOD_S)


def _bring_forward(breaker: Breaker, now: float) -> None:
    """Make an open breaker half-open now. A closed one stays closed, without its errors."""
    if breaker.refused:
        return
    breaker.errors = 0
    if breaker.until > now:
        breaker.until = now


def _fault(error: ModelCallError) -> FaultKind:
    if error.infrastructure:
        return FaultKind.INFRASTRUCTURE
    return FaultKind.REFUSED if error.permanent else FaultKind.OURS


def _public_message(error: ModelCallError) -> str:
    """Return the error's message without the text from the server, which may contain a prompt: every project sees a
    model's health."""
    if isinstance(error, ModelUnreachable | ModelTimeout) or not error.reason:
        return str(error)
    return str(error).replace(error.reason, "…")
