"""Compares the general ability of base and adapter on control prompts, in the contexts in which an adapter serves.

Every prompt is asked with and without the agent's system prompt: first at temperature 0, then, while the result is
uncertain, also as a sample with the same seed for both models. Prompts are in an order whose every prefix covers all
kinds evenly, and asking stops as soon as `loss_test` has a result.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from kairos.background_tasks import gather
from kairos.fine_tuning.gate import loss_test
from kairos.fine_tuning.gate.control_prompts import ControlPrompt
from kairos.fine_tuning.gate.loss_test import Loss

LOOK = 20
"""Prompts between two looks at the result."""
Z_CONTEXT = 2.33
"""One-sided 99 % of the normal distribution, for a loss in one context only."""


class PromptContext(StrEnum):
    """What surrounds a control prompt."""

    SYSTEM_PROMPT = "system_prompt"
    """The system prompt of the agent that serves tasks."""
    ALONE = "alone"
    """The prompt as the only message, as tools that call the model directly send it."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is asked."""

    temperature: float
    seed: int | None


ROUNDS = (Sampling(0.0, None), Sampling(0.7, 1))


@dataclass(frozen=True, slots=True)
class Question:
    """One control prompt in one context, as one sample."""

    number: int
    """Of the prompt."""
    prompt: ControlPrompt
    context: PromptContext
    sampling: Sampling

    def messages(self, system: str) -> tuple[Mapping[str, Any], ...]:
        user = {"role": "user", "content": self.prompt.prompt}
        return (user,) if self.context is PromptContext.ALONE else ({"role": "system", "content": system}, user)


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """Both models' answers to a question, with their quality in [0, 1]."""

    question: Question
    base: str
    candidate: str

    @property
    def base_quality(self) -> float:
        return self.question.prompt.quality(self.base)

    @property
    def candidate_quality(self) -> float:
        return self.question.prompt.quality(self.candidate)

    @property
    def difference(self) -> float:
        return self.candidate_quality - self.base_quality


@dataclass(frozen=True, slots=True)
class GeneralAbility:
    """The answers to the control prompts, and whether the adapter lost general ability."""

    answers: tuple[AnsweredQuestion, ...]
    loss: Loss
    lost_in: PromptContext | None = None
    """The context of a loss that is certain in this context only."""


NOTHING_ASKED = GeneralAbility((), Loss.UNCERTAIN)
Ask = Callable[[Question], Awaitable[str]]
OnProgress = Callable[[int], Awaitable[None]]


async def compare(
    prompts: Sequence[ControlPrompt],
    base: Ask,
    candidate: Ask,
    margin: float,
    at_once: int,
    on_progress: OnProgress,
) -> GeneralAbility:
    """Ask both models until the result is certain or all prompts were asked. `on_progress` receives their number.

    Raises what the calls raise.
    """
    answers: list[AnsweredQuestion] = []
    loss = Loss.UNCERTAIN
    for sampling in ROUNDS:
        for begin in range(0, len(prompts), LOOK):
            await on_progress(begin)
            numbered = [(number, prompts[number]) for number in range(begin, min(begin + LOOK, len(prompts)))]
            asked = [Question(*one, context, sampling) for one in numbered for context in PromptContext]
            answers += await gather([_answered(question, base, candidate) for question in asked], at_once)
            loss = loss_test.decide(differences(answers), margin)
            if loss is not Loss.UNCERTAIN:
                return _result(answers, loss, margin)
        loss = loss_test.conclude(differences(answers), margin)
        if loss is not Loss.UNCERTAIN:
            break
    return _result(answers, loss, margin)


def differences(answers: Iterable[AnsweredQuestion]) -> list[float]:
    """Return the mean difference of each prompt: its answers depend on each other, so it counts once."""
    by_prompt: defaultdict[int, list[float]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.question.number].append(answer.difference)
    return [fmean(found) for found in by_prompt.values()]


def in_context(answers: Iterable[AnsweredQuestion], context: PromptContext) -> list[AnsweredQuestion]:
    return [answer for answer in answers if answer.question.context is context]


async def _answered(question: Question, base: Ask, candidate: Ask) -> AnsweredQuestion:
    return AnsweredQuestion(question, *await asyncio.gather(base(question), candidate(question)))


def _result(answers: Sequence[AnsweredQuestion], loss: Loss, margin: float) -> GeneralAbility:
    """A loss that is hidden in the mean of the contexts counts as well."""
    for context in PromptContext:
        found = differences(in_context(answers, context))
        if len(found) < loss_test.FEWEST_PROMPTS:
            continue
        error = math.sqrt(loss_test.variance(found) / len(found))
        if fmean(found) + Z_CONTEXT * error < -margin:
            return GeneralAbility(tuple(answers), Loss.CERTAIN, context if loss is not Loss.CERTAIN else None)
    return GeneralAbility(tuple(answers), loss)
