"""The score that the router makes of what was measured: every term of it, pure arithmetic, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, sqrt

from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.statistics import Observation, RouterWeights, Sample, Statistics

__all__ = [
    "Exclusion",
    "Kind",
    "Observation",
    "Reason",
    "RouterWeights",
    "Sample",
    "Score",
    "Statistics",
    "cost_scale",
    "cost_term",
    "evidence",
    "expectation",
    "latency_term",
    "prior_quality",
]

SHORT_ENOUGH = 6.0
"""Weight from which the short memory may contradict: fewer verdicts are chance."""
VARIANCE_FLOOR = 0.02
"""Ten equal verdicts do not prove that the next one is equal."""

NEARLY_FREE = 1e-12
"""US dollars for a call below which a price is a free one, and no divisor."""


LONG = "/long"
"""What `task_types.statistics_key` puts behind the type of a long input; a specialty names the type alone."""


class Kind(StrEnum):
    """Why the chosen model was chosen."""

    EXPLOIT = "exploit"
    """It has the best utility, and would have it without the bonus for doubt."""
    EXPLORE = "explore"
    """It has the best utility because of the bonus for doubt."""
    STICKY = "sticky"
    """The session's model, or the incumbent, not beaten by more than the margin."""
    FALLBACK = "fallback"
    """The best of those that have not failed this request yet, or the last resort."""
    ONLY = "only"
    """Nothing else could be chosen, or the caller named it."""


class Reason(StrEnum):
    """Why a model was not a candidate."""

    CONTEXT = "context"
    CAPABILITY = "capability"
    NOT_LOCAL = "not_local"
    BUDGET = "budget"
    BREAKER = "breaker"
    TRIED = "tried"
    NOT_NAMED = "not_named"
    CANARY = "canary"
    """It is on trial, for a share of the requests that this one is not in."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model that was not a candidate, and why."""

    model: str
    reason: Reason
    detail: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One candidate with every term that made its utility (design.md, "How the router decides", 2 to 7)."""

    model: str
    n: float
    """Decayed number of quality observations of this task type."""
    pending: int
    """Decisions whose verdict has not come yet."""
    mu: float
    """Expected quality."""
    prior: float
    """Quality expected before anything was seen of this model at this task type."""
    prior_share: float
    """Weight of the prior in `mu`, in [0, 1]."""
    bonus: float
    """For doubt."""
    cost: float
    """Cost term c in [0, 1], not yet multiplied by `lambda_cost`."""
    expected_cost: float | None
    """US dollars; None where the price is unknown."""
    latency: float
    """Latency term l in [0, 1], not yet multiplied by `lambda_latency`."""
    expected_latency_s: float | None
    """Seconds; None where nothing was measured."""
    health: float
    """Penalty for a degraded model."""
    switching: float
    """Cost of loading it in the runner that it shares."""
    utility: float
    """mu + bonus − lambda_cost·cost − lambda_latency·latency − health − switching."""


def evidence(row: Statistics, w: RouterWeights) -> tuple[float, float]:
    """(weight, weight·mean) of a task type as a witness for the model's quality at the others.

    The weight n/(n+witness) saturates: many measurements of one task type say little about another one, and a model
    is measured most where it is best, so that a mean over all its observations flatters it (Efron & Morris 1975 shrink
    group means for the same reason).
    """
    weight = row.n / (row.n + w.witness)
    return (weight, weight * row.s / row.n) if row.n > 0.0 else (0.0, 0.0)


def prior_quality(model: Model, task_type: str, weight: float, weighted: float, w: RouterWeights) -> float:
    """Quality to expect before anything was seen at this task type, from the `evidence` of the other ones."""
    base = w.prior_quality if model.tier is None else model.tier
    prior = (w.prior_weight * base + weighted) / (w.prior_weight + weight)
    if task_type in model.specialties or task_type.removesuffix(LONG) in model.specialties:
        prior += w.specialty
    return 0.02 if prior < 0.02 else 0.98 if prior > 0.98 else prior


def expectation(row: Statistics, prior: float, row_n: float, w: RouterWeights) -> tuple[float, float, float]:
    """(n, mu, bonus): the believed memory's weight, its mean shrunk to the prior, and the doubt (design.md, 3 and 4).

    With m = n + kappa + pending, bonus = doubt·sqrt(var/m · (1 + ln(1 + min(N, horizon)/m))), N the observations of the
    task type: the ln(N/n) of MOSS (Audibert & Bubeck 2009) on the variance of a posterior. Without it, a model that was
    unlucky once or twice, or that joins late, is not tried again; without the horizon, a long-lived project would pay
    for trying models that it knows to be worse. Pending decisions count as if they had been seen, else every request
    until the first verdict would explore the same model.
    """
    n, s, q, kappa = row.n, row.s, row.q, w.kappa
    spread = q - s * s / n if n > 0.0 else 0.0
    short_n = row.short_n
    if short_n > SHORT_ENOUGH and n > 2.0 * short_n:
        gap = row.short_s / short_n - s / n
        variance = spread / n if spread > VARIANCE_FLOOR * n else VARIANCE_FLOOR
        if gap * gap * short_n > w.contradiction * w.contradiction * variance:
            n, s = short_n, row.short_s
            spread = row.short_q - s * s / n
    total = n + kappa
    variance = (kappa * w.prior_variance + (spread if spread > 0.0 else 0.0)) / total
    m = total + row.pending
    growth = 1.0 + log(1.0 + (row_n if row_n < w.doubt_horizon else w.doubt_horizon) / m)
    return n, (s + kappa * prior) / total, w.doubt * sqrt(variance / m * growth)


def cost_scale(costs: Iterable[float]) -> tuple[float, float]:
    """(floor, 1/ln(dearest/floor)) for `cost_term`. Free models count a tenth of the cheapest price: running them is
    never quite free, and ln 0 is not a cost."""
    known = [cost for cost in costs if cost >= 0.0]
    paid = [cost for cost in known if cost > NEARLY_FREE]
    if not paid:
        return 1.0, 0.0
    floor = min(paid) if len(paid) == len(known) else min(paid) / 10.0
    spread = log(max(paid) / floor)
    return floor, 1.0 / spread if spread > 1e-9 else 0.0


def cost_term(cost: float, floor: float, inverse: float) -> float:
    """c = clamp(ln(cost/cmin)/ln(cmax/cmin)) (design.md, 5). A negative cost is an unknown price: never cheap."""
    if cost < 0.0:
        return 1.0
    if cost <= floor:
        return 0.0
    term = log(cost / floor) * inverse
    return term if term < 1.0 else 1.0


def latency_term(seconds: float, target_s: float) -> float:
    """l = 1 − exp(−expected latency/target) (design.md, 5)."""
    return 1.0 - exp(-seconds / target_s)
