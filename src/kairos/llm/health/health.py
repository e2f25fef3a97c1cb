"""The live health of each model: from the calls that were really made, and from cheap looks at quiet servers.

All of it is in memory and answers at once. `shared_breakers.py` tells the other replicas what changes here and brings
what changed there, `probes.py` looks whether quiet servers can be reached.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from kairos.llm.calls.providers import ModelCallError, ModelTimeout, ModelUnreachable
from kairos.llm.health import breaker as limits
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.health.breaker import Breaker, BreakerState, FaultKind

RECENT = 50
WINDOW_S = 300.0
"""Calls that count: so many, and no older than this."""
DEGRADED_SHARE = 0.2
SLOW_SHARE = 0.5
SLOW_FACTOR = 4.0
SLOW_AT_LEAST_S = 2.0
"""An answer is slow whose first token took so many times as long as is usual for the model, and at least so long."""
USUAL_WEIGHT = 0.1
SLOW_GROWTH = 1.02
"""Of what is usual, for each slow answer: a server that stays slow is the usual one after some dozens."""
MAX_PENALTY = 0.2
"""Utility lost when every recent call failed while the breaker is closed. Slow answers lose none here: the router's
latency term has them already."""


class HealthState(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """What a person sees of a model's health."""

    state: HealthState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LastError:
    """The last thing that went wrong."""

    message: str = ""
    unreachable: bool = False
    """No connection came about: a listing that works shows that this is over, as it does of nothing else."""


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """One transition of a breaker, which can be made again on the state that another replica has written meanwhile.

    A change of state takes the change's own mark as its generation: two replicas that change the same state apart
    from each other never give the same permit.
    """

    act: Callable[[Breaker], Any]
    mark: int = field(default_factory=lambda: random.getrandbits(62))

    def __call__(self, breaker: Breaker) -> Any:
        before = breaker.generation
        result = self.act(breaker)
        if breaker.generation != before:
            breaker.generation = self.mark
        return result


class _RecentCall(NamedTuple):
    at: float
    failed: bool
    slow: bool


class _CachedAvailability(NamedTuple):
    until: float
    """When time alone may change the availability."""
    availability: Availability


@dataclass(slots=True)
class _Record:
    breaker: Breaker = field(default_factory=Breaker)
    recent: deque[_RecentCall] = field(default_factory=lambda: deque(maxlen=RECENT))
    last_error: LastError = LastError()
    called_at: float = 0.0
    usual_s: float | None = None
    """First token of the answers that were not slow, an average that fades."""

    def share(self, now: float, kind: Callable[[_RecentCall], bool]) -> float:
        seen = [kind(each) for each in self.recent if each.at > now - WINDOW_S]
        return sum(seen) / len(seen) if seen else 0.0

    def failing(self, now: float) -> float:
        return self.share(now, lambda seen: seen.failed)

    def slow(self, now: float) -> float:
        return self.share(now, lambda seen: seen.slow)

    def is_slow(self, first_token_s: float | None) -> bool:
        """Whether this answer was, and takes it into what is usual if not."""
        if first_token_s is None:
            return False
        if self.usual_s is not None and first_token_s > max(SLOW_AT_LEAST_S, SLOW_FACTOR * self.usual_s):
            self.usual_s *= SLOW_GROWTH
            return True
        usual = first_token_s if self.usual_s is None else self.usual_s
        self.usual_s = usual + USUAL_WEIGHT * (first_token_s - usual)
        return False


