"""The evaluation gate: sends prompts to base and candidate as they are served, and decides by the answers.

It also collects the base's own answers to the control prompts that are replayed in training.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kairos.config import FineTuningSettings
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.evaluation import GatePrompt, GateReport, Grader, compare, rule
from kairos.fine_tuning.training.process.job import Example, TrainingPhase
from kairos.llm.calls.providers import ChatRequest, Completion, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model

log = logging.getLogger(__name__)

ANSWER_TOKENS = 256
REPLAY_TOKENS = 160
CALL_S = 180.0
TRIES = 3
PAUSES_S = (0.5, 2.0)

OnProgress = Callable[[TrainingPhase, int, int], Awaitable[None]]
"""Receives the name of the set of prompts, the number done, and the total."""


class Gate:
    """Calls models directly, since its calls are not project traffic and must not influence the router."""

    def __init__(self, providers: Providers, settings: FineTuningSettings) -> None:
        self._providers = providers
        self._settings = settings

    async def measure(
        self,
        base: Model,
        candidate: Model,
        held_out: Sequence[GatePrompt],
        grade: Grader,
        system: str,
        on_progress: OnProgress,
    ) -> GateReport:
        """Compare both models on the held-out and the control prompts. Raises `ModelCallError`."""
        control = {f"control {n}": one for n, one in enumerate(self._control(), 1)}

        async def of_base(messages: Sequence[Mapping[str, Any]]) -> str:
            return (await self._ask(base, messages, ANSWER_TOKENS)).text

        async def of_candidate(messages: Sequence[Mapping[str, Any]]) -> str:
            return (await self._ask(candidate, messages, ANSWER_TOKENS)).text

        async def grade_control(question: GatePrompt, answer: str) -> float:
            return control[question.id].quality(answer)

        prompts = [
            GatePrompt(name, _messages(system, one.prompt), " / ".join(one.any_of)) for name, one in control.items()
        ]
        kept = held_out[: self._settings.held_out_prompts]
        first = await compare(
            kept, of_base, of_candidate, grade, _counting(on_progress, TrainingPhase.HELD_OUT_ROWS, len(kept))
        )
        count = _counting(on_progress, TrainingPhase.CONTROL_PROMPTS, len(prompts))
        second = await compare(prompts, of_base, of_candidate, grade_control, count)
        return rule(first, second, self._settings.margin)

    async def replayed(self, base: Model, amount: int, system: str, on_progress: OnProgress) -> list[Example]:
        """Return examples with the base's own complete answers to control prompts. Raises `ModelCallError`."""
        examples: list[Example] = []
        prompts = control_prompts.replayed()
        for number, prompt in enumerate(prompts):
            if len(examples) >= amount:
                break
            await on_progress(TrainingPhase.BASE_ANSWERS, len(examples), min(amount, len(prompts)))
            messages = _messages(system, prompt)
            answer = await self._ask(base, messages, REPLAY_TOKENS)
            if answer.finish_reason == "stop" and answer.text.strip():
                examples.append(Example([dict(message) for message in messages], answer.text, replayed=True))
            log.debug("replayed prompt %d: %s", number, answer.finish_reason)
        return examples

    def _control(self) -> Sequence[control_prompts.ControlPrompt]:
        """Return the configured number of control prompts, spread over all kinds."""
        everything = control_prompts.control()
        amount = min(self._settings.control_prompts, len(everything))
        return [everything[number * len(everything) // amount] for number in range(amount)]

    async def _ask(self, model: Model, messages: Sequence[Mapping[str, Any]], tokens: int) -> Completion:
        request = ChatRequest(messages=tuple(messages), temperature=0.0, max_tokens=tokens)
        for left in reversed(range(TRIES)):
            try:
                return await self._providers.chat(model, request, timeout_s=CALL_S)
            except ModelCallError as error:
                if not left or error.permanent:
                    raise
                log.warning("retrying the call to %s: %s", model.name, error)
                await asyncio.sleep(random.uniform(*PAUSES_S))
        raise AssertionError("the last try returns or raises")


def _messages(system: str, prompt: str) -> tuple[Mapping[str, str], ...]:
    return {"role": "system", "content": system}, {"role": "user", "content": prompt}


def _counting(on_progress: OnProgress, phase: TrainingPhase, amount: int) -> Callable[[int], Awaitable[None]]:
    async def count(done: int) -> None:
        await on_progress(phase, done, amount)

    return count
