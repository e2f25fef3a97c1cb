"""The reference for the router's statistics: quality sums computed from the samples alone."""

from __future__ import annotations

from collections.abc import Iterable

from kairos.llm.routing.statistics import RouterWeights, Sample, Statistics, decay


def recomputed(samples: Iterable[Sample], position: int, now: float, weights: RouterWeights) -> Statistics:
    """Compute a row's quality sums from its samples alone: the reference for any order of flushes and late labels."""
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
