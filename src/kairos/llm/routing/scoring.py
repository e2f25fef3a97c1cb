"""The router's score with all its terms (docs/router.md): pure arithmetic, without I/O or a clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, sqrt

from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.statistics import Observation, RouterWeights, Sample, Statistics

__all__ = [
    "DecisionKind",
    "Exclusion",
    "Observation",
    "Reason",
    "RouterWeights",
    "Sample",
    "Score",
    "Statistics",
    "Term",
    "cost_scale",
    "cost_term",
    "evidence",
    "expectation",
    "latency_term",
    "prior_quality",
    "uncertainty",
    "weighted_terms",
]

SHORT_ENOUGH = 6.0
"""Minimum weight at which the short memory may override the long one; with fewer verdicts, differences are noise."""
VARIANCE_FLOOR = 0.02
"""Lower bound of the observed variance, because a run of equal verdicts does not make the next one certain."""

NEARLY_FREE = 1e-12
"""Cost of a call in US dollars below which it counts as free, to avoid division by tiny numbers."""


LONG = "/long"
"""Suffix that `task_types.statistics_key` adds for long inputs; specialties name the type without it."""


class DecisionKind(StrEnum):
    """The reason for choosing a model."""

    EXPLOIT = "exploit"
    """Best utility, also without the exploration bonus."""
    EXPLORE = "explore"
    """Best utility because of the exploration bonus."""
    STICKY = "sticky"
    """The model of the session or the incumbent, not beaten by more than the margin."""
    FALLBACK = "fallback"
    """The best model that has not failed this request yet, or the last resort."""
    ONLY = "only"
    """The only candidate, or requested by the caller."""


class Reason(StrEnum):
    """The reason for excluding a model."""

    CONTEXT = "context"
    CAPABILITY = "capability"
    NOT_LOCAL = "not_local"
    BUDGET = "budget"
    BREAKER = "breaker"
    UNUSABLE = "unusable"
    """This daemon cannot decrypt its key."""
    TRIED = "tried"
    NOT_NAMED = "not_named"
    CANARY = "canary"
    """A canary whose share does not include this request."""


class Term(StrEnum):
    """A term of the score."""

    QUALITY = "quality"
    BONUS = "bonus"
    COST = "cost"
    LATENCY = "latency"
    HEALTH = "health"
    SWITCHING = "switching"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An excluded model with the reason."""

    model: str
    reason: Reason
    detail: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A candidate's score with all its terms."""

    model: str
    n: float
    """Decayed number of quality observations of this task type."""
    pending: int
    """Decisions that await a verdict."""
    mu: float
    """Expected quality."""
    prior: float
    """Expected quality before any observation of this model at this task type."""
    prior_share: float
    """Weight of the prior in `mu`, in [0, 1]."""
    bonus: float
    """Exploration bonus for uncertainty."""
    cost: float
    """Cost term c in [0, 1], not yet multiplied by `lambda_cost`."""
    expected_cost: float | None
    """US dollars; None if the price is unknown."""
    latency: float
    """Latency term l in [0, 1], not yet multiplied by `lambda_latency`."""
    expected_latency_s: float | None
    """Seconds; None if nothing was measured."""
    health: float
    """Penalty for a degraded model."""
    switching: float
    """Penalty for loading the model into a shared runner."""
    utility: float
    """mu + bonus − lambda_cost·cost − lambda_latency·latency − health − switching."""


def evidence(row: Statistics, w: RouterWeights) -> tuple[float, float]:
    """Return (weight, weight·mean): a task type's evidence for the model's quality at other task types.

    The weight n/(n+evidence_scale) saturates, because many measurements of one task type predict little for another. A
    model is also measured most where it is best, so a mean over all its observations would overestimate it (Efron &
    Morris 1975 shrink group means for the same reason).
    """
    weight = row.n / (row.n + w.evidence_scale)
    return (weight, weight * row.s / row.n) if row.n > 0.0 else (0.0, 0.0)


