"""The gate: base against candidate on the model as served, in pairs, with an interval; who may go into service.

Held-out rows say whether the candidate does better at what it was trained for, control prompts whether it forgot
anything else. Intervals are percentile bootstrap intervals of the mean paired difference (Efron and Tibshirani, 1993,
chapter 13) with a fixed seed, so that a report can be made again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

RESAMPLES = 2000
CONFIDENCE = 0.95
"""Of the intervals that are shown, and with which a candidate must be better on held-out rows."""
NO_WORSE_CONFIDENCE = 0.6
"""Of the interval whose lower end may lie no deeper than the margin on control prompts: one chance in five beyond it.
A small model answers some such prompts differently after any training, to and fro, so that with 80 of them the lower
end at 95 % would lie beyond a margin of ten points for a candidate that lost next to nothing."""
FEWEST_PAIRS = 8
"""Below it an interval says nothing: a person decides."""


class GateOutcome(StrEnum):
    """What the gate says."""

    PROMOTE = "promote"
    NEEDS_APPROVAL = "needs_approval"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class GatePrompt:
    """One prompt of the gate."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    wanted: str
    """The approved answer, or what an ordinary prompt is known to need."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two answers to one prompt, each with its quality in [0, 1]."""

    id: str
    prompt: str
    wanted: str
    base: str
    candidate: str
    base_quality: float
    candidate_quality: float

    @property
    def difference(self) -> float:
        return self.candidate_quality - self.base_quality


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs of one set."""

    pairs: tuple[Pair, ...]
    base: float | None
    """Mean quality; None where there are no pairs."""
    candidate: float | None
    difference: float | None
    low: float | None
    """Ends of the interval of the difference; None below `FEWEST_PAIRS`."""
    high: float | None


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate measured and decided."""

    held_out: Comparison
    control: Comparison
    margin: float
    ruling: GateOutcome
    reason: str
    measured_on: str = ""
    """The server that both were asked at, where it is not the one that will serve them."""

    def stored(self) -> dict[str, Any]:
        return asdict(self)


AskModel = Callable[[Sequence[Mapping[str, Any]]], Awaitable[str]]
"""Asks one of the two models, as served, at temperature 0."""
Grader = Callable[[GatePrompt, str], Awaitable[float]]
"""Quality in [0, 1] of an answer."""


async def compare(
    questions: Sequence[GatePrompt],
    base: AskModel,
    candidate: AskModel,
    grade: Grader,
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> Comparison:
    """Ask both models one question after the other, and pair what they say. `tell` hears how many are done."""
    pairs: list[Pair] = []
    for question in questions:
        if on_progress:
            await on_progress(len(pairs))
        first, second = await asyncio.gather(base(question.messages), candidate(question.messages))
        pairs.append(
            Pair(
                id=question.id,
                prompt=str(question.messages[-1].get("content", "")),
                wanted=question.wanted,
                base=first,
                candidate=second,
                base_quality=await grade(question, first),
                candidate_quality=await grade(question, second),
            )
        )
    return summarise(pairs)


def summarise(pairs: Sequence[Pair]) -> Comparison:
    if not pairs:
        return Comparison((), None, None, None, None, None)
    low, high = interval([pair.difference for pair in pairs]) if len(pairs) >= FEWEST_PAIRS else (None, None)
    return Comparison(
        pairs=tuple(pairs),
        base=fmean(pair.base_quality for pair in pairs),
        candidate=fmean(pair.candidate_quality for pair in pairs),
        difference=fmean(pair.difference for pair in pairs),
        low=low,
        high=high,
    )


def interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Where the mean difference lies with that confidence."""
    chance = random.Random(0)
    means = sorted(fmean(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - confidence) / 2)
    return means[cut], means[-cut - 1]


def rule(held_out: Comparison, control: Comparison, margin: float) -> GateReport:
    """Promote only what is better on held-out rows and no worse on control prompts beyond the margin."""
    ruling, reason = _ruling(held_out, control, margin)
    return GateReport(held_out, control, margin, ruling, reason)


def _ruling(held_out: Comparison, control: Comparison, margin: float) -> tuple[GateOutcome, str]:
    if control.difference is not None and control.difference < -margin:
        return GateOutcome.REFUSE, f"worse on control prompts by {-control.difference:.0%}, more than {margin:.0%}"
    if held_out.difference is not None and held_out.difference < 0:
        return GateOutcome.REFUSE, f"worse on held-out rows by {-held_out.difference:.0%}"
    if held_out.low is None or control.low is None:
        few = "held-out rows" if held_out.low is None else "control prompts"
        return GateOutcome.NEEDS_APPROVAL, f"fewer than {FEWEST_PAIRS} {few}: look at the pairs and decide"
    if held_out.low <= 0:
        return GateOutcome.NEEDS_APPROVAL, f"not surely better on held-out rows (95 %: {held_out.low:+.0%} at least)"
    worst, _ = interval([pair.difference for pair in control.pairs], NO_WORSE_CONFIDENCE)
    if worst < -margin:
        return (
            GateOutcome.NEEDS_APPROVAL,
            f"perhaps worse on control prompts (one chance in five: {worst:+.0%} or less)",
        )
    return (
        GateOutcome.PROMOTE,
        f"better on held-out rows by {held_out.difference:+.0%} (95 %: {held_out.low:+.0%} at least)",
    )
