"""The players of a replay: the router, and simple baselines."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kairos.llm.catalog.catalog import Model, Price
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.health.breaker import Breaker, FaultKind
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import Observation, RouterWeights

PROJECT = "replay"
TOKENS = 1000.0
"""Tokens of a replayed request. Prices are set so that the expected cost of a call is the model's recorded mean."""


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """The result of the chosen model, the only one shown to the player."""

    task_type: str
    model: int
    quality: float
    cost_usd: float
    latency_s: float | None
    token: int
    """The token that `choose` returned."""


class Player(Protocol):
    """Chooses a model for every prompt of an order, and observes only the outcome of its choice."""

    falls_back: bool
    """Whether it tries another model when a call fails."""

    def choose(self, task_type: str, now: float, failed: Sequence[int] = ()) -> tuple[int | None, int]:
        """Return (model, or None if none may be called; token)."""
        ...

    def observe(self, outcome: ReplayOutcome, now: float) -> None: ...
    def fail(self, model: int, token: int, now: float) -> None:
        """Report an infrastructure error of a call."""
        ...

    def succeed(self, model: int, now: float) -> None: ...
    def set_models(self, models: Iterable[int]) -> None:
        """Set the models that can be chosen from now on."""
        ...


class KairosPlayer:
    """The router: `ModelSelector` and `Breaker` as in production."""

    falls_back = True

    def __init__(self, names: Sequence[str], costs: Sequence[float], weights: RouterWeights) -> None:
        self._names = names
        self._index = {name: index for index, name in enumerate(names)}
        self._models = [
            Model(name, name, "replay:", price=Price(cost * 1e6 / TOKENS, 0.0))
            for name, cost in zip(names, costs, strict=True)
        ]
        self._breakers = {name: Breaker() for name in names}
        self._selector = ModelSelector(self._models, weights, self._availability)

    def choose(self, task_type: str, now: float, failed: Sequence[int] = ()) -> tuple[int | None, int]:
        exclude = frozenset(self._names[index] for index in failed)
        request = Request(PROJECT, task_type, input_tokens=TOKENS, output_tokens=0.0, exclude=exclude)
        decision = self._selector.select(request, now)
        if decision.chosen is None:
            return None, 0
        return self._index[decision.chosen], decision.ticket

    def observe(self, outcome: ReplayOutcome, now: float) -> None:
        seen = Observation(
            PROJECT,
            outcome.task_type,
            self._names[outcome.model],
            now,
            quality=outcome.quality,
            latency_s=outcome.latency_s,
            cost_usd=outcome.cost_usd,
        )
        self._selector.observe(seen, outcome.token)

    def fail(self, model: int, token: int, now: float) -> None:
        self._selector.release(token)
        breaker = self._breakers[self._names[model]]
        permit = breaker.acquire(now)
        if permit is not None:
            breaker.failed(permit, FaultKind.INFRASTRUCTURE, now)

    def succeed(self, model: int, now: float) -> None:
        breaker = self._breakers[self._names[model]]
        permit = breaker.acquire(now)
        if permit is not None:
            breaker.succeeded(permit, now)

    def set_models(self, models: Iterable[int]) -> None:
        self._selector.replace_models(self._models[index] for index in models)

    def _availability(self, model: str, now: float, /) -> Availability:
        breaker = self._breakers[model]
        if breaker.allows(now):
            return HEALTHY
        return Availability(
            open=True, reason=f"its circuit breaker is {breaker.state(now)}", retry_at=breaker.retry_at(now)
        )


class Thompson:
    """Thompson sampling with a Beta(1, 1) prior per task type and model (Agrawal & Goyal 2012). A quality between 0 and
    1 counts as a partial success. Costs are known, as for the router."""

    falls_back = False

    def __init__(self, penalties: Sequence[float], draws: random.Random) -> None:
        self._penalties = penalties
        self._draw = draws.betavariate
        self._beliefs: dict[str, list[list[float]]] = {}
        self._available: tuple[int, ...] = tuple(range(len(penalties)))

    def choose(self, task_type: str, now: float, failed: Sequence[int] = ()) -> tuple[int | None, int]:
        beliefs = self._of(task_type)
        return max(self._available, key=lambda m: self._draw(beliefs[m][0], beliefs[m][1]) - self._penalties[m]), 0

    def observe(self, outcome: ReplayOutcome, now: float) -> None:
        belief = self._of(outcome.task_type)[outcome.model]
        belief[0] += outcome.quality
        belief[1] += 1.0 - outcome.quality

    def fail(self, model: int, token: int, now: float) -> None: ...
    def succeed(self, model: int, now: float) -> None: ...
    def set_models(self, models: Iterable[int]) -> None:
        self._available = tuple(models)

    def _of(self, task_type: str) -> list[list[float]]:
        return self._beliefs.setdefault(task_type, [[1.0, 1.0] for _ in self._penalties])


class Uniform:
    """Chooses a model at random."""

    falls_back = False

    def __init__(self, models: int, draws: random.Random) -> None:
        self._draws = draws
        self._available = tuple(range(models))

    def choose(self, task_type: str, now: float, failed: Sequence[int] = ()) -> tuple[int | None, int]:
        return self._draws.choice(self._available), 0

    def observe(self, outcome: ReplayOutcome, now: float) -> None: ...
    def fail(self, model: int, token: int, now: float) -> None: ...
    def succeed(self, model: int, now: float) -> None: ...
    def set_models(self, models: Iterable[int]) -> None:
        self._available = tuple(models)
