"""Decides, as early as the evidence allows, whether an adapter lost general ability.

The sequential probability ratio test (Wald, 1945) compares two hypotheses on the mean difference of quality between
adapter and base over all control prompts: a loss of `margin`, and none. It looks at the differences after every few
prompts and stops as soon as one hypothesis is much more likely. Means are taken as normally distributed, with the
variance of the differences seen so far; one prompt counts once, however often it was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import NormalDist, fmean

FALSE_PROMOTIONS = 0.02
"""Probability that an adapter which lost `margin` passes."""
FALSE_REFUSALS = 0.05
"""Probability that an adapter which lost nothing is refused."""
NOMINAL_PROMOTIONS, NOMINAL_REFUSALS = 0.008, 0.02
"""The rates that the bounds are computed for. Repeated looks with an estimated variance double them: with 500 prompts
and 8 to 28 % changed answers, the actual rates were at most 0.018 and 0.045 (`benchmarks/gate_power.py`)."""
FEWEST_PROMPTS = 80
"""No decision before: the variance is not known well enough."""
PRIOR_VARIANCE, PRIOR_PROMPTS = 0.1, 10
"""Added to the estimate of the variance: a few equal answers do not show that all are equal."""

_PASSES = math.log((1 - NOMINAL_REFUSALS) / NOMINAL_PROMOTIONS)
_FAILS = math.log(NOMINAL_REFUSALS / (1 - NOMINAL_PROMOTIONS))
_Z_PROMOTION, _Z_REFUSAL = (NormalDist().inv_cdf(1 - rate) for rate in (NOMINAL_PROMOTIONS, NOMINAL_REFUSALS))


class Loss(StrEnum):
    """The result of the test."""

    NONE = "none"
    CERTAIN = "certain"
    UNCERTAIN = "uncertain"


def decide(differences: Sequence[float], margin: float) -> Loss:
    """Return the result if the differences in [-1, 1] suffice for it, else `UNCERTAIN`: ask more prompts."""
    if len(differences) < FEWEST_PROMPTS:
        return Loss.UNCERTAIN
    ratio = len(differences) * margin / variance(differences) * (fmean(differences) + margin / 2)
    return Loss.NONE if ratio > _PASSES else Loss.CERTAIN if ratio < _FAILS else Loss.UNCERTAIN


def conclude(differences: Sequence[float], margin: float) -> Loss:
    """Return the result when all prompts were asked: by a test of the mean at the same two error rates.

    A loss of less than half the margin is never called certain, however many prompts were asked.
    """
    if not differences:
        return Loss.UNCERTAIN
    mean, error = fmean(differences), math.sqrt(variance(differences) / len(differences))
    if mean < -margin / 2 and mean + _Z_REFUSAL * error < 0:
        return Loss.CERTAIN
    return Loss.NONE if mean - _Z_PROMOTION * error > -margin else Loss.UNCERTAIN


def variance(differences: Sequence[float]) -> float:
    """Return the estimated variance of one difference, never 0."""
    mean = fmean(differences)
    squares = sum((one - mean) ** 2 for one in differences)
    return (squares + PRIOR_VARIANCE * PRIOR_PROMPTS) / (len(differences) - 1 + PRIOR_PROMPTS)
