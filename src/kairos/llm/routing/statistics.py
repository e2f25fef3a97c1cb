"""What was measured of a model at a task type: decayed sums that several replicas share, pure and without a clock.

design.md, "How the router decides": a replica flushes raw batches, n = n·γ^k·2^(−Δt/half-life) + Δn, s and q alike, k
the observations of the task type in the batch. Each sample keeps its place, so that a label that comes late is worth
what the sample is worth by then. Flushing decayed sums as differences gives nonsense with several replicas.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterWeights:
    """How the router weighs what it knows. The defaults serve; a project may change the lambdas."""

    lambda_cost: float = 0.15
    """Quality that is given up for the cheapest instead of the dearest model."""
    lambda_latency: float = 0.10
    """Quality that is given up for an instant answer instead of one that takes for ever."""
    latency_target_s: float = 8.0
    """A latency that costs 63 % of `lambda_latency` (1 − 1/e)."""
    latency_unknown: float = 0.5
    """Latency term of a model that was never timed: neither instant nor endless."""
    kappa: float = 3.0
    """How many observations the prior is worth."""
    doubt: float = 0.7
    """Posterior standard deviations that are added to expected quality, before the growth below."""
    doubt_horizon: float = 100.0
    """Observations of a task type up to which doubt about its rarely tried models grows."""
    prior_variance: float = 0.2
    """Variance of one observation before any is seen; .25 would be a fair coin's."""
    prior_quality: float = 0.6
    """Quality expected of a model about which nothing is declared or measured."""
    prior_weight: float = 2.0
    """How many well-measured other task types `prior_quality` is worth."""
    witness: float = 4.0
    """Observations of another task type that make it half a witness for the prior."""
    specialty: float = 0.15
    """What a declared specialty adds to the prior."""
    gamma: float = 0.9995
    """Weight that an observation keeps when its task type gets another one."""
    short_gamma: float = 0.95
    """What it keeps in the short memory besides, when its own model gets another one at this task type."""
    contradiction: float = 3.5
    """Standard errors between the short and the long memory from which the short one is believed."""
    half_life_s: float = 14 * 86400.0
    """Time in which an observation loses half of its weight."""
    margin: float = 0.02
    """Utility by which another model must beat the incumbent."""
    switching: float = 0.05
    """Utility that a model loses while another one is loaded in the runner they share."""
    pending_expiry_s: float = 900.0
    """Time after which a decision without a verdict no longer counts as pending."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call showed. What was not measured is None, and nothing is learned of it."""

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
    """An observed quality with the place it took in its row, by which its present weight is known."""

    position: int
    """Observations of the project's task type up to and with the batch that brought it."""
    turn: int
    """Quality observations of its own row up to and with that batch."""
    at: float
    quality: float


@dataclass(slots=True)
class Statistics:
    """A row of (project, task_type, model), decayed to `last_change`.

    Two memories of quality: the long one decides; the short one (about the last 20 verdicts of this model) is believed
    where it contradicts the long one, so that a model that silently gets worse is left in tens of decisions although
    the long memory keeps thousands.
    """

    n: float = 0.0
    s: float = 0.0
    q: float = 0.0
    short_n: float = 0.0
    short_s: float = 0.0
    short_q: float = 0.0
    turn: int = 0
    """Quality observations of this row ever: what `short_gamma` counts."""
    calls: float = 0.0
    """Decayed number of calls, measured in quality or not: the weight of the averages below."""
    first_token_s: float | None = None
    latency_s: float | None = None
    tokens_per_s: float | None = None
    cost_usd: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    last_change: float = 0.0
    pending: int = 0
    """Decisions of this process whose verdict has not come yet; never stored."""


def decay(weights: RouterWeights, observations: int, elapsed_s: float) -> float:
    """The factor for `observations` of the task type and for time: γ^k·2^(−Δt/half-life)."""
    return weights.gamma**observations * 2.0 ** (-max(elapsed_s, 0.0) / weights.half_life_s)


def fade(row: Statistics, factor: float) -> None:
    """Weaken everything a row has seen by a factor of `decay`. Averages are ratios and keep their value."""
    row.n *= factor
    row.s *= factor
    row.q *= factor
    row.short_n *= factor
    row.short_s *= factor
    row.short_q *= factor
    row.calls *= factor


def add_qualities(row: Statistics, qualities: Iterable[float], weights: RouterWeights) -> None:
    """Add one raw batch of this row's qualities to a row that has already faded to the batch's place."""
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
    """Average in what a call took. Averages follow the short memory: a server's speed changes in minutes."""
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
    """A late label: w·(r′−r) and w·(r′²−r²) with w the weight the sample has now; n stays (design.md)."""
    weight = decay(weights, position - sample.position, now - sample.at)
    step, squares = quality - sample.quality, quality**2 - sample.quality**2
    row.s += weight * step
    row.q += weight * squares
    weight *= weights.short_gamma ** (row.turn - sample.turn)
    row.short_s += weight * step
    row.short_q += weight * squares


def recomputed(samples: Iterable[Sample], position: int, now: float, weights: RouterWeights) -> Statistics:
    """The quality sums of a row from its samples alone: what any order of flushes and late labels must come to."""
    samples = tuple(samples)
    row = Statistics(last_change=now, turn=max((sample.turn for sample in samples), default=0))
    for sample in samples:
        weight, r = decay(weights, position - sample.position, now - sample.at), sample.quality
        row.n, row.s, row.q = row.n + weight, row.s + weight * r, row.q + weight * r * r
        weight *= weights.short_gamma ** (row.turn - sample.turn)
        row.short_n, row.short_s, row.short_q = (
            row.short_n + weight,
            row.short_s + weight * r,
            row.short_q + weight * r * r,
        )
    return row
