"""The evaluation gate: sends prompts to base and candidate as they are served, and decides by the answers.

It also collects the base's own answers to the control prompts that are replayed in training.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kairos.background_tasks import gather
from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.gate import control_prompts, general_ability
from kairos.fine_tuning.gate.asking import CONTROL_TOKENS, REPLAY_TOKENS, ModelCalls, greedy
from kairos.fine_tuning.gate.base_answers import BaseAnswer, BaseAnswers, identity_of
from kairos.fine_tuning.gate.evaluation import (
    GatePrompt,
    GateReport,
    Grader,
    certainly_worse,
    compare,
    rule,
)
from kairos.fine_tuning.gate.general_ability import NOTHING_ASKED, GeneralAbility, Question
from kairos.fine_tuning.training.process.job import Example, TrainingPhase
from kairos.llm.calls.providers import ChatRequest, Providers

log = logging.getLogger(__name__)

OnProgress = Callable[[TrainingPhase, int, int], Awaitable[None]]
"""Receives the name of the set of prompts, the number done, and the total."""


class Gate:
    """Calls models directly, since its calls are not project traffic and must not influence the router."""

    def __init__(self, providers: Providers, settings: FineTuningSettings, folder: Path) -> None:
        """`folder` keeps the bases' answers to built-in prompts."""
        self._providers = providers
        self._settings = settings
        self._folder = folder

    async def measure(
        self,
        base: ModelCopies,
        candidate: ModelCopies,
        held_out: Sequence[GatePrompt],
        grade: Grader,
        system: str,
        on_progress: OnProgress,
        number: int = 1,
    ) -> GateReport:
        """Compare both models on the held-out and the control prompts, and decide on the `number`th candidate of a run.
        Raises `ModelCallError`."""

        base_calls, candidate_calls = ModelCalls(self._providers, base), ModelCalls(self._providers, candidate)

        async def of_base(messages: Sequence[Mapping[str, Any]]) -> str:
            return (await base_calls.ask(greedy(messages))).text

        async def of_candidate(messages: Sequence[Mapping[str, Any]]) -> str:
            return (await candidate_calls.ask(greedy(messages))).text

        kept = held_out[: self._settings.held_out_prompts]
        count = _counting(on_progress, TrainingPhase.HELD_OUT_ROWS, len(kept))
        found = await compare(kept, of_base, of_candidate, grade, candidate_calls.at_once, count)
        margin = self._settings.margin
        if certainly_worse(found):
            return rule(found, NOTHING_ASKED, margin, number)
        known = self._answers_of(base)
        ability = await self._general_ability(base_calls, known, candidate_calls, system, on_progress)
        return rule(found, ability, margin, number)

    async def _general_ability(
        self, base: ModelCalls, known: BaseAnswers, candidate: ModelCalls, system: str, on_progress: OnProgress
    ) -> GeneralAbility:

        def request(question: Question) -> ChatRequest:
            sampling = question.sampling
            messages = question.messages(system)
            return ChatRequest(
                messages=messages, temperature=sampling.temperature, seed=sampling.seed, max_tokens=CONTROL_TOKENS
            )

        async def of_base(question: Question) -> str:
            asked = request(question)
            return (await known.get(asked, lambda: _base_answer(base, asked))).text

        async def of_candidate(question: Question) -> str:
            return (await candidate.ask(request(question))).text

        prompts = control_prompts.control()[: self._settings.control_prompts]
        count = _counting(on_progress, TrainingPhase.CONTROL_PROMPTS, len(prompts))
        return await general_ability.compare(
            prompts, of_base, of_candidate, self._settings.margin, candidate.at_once, count
        )

    async def replayed(self, base: ModelCopies, amount: int, system: str, on_progress: OnProgress) -> list[Example]:
        """Return examples with the base's own complete answers to control prompts. Raises `ModelCallError`."""
        examples: list[Example] = []
        known, calls, prompts = self._answers_of(base), ModelCalls(self._providers, base), control_prompts.replayed()

        async def example(prompt: str) -> Example | None:
            messages = _messages(system, prompt)
            request = greedy(messages, REPLAY_TOKENS)
            answer = await known.get(request, lambda: _base_answer(calls, request))
            if answer.finish_reason != "stop" or not answer.text.strip():
                return None
            return Example([dict(message) for message in messages], answer.text, replayed=True)

        for begin in range(0, len(prompts), calls.at_once):
            if len(examples) >= amount:
                break
            await on_progress(TrainingPhase.BASE_ANSWERS, len(examples), min(amount, len(prompts)))
            found = await gather([example(prompt) for prompt in prompts[begin : begin + calls.at_once]], calls.at_once)
            examples += [one for one in found if one]
        return examples[:amount]

    def _answers_of(self, base: ModelCopies) -> BaseAnswers:
        return BaseAnswers(self._folder, identity_of(base.first))


async def _base_answer(base: ModelCalls, request: ChatRequest) -> BaseAnswer:
    completion = await base.ask(request)
    return BaseAnswer(completion.text, completion.finish_reason)


def _messages(system: str, prompt: str) -> tuple[Mapping[str, str], ...]:
    return {"role": "system", "content": system}, {"role": "user", "content": prompt}


def _counting(on_progress: OnProgress, phase: TrainingPhase, amount: int) -> Callable[[int], Awaitable[None]]:
    async def count(done: int) -> None:
        await on_progress(phase, done, amount)

    return count