class ModelHealth:
    """A breaker and the recent calls of each model. Every method returns at once.

    A model need not be known before it is asked for: adapters come and go.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Record] = defaultdict(_Record)
        self._availability: dict[str, _CachedAvailability] = {}
        """Only models with some last_error are in it: the selector asks for every model at every decision."""
        self.changed: Callable[[str, BreakerChange], None] = lambda model, change: None
        """Told of every change of a breaker that was made here."""
        self.redis_unavailable = False
        """Redis is away: this replica goes by its own breakers."""

    def __call__(self, model: str, now: float) -> Availability:
        """What the selector asks before every choice."""
        cached = self._availability.get(model)
        if cached is None:
            return HEALTHY
        return cached.availability if now < cached.until else self._evaluate(model, now)

    def is_probe(self, model: str, now: float) -> bool:
        """Whether the next call would be the one that decides about an open breaker."""
        return self._records[model].breaker.state(now) is BreakerState.HALF_OPEN

    def acquire(self, model: str, now: float) -> int | None:
        """Permission for one call; None when another call is the probe. Report its end with one of the three below."""
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
            if (
                permit == record.breaker.generation or not record.last_error.message
            ):  # else the last_error is a newer one
                record.last_error = LastError(_public_message(error), isinstance(error, ModelUnreachable))
        self._change(model, lambda breaker: breaker.failed(permit, fault, now, error.retry_after_s))

    def abandoned(self, model: str, permit: int) -> None:
        """Kairos stopped the call itself: nothing is known of the server."""
        self._change(model, lambda breaker: breaker.abandoned(permit))

    def unreachable(self, model: str, message: str, now: float) -> None:
        """A look at its server made no connection: as good as a failed call, and no call is spent on it meanwhile."""
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
        """A look at its server found it. Where it could not be reached before, the next call tries it; a breaker that
        errors opened stays as it is: a server that lists its models may still answer nothing."""
        if self.is_unreachable(model):
            self._records[model].last_error = LastError("its server can be reached again, and the next call tries it")
            self._change(model, lambda breaker: _bring_forward(breaker, now))

    def reset(self, model: str) -> None:
        """A person tries again."""
        record = self._records[model]
        record.recent.clear()
        record.last_error = LastError()
        self._change(model, lambda breaker: breaker.reset())

    def discard(self, model: str) -> None:
        """It left the catalogue, or is another model now: an adapter that came, or moved to another server.

        Calls of the old one that are still under way tell the new one's breaker nothing.
        """
        self._records[model] = _Record(Breaker(generation=random.getrandbits(62)))
        self._availability.pop(model, None)

    def last_called_at(self, model: str) -> float:
        """When the model was called last; 0 for never."""
        return self._records[model].called_at

    def is_unreachable(self, model: str) -> bool:
        """Whether its server could not be reached when it was last tried."""
        record = self._records[model]
        return record.last_error.unreachable and (record.breaker.errors > 0 or record.breaker.until != 0.0)

    def snapshot(self, model: str) -> tuple[Breaker, LastError]:
        """The breaker as it stands and the last_error behind it."""
        record = self._records[model]
        return record.breaker, record.last_error

    def take_over(self, model: str, breaker: Breaker, last_error: LastError) -> None:
        """What all replicas know."""
        record = self._records[model]
        if record.breaker.refused and not breaker.refused:  # a person reset it
            record.recent.clear()
        record.breaker, record.last_error = breaker, last_error
        self._availability[model] = _CachedAvailability(-math.inf, HEALTHY)  # cached when it is asked for

    def status(self, model: str, now: float) -> HealthStatus:
        record = self._records.get(model)
        if record is None or not (record.called_at or record.last_error.message):
            return HealthStatus(HealthState.HEALTHY, "not called yet")
        message = record.last_error.message
        if record.breaker.state(now) is not BreakerState.CLOSED:
            return HealthStatus(HealthState.UNHEALTHY, message)
        if self.is_unreachable(model):
            return HealthStatus(HealthState.UNHEALTHY, message)
        if record.failing(now) >= DEGRADED_SHARE:
            return HealthStatus(HealthState.DEGRADED, f"{record.failing(now):.0%} of recent calls failed: {message}")
        if record.slow(now) >= SLOW_SHARE:
            return HealthStatus(HealthState.DEGRADED, f"{record.slow(now):.0%} of recent answers began late")
        return HealthStatus(HealthState.HEALTHY)

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
            reason = f"its breaker is {breaker.state(now)}: {record.last_error.message}"
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
    """Called again no sooner than a period from now, unless a call tries it at this moment."""
    if not breaker.refused and breaker.until != 0.0 and now >= breaker.probe_until:
        breaker.until = max(breaker.until, now + limits.PERIOD_S)


def _bring_forward(breaker: Breaker, now: float) -> None:
    """Half-open from now on; a closed one stays closed, and its errors are over."""
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
    """Its message without the server's own message: they may repeat a prompt, and every project sees a model's health."""
    if isinstance(error, ModelUnreachable | ModelTimeout) or not error.reason:
        return str(error)
    return str(error).replace(error.reason, "…")