def prior_quality(model: Model, task_type: str, weight: float, weighted: float, w: RouterWeights) -> float:
    """Return the expected quality without observations of this task type, from the `evidence` of the others."""
    base = w.prior_quality if model.tier is None else model.tier
    prior = (w.prior_weight * base + weighted) / (w.prior_weight + weight)
    if task_type in model.specialties or task_type.removesuffix(LONG) in model.specialties:
        prior += w.specialty
    return 0.02 if prior < 0.02 else 0.98 if prior > 0.98 else prior


def expectation(row: Statistics, prior: float, row_n: float, w: RouterWeights) -> tuple[float, float, float]:
    """Return (n, mu, bonus): the weight of the memory used, its mean shrunk towards the prior, and the exploration
    bonus.

    With m = n + kappa + pending, bonus = exploration·sqrt(var/m · (1 + ln(1 + min(N, horizon)/m))), where N is the
    number of observations of the task type. This is the ln(N/n) of MOSS (Audibert & Bubeck 2009) on a posterior
    variance. Without it, a model that was unlucky once or twice, or was added late, would not be tried again. Without
    the horizon, a long-lived project would keep paying to try models known to be worse. Pending decisions count as
    observations; otherwise every request until the first verdict would explore the same model.
    """
    n, s, spread = _memory(row, w)
    total = n + w.kappa
    m = total + row.pending
    growth = 1.0 + log(1.0 + (row_n if row_n < w.exploration_horizon else w.exploration_horizon) / m)
    bonus = w.exploration * sqrt(_variance(spread, total, w) / m * growth)
    return n, (s + w.kappa * prior) / total, bonus


def uncertainty(row: Statistics, w: RouterWeights) -> float:
    """Return the standard error of the expected quality `mu`: sqrt(variance/(n + kappa))."""
    n, _, spread = _memory(row, w)
    total = n + w.kappa
    return sqrt(_variance(spread, total, w) / total)


def weighted_terms(score: Score, w: RouterWeights) -> dict[Term, float]:
    """Return the weighted terms of a score. Their sum is its utility."""
    return {
        Term.QUALITY: score.mu,
        Term.BONUS: score.bonus,
        Term.COST: -w.lambda_cost * score.cost,
        Term.LATENCY: -w.lambda_latency * score.latency,
        Term.HEALTH: -score.health,
        Term.SWITCHING: -score.switching,
    }


def _memory(row: Statistics, w: RouterWeights) -> tuple[float, float, float]:
    """Return (n, s, n·variance) of the memory that counts: the short one if it contradicts the long one."""
    n, s, q = row.n, row.s, row.q
    spread = q - s * s / n if n > 0.0 else 0.0
    short_n = row.short_n
    if short_n > SHORT_ENOUGH and n > 2.0 * short_n:
        gap = row.short_s / short_n - s / n
        variance = spread / n if spread > VARIANCE_FLOOR * n else VARIANCE_FLOOR
        if gap * gap * short_n > w.contradiction * w.contradiction * variance:
            n, s = short_n, row.short_s
            spread = row.short_q - s * s / n
    return n, s, spread


def _variance(spread: float, total: float, w: RouterWeights) -> float:
    """Return the posterior variance of one observation."""
    return (w.kappa * w.prior_variance + (spread if spread > 0.0 else 0.0)) / total


def cost_scale(costs: Iterable[float]) -> tuple[float, float]:
    """Return (floor, 1/ln(highest/floor)) for `cost_term`. Free models count as a tenth of the lowest price, because
    running them is not quite free and ln 0 is undefined."""
    known = [cost for cost in costs if cost >= 0.0]
    paid = [cost for cost in known if cost > NEARLY_FREE]
    if not paid:
        return 1.0, 0.0
    floor = min(paid) if len(paid) == len(known) else min(paid) / 10.0
    spread = log(max(paid) / floor)
    return floor, 1.0 / spread if spread > 1e-9 else 0.0


def cost_term(cost: float, floor: float, inverse: float) -> float:
    """c = clamp(ln(cost/cmin)/ln(cmax/cmin)). A negative cost means an unknown price, which counts as the highest."""
    if cost < 0.0:
        return 1.0
    if cost <= floor:
        return 0.0
    term = log(cost / floor) * inverse
    return term if term < 1.0 else 1.0


def latency_term(seconds: float, target_s: float) -> float:
    """l = 1 − exp(−expected latency/target)."""
    return 1.0 - exp(-seconds / target_s)
