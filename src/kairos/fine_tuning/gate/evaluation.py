"""Compares a candidate with its base, and decides on its deployment.

Held-out rows show whether the candidate improves on its training task, control prompts whether it has lost general
ability (`general_ability`). Improvement is tested with a sign-flip permutation test of the paired differences (Good,
Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005, section 3.6), which is exact for few pairs. Displayed
intervals are percentile bootstrap intervals of the mean paired difference (Efron and Tibshirani, 1993, chapter 13).
Both use a fixed seed, so that reports are reproducible.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import product
from statistics import fmean
from typing import Any

from kairos.background_tasks import gather
from kairos.fine_tuning.gate.general_ability import (
    AnsweredQuestion,
    GeneralAbility,
    PromptContext,
    differences,
    in_context,
)
from kairos.fine_tuning.gate.loss_test import Loss

RESAMPLES = 2000
CONFIDENCE = 0.95
"""Confidence of the displayed intervals."""
SIGNIFICANCE, FIRST_SHARE = 0.05, 0.625
"""Probability with which a run's candidates pass on held-out samples if none is better, and the share of it for the
first one. Each further one gets that share of the rest, since the same samples are used again."""
FEWEST_PAIRS = 5
"""With fewer pairs, no result is significant, and a person decides."""
MOST_EXACT = 14
"""Differences up to which all 2^n signs are tried; for more, as many random ones."""
MOST_KEPT = 120
"""Control prompts whose answers are stored, changed ones first."""


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
    prompts: int = 0
    """Number of prompts compared. Of many control prompts, not all pairs are kept."""


NOT_COMPARED = Comparison((), None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class ContextQuality:
    """The mean qualities on control prompts in one context."""

    context: PromptContext
    base: float
    candidate: float


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
    contexts: tuple[ContextQuality, ...] = ()
    loss: Loss = Loss.UNCERTAIN
    """Whether it lost general ability."""

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
    at_once: int,
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> Comparison:
    """Send each prompt to both models, `at_once` prompts at a time, and pair their answers. `on_progress` receives the
    number done."""
    done = 0

    async def pair(question: GatePrompt) -> Pair:
        nonlocal done
        first, second = await asyncio.gather(base(question.messages), candidate(question.messages))
        found = Pair(
            id=question.id,
            prompt=str(question.messages[-1].get("content", "")),
            wanted=question.wanted,
            base=first,
            candidate=second,
            base_quality=await grade(question, first),
            candidate_quality=await grade(question, second),
        )
        done += 1
        if on_progress:
            await on_progress(done)
        return found

    return summarise(await gather([pair(question) for question in prompts], at_once))


def summarise(pairs: Sequence[Pair]) -> Comparison:
    if not pairs:
        return NOT_COMPARED
    low, high = interval([pair.difference for pair in pairs]) if len(pairs) >= FEWEST_PAIRS else (None, None)
    return Comparison(
        pairs=tuple(pairs),
        base=fmean(pair.base_quality for pair in pairs),
        candidate=fmean(pair.candidate_quality for pair in pairs),
        difference=fmean(pair.difference for pair in pairs),
        low=low,
        high=high,
        prompts=len(pairs),
    )


def control_comparison(ability: GeneralAbility) -> Comparison:
    """Return the comparison on control prompts. Each prompt counts once, however often it was asked."""
    if not ability.answers:
        return NOT_COMPARED
    answers = sorted(ability.answers, key=lambda answer: (answer.difference == 0, answer.difference))
    found = differences(ability.answers)
    low, high = interval(found) if len(found) >= FEWEST_PAIRS else (None, None)
    base = fmean(answer.base_quality for answer in answers)
    return Comparison(
        pairs=tuple(map(_control_pair, answers[:MOST_KEPT])),
        base=base,
        candidate=base + fmean(found),
        difference=fmean(found),
        low=low,
        high=high,
        prompts=len(found),
    )


def context_qualities(ability: GeneralAbility) -> tuple[ContextQuality, ...]:
    """Return the mean qualities in each context that was asked."""
    return tuple(
        ContextQuality(context, fmean(a.base_quality for a in found), fmean(a.candidate_quality for a in found))
        for context in PromptContext
        if (found := in_context(ability.answers, context))
    )


def _control_pair(answer: AnsweredQuestion) -> Pair:
    question = answer.question
    alone = ", without system prompt" if question.context is PromptContext.ALONE else ""
    sample = f", sample {question.sampling.seed}" if question.sampling.seed is not None else ""
    return Pair(
        id=f"control {question.number + 1}{alone}{sample}",
        prompt=question.prompt.prompt,
        wanted=" / ".join(question.prompt.any_of),
        base=answer.base,
        candidate=answer.candidate,
        base_quality=answer.base_quality,
        candidate_quality=answer.candidate_quality,
    )


def interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the bootstrap interval of the mean difference."""
    chance = random.Random(0)
    means = sorted(fmean(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - confidence) / 2)
    return means[cut], means[-cut - 1]


