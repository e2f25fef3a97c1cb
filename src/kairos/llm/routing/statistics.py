"""Decayed statistics of a model at a task type, shared between replicas: pure functions without a clock.

A replica flushes raw batches: n = n·γ^k·2^(−Δt/half-life) + Δn, and the same for s and q, where k is the number of the
task type's observations in the batch. Each sample keeps its position, so that a late label is applied with the sample's
present weight. Flushing differences of decayed sums would give wrong results with several replicas.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterWeights:
    """The parameters of the router's score. A project may change the lambdas."""

    lambda_cost: float = 0.15
    """Quality traded for the cheapest instead of the most expensive model."""
    lambda_latency: float = 0.10
    """Quality traded for an instant answer instead of an endless one."""
    latency_target_s: float = 8.0
    """The latency that costs 63 % of `lambda_latency` (1 − 1/e)."""
    latency_unknown: float = 0.5
    """Latency term of a model without measured latency."""
    kappa: float = 3.0
    """Weight of the prior, in observations."""
    exploration: float = 0.7
    """Posterior standard deviations added to the expected quality, before the growth term."""
    exploration_horizon: float = 100.0
    """Number of observations of a task type up to which the bonus of rarely tried models grows."""
    prior_variance: float = 0.2
    """Prior variance of one observation; .25 would be a fair coin's."""
    prior_quality: float = 0.6
    """Prior quality of a model without a declared tier or measurements."""
    prior_weight: float = 2.0
    """Weight of `prior_quality`, in well-measured other task types."""
    evidence_scale: float = 4.0
    """Observations at which another task type contributes half of its maximum weight to the prior."""
    specialty: float = 0.15
    """Bonus of a declared specialty, added to the prior."""
    gamma: float = 0.9995
    """Decay of an observation for each further observation of its task type."""
    short_gamma: float = 0.95
    """Decay in the short memory for each further observation of its own model at this task type."""
    contradiction: float = 3.5
    """Difference between short and long memory, in standard errors, above which the short one is used."""
    half_life_s: float = 14 * 86400.0
    """Time after which an observation has half its weight."""
    margin: float = 0.02
    """Utility margin by which another model must beat the incumbent."""
    switching: float = 0.05
    """Utility penalty while another model is loaded in the shared runner."""
    pending_expiry_s: float = 900.0
    """Time after which a decision without a verdict stops counting as pending."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The measurements of one call. None marks values that were not measured."""

    project_id: Hashable
    task_type: str
    model: str
    at: float
    quality: float | None = None
    first_token_s: float | None = None
    latency_s: float | None = None
    tokens_per_s: float | None = None
    cost_usd: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An observed quality with its position in the row, which determines its present weight."""

    position: int
    """Observations of the project's task type, up to and including the batch of this sample."""
    turn: int
    """Quality observations of its own row, up to and including that batch."""
    at: float
    quality: float


@dataclass(slots=True)
class Statistics:
    """The statistics of (project, task_type, model), decayed to `last_change`.

    There are two memories of quality. The long one normally decides. The short one (about the last 20 verdicts) is used
    if it contradicts the long one, so that a model that silently degrades is abandoned within tens of decisions
    although the long memory holds thousands.
    """

    n: float = 0.0
    s: float = 0.0
    q: float = 0.0
    short_n: float = 0.0
    short_s: float = 0.0
    short_q: float = 0.0
    turn: int = 0
    """Total number of quality observations of this row; the exponent of `short_gamma`."""
    calls: float = 0.0
    """Decayed number of calls, with or without a quality: the weight of the averages below."""
    first_token_s: float | None = None
    latency_s: float | None = None
    tokens_per_s: float | None = None
    cost_usd: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    last_change: float = 0.0
    pending: int = 0
    """This process's decisions without a verdict; never stored."""


def decay(weights: RouterWeights, observations: int, elapsed_s: float) -> float:
    """Return the decay factor for further observations and elapsed time: γ^k·2^(−Δt/half-life)."""
    return weights.gamma**observations * 2.0 ** (-max(elapsed_s, 0.0) / weights.half_life_s)


def fade(row: Statistics, factor: float) -> None:
    """Multiply a row's sums by a decay factor. Averages are ratios and do not change."""
    row.n *= factor
    row.s *= factor
    row.q *= factor
    row.short_n *= factor
    row.short_s *= factor
    row.short_q *= factor
    row.calls *= factor


def add_qualities(row: Statistics, qualities: Iterable[float], weights: RouterWeights) -> None:
    """Add one raw batch of qualities to a row already decayed to the batch's position."""
    batch = tuple(qualities)
    shorter = weights.short_gamma ** len(batch)
    total, squares = sum(batch), sum(r * r for r in batch)
    row.n += len(batch)
    row.s += total
    row.q += squares
    row.short_n = row.short_n * shorter + len(batch)
    row.short_s = row.short_s * shorter + total
    row.short_q = row.short_q * shorter + squares
    row.turn += len(batch)


def add_call(row: Statistics, seen: Observation, weights: RouterWeights) -> None:
    """Add a call to the moving averages. They follow the short memory, because a server's speed changes within
    minutes."""
    row.calls = row.calls * weights.short_gamma + 1.0
    share = 1.0 / row.calls
    row.first_token_s = averaged(row.first_token_s, seen.first_token_s, share)
    row.latency_s = averaged(row.latency_s, seen.latency_s, share)
    row.tokens_per_s = averaged(row.tokens_per_s, seen.tokens_per_s, share)
    row.cost_usd = averaged(row.cost_usd, seen.cost_usd, share)
    row.input_tokens = averaged(row.input_tokens, seen.input_tokens, share)
    row.output_tokens = averaged(row.output_tokens, seen.output_tokens, share)


def averaged(average: float | None, value: float | None, share: float) -> float | None:
    if value is None:
        return average
    return value if average is None else average + (value - average) * share


def correct(row: Statistics, sample: Sample, quality: float, position: int, now: float, weights: RouterWeights) -> None:
    """Apply a late label: add w·(r′−r) to s and w·(r′²−r²) to q, w being the sample's present weight. n does not
    change."""
    weight = decay(weights, position - sample.position, now - sample.at)
    step, squares = quality - sample.quality, quality**2 - sample.quality**2
    row.s += weight * step
    row.q += weight * squares
    weight *= weights.short_gamma ** (row.turn - sample.turn)
    row.short_s += weight * step
    row.short_q += weight * squares
