"""Statistics of the evaluation gate: compares a candidate with its base in pairs, and decides on its deployment.

Held-out rows show whether the candidate improves on its training task, control prompts whether it has lost general
ability. Intervals are percentile bootstrap intervals of the mean paired difference (Efron and Tibshirani, 1993, chapter
13) with a fixed seed, so that reports are reproducible.
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
"""Confidence of the displayed intervals, and of the improvement on held-out samples."""
NO_WORSE_CONFIDENCE = 0.6
"""Confidence of the interval on control prompts whose lower end must be within the margin: a 20 % chance beyond it.
After any training, a small model answers some of these prompts differently, better or worse. With 80 prompts, the lower
end at 95 % would exceed a margin of ten points for a candidate that lost almost nothing."""
FEWEST_PAIRS = 8
"""With fewer pairs, no interval is computed and a person decides."""


class GateOutcome(StrEnum):
    """The gate's decision on a candidate."""

    PROMOTE = "promote"
    NEEDS_APPROVAL = "needs_approval"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class GatePrompt:
    """A prompt of the evaluation gate."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    wanted: str
    """The approved answer, or the terms expected for a control prompt."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two answers to a prompt, with their quality in [0, 1]."""

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
    """The pairs of one set of prompts, with means and interval."""

    pairs: tuple[Pair, ...]
    base: float | None
    """Mean quality; None without pairs."""
    candidate: float | None
    difference: float | None
    low: float | None
    """Ends of the interval of the difference; None with fewer than `FEWEST_PAIRS` pairs."""
    high: float | None


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's measurements and decision."""

    held_out: Comparison
    control: Comparison
    margin: float
    ruling: GateOutcome
    reason: str
    measured_on: str = ""
    """A note on the server used, if it is not the one that will serve the adapter."""

    def stored(self) -> dict[str, Any]:
        return asdict(self)


AskModel = Callable[[Sequence[Mapping[str, Any]]], Awaitable[str]]
"""Returns a model's answer to messages, as served, at temperature 0."""
Grader = Callable[[GatePrompt, str], Awaitable[float]]
"""Returns the quality of an answer in [0, 1]."""


async def compare(
    prompts: Sequence[GatePrompt],
    base: AskModel,
    candidate: AskModel,
    grade: Grader,
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> Comparison:
    """Send each prompt to both models, and pair their answers. `on_progress` receives the number done."""
    pairs: list[Pair] = []
    for question in prompts:
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
    """Return the bootstrap interval of the mean difference."""
    chance = random.Random(0)
    means = sorted(fmean(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - confidence) / 2)
    return means[cut], means[-cut - 1]


def rule(held_out: Comparison, control: Comparison, margin: float) -> GateReport:
    """Decide on a candidate: promote it if it is better on held-out samples and not worse on control prompts by over
    the margin."""
    ruling, reason = _ruling(held_out, control, margin)
    return GateReport(held_out, control, margin, ruling, reason)


def _ruling(held_out: Comparison, control: Comparison, margin: float) -> tuple[GateOutcome, str]:
    if control.difference is not None and control.difference < -margin:
        return GateOutcome.REFUSE, f"worse on control prompts by {-control.difference:.0%}, more than {margin:.0%}"
    if held_out.difference is not None and held_out.difference < 0:
        return GateOutcome.REFUSE, f"worse on held-out samples by {-held_out.difference:.0%}"
    if held_out.low is None or control.low is None:
        few = "held-out samples" if held_out.low is None else "control prompts"
        return GateOutcome.NEEDS_APPROVAL, f"fewer than {FEWEST_PAIRS} {few}: review the pairs and decide"
    if held_out.low <= 0:
        return (
            GateOutcome.NEEDS_APPROVAL,
            f"not significantly better on held-out samples (95 %: at least {held_out.low:+.0%})",
        )
    worst, _ = interval([pair.difference for pair in control.pairs], NO_WORSE_CONFIDENCE)
    if worst < -margin:
        return (
            GateOutcome.NEEDS_APPROVAL,
            f"possibly worse on control prompts (20 % chance: {worst:+.0%} or less)",
        )
    return (
        GateOutcome.PROMOTE,
        f"better on held-out samples by {held_out.difference:+.0%} (95 %: at least {held_out.low:+.0%})",
    )