def chance_of(differences: Sequence[float]) -> float:
    """Return the probability of a mean difference at least this high if the candidate is no better: the share of sign
    flips with such a sum."""
    changed = [one for one in differences if one]
    observed = sum(changed) - 1e-9
    if len(changed) <= MOST_EXACT:
        flips = list(product((1, -1), repeat=len(changed)))
    else:
        chance = random.Random(0)
        flips = [chance.choices((1, -1), k=len(changed)) for _ in range(2**MOST_EXACT)]
    return fmean(sum(sign * one for sign, one in zip(signs, changed, strict=True)) >= observed for signs in flips)


def significance_of(number: int) -> float:
    """Return the highest chance of an improvement with which the `number`th candidate of a run passes, from 1.

    With five held-out samples, the first one passes if all five are better (p = .031).
    """
    return SIGNIFICANCE * FIRST_SHARE * (1 - FIRST_SHARE) ** (number - 1)


def rule(held_out: Comparison, ability: GeneralAbility, margin: float, number: int = 1) -> GateReport:
    """Decide on the `number`th candidate of a run: promote it if it is better on held-out samples and did not lose
    general ability."""
    control = control_comparison(ability)
    ruling, reason = _ruling(held_out, control, ability, significance_of(number))
    return GateReport(held_out, control, margin, ruling, reason, contexts=context_qualities(ability), loss=ability.loss)


def certainly_worse(held_out: Comparison) -> bool:
    """Whether the candidate is refused regardless of the control prompts."""
    return held_out.difference is not None and held_out.difference < 0


def _ruling(
    held_out: Comparison, control: Comparison, ability: GeneralAbility, significance: float
) -> tuple[GateOutcome, str]:
    if certainly_worse(held_out):
        return GateOutcome.REFUSE, f"worse on held-out samples by {-(held_out.difference or 0):.0%}"
    if ability.loss is Loss.CERTAIN:
        return GateOutcome.REFUSE, _loss(ability)
    if held_out.prompts < FEWEST_PAIRS:
        return GateOutcome.NEEDS_APPROVAL, f"fewer than {FEWEST_PAIRS} held-out samples: review the pairs and decide"
    chance = chance_of([pair.difference for pair in held_out.pairs])
    if chance > significance:
        return (
            GateOutcome.NEEDS_APPROVAL,
            f"not significantly better on held-out samples ({held_out.difference:+.0%}, p = {chance:.2g}, above"
            f" {significance:.2g})",
        )
    if ability.loss is Loss.UNCERTAIN:
        return GateOutcome.NEEDS_APPROVAL, f"possibly worse on control prompts ({_interval(control)})"
    return GateOutcome.PROMOTE, f"better on held-out samples by {held_out.difference:+.0%} (p = {chance:.2g})"


def _loss(ability: GeneralAbility) -> str:
    where = {None: "", PromptContext.ALONE: " without", PromptContext.SYSTEM_PROMPT: " with"}[ability.lost_in]
    answers = in_context(ability.answers, ability.lost_in) if ability.lost_in else ability.answers
    context = f"{where} the system prompt" if ability.lost_in else ""
    return f"worse on control prompts{context} by {-fmean(differences(answers)):.0%}"


def _interval(control: Comparison) -> str:
    if control.low is None or control.high is None:
        return "too few prompts"
    return f"{control.difference:+.1%}, 95 %: {control.low:+.1%} to {control.high:+.1%}"
