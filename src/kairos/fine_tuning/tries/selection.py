"""Chooses among the candidates of one training, as served, with samples and prompts that the gate never uses.

A candidate is the adapter after some step, at some strength. All candidates answer the selection samples. Of those that
learned most, the one with the most steps is tried first, then earlier ones, then weaker ones, until one loses no more
than the margin on control prompts. The gate measures more exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from kairos.background_tasks import gather
from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.asking import CONTROL_TOKENS, ModelCalls, greedy
from kairos.fine_tuning.gate.base_answers import BaseAnswer, BaseAnswers, identity_of
from kairos.fine_tuning.gate.evaluation import GatePrompt, Grader
from kairos.fine_tuning.gate.gate import OnProgress
from kairos.fine_tuning.gate.general_ability import PromptContext, Question, Sampling
from kairos.fine_tuning.training.process.job import GGUF, TrainingPhase
from kairos.llm.calls.providers import Providers

log = logging.getLogger(__name__)

STRENGTHS = (1.0, 0.8, 0.6)
"""Tried in this order if the candidate at full strength lost too much general ability."""
MOST_SAMPLES = 12
MOST_PROMPTS = 80
"""Most control prompts per candidate."""
MOST_TRIED = 4
"""Candidates that answer the control prompts."""
GREEDY = Sampling(0.0, None)


@dataclass(frozen=True, slots=True)
class RatedCandidate:
    """The measurements of a candidate."""

    step: int
    strength: float
    learned: float | None
    """Mean quality on the selection samples; None without samples."""
    kept: float | None = None
    """Mean difference to the base on the selection's control prompts; None if they were not asked."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate, and all that were rated, in the order of their rating."""

    chosen: RatedCandidate
    rated: tuple[RatedCandidate, ...]

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Selection:
        """Return the selection that `dataclasses.asdict` was given."""
        rated = tuple(RatedCandidate(**one) for one in stored["rated"])
        return cls(RatedCandidate(**stored["chosen"]), rated)


def last_candidate(candidates: Sequence[Path]) -> Selection:
    """Return the candidate with the most steps, unrated."""
    last = RatedCandidate(int(candidates[-1].name), 1.0, None)
    return Selection(last, (last,))


class LoadedCandidates(Protocol):
    """A base that has all candidates loaded."""

    @property
    def plain(self) -> ModelCopies: ...

    def adapted(self, number: int, strength: float = 1.0) -> ModelCopies: ...


class ServeCandidates(Protocol):
    """Serves a base with adapters, temporarily."""

    def __call__(self, weights: Path, adapters: Sequence[Path]) -> AbstractAsyncContextManager[LoadedCandidates]: ...


class CandidateSelection:
    """Rates the candidates of trainings on temporary llama.cpp processes."""

    def __init__(
        self, providers: Providers, serve: ServeCandidates, folder: Path, settings: FineTuningSettings
    ) -> None:
        """`folder` keeps the bases' answers to built-in prompts."""
        self._providers = providers
        self._serve = serve
        self._folder = folder
        self._settings = settings

    async def choose(
        self,
        weights: Path,
        candidates: Sequence[Path],
        samples: Sequence[GatePrompt],
        grade: Grader,
        system: str,
        on_progress: OnProgress,
    ) -> Selection:
        """Choose among the candidates in these folders, which are named by their step. Raises `ModelCallError`,
        `EngineNotStarted`, `EngineNotInstalled`."""
        async with self._serve(weights, [folder / GGUF for folder in candidates]) as loaded:
            known = BaseAnswers(self._folder, identity_of(loaded.plain.first))
            prompts = min(MOST_PROMPTS, self._settings.control_prompts)
            rating = _Rating(self._providers, loaded, known, system, prompts)
            rated: list[RatedCandidate] = []
            for number, folder in enumerate(candidates):
                await on_progress(TrainingPhase.SELECTION, number, len(candidates))
                rated.append(await rating.learned(number, int(folder.name), 1.0, samples[:MOST_SAMPLES], grade))
            return await self._choose(rating, rated, samples[:MOST_SAMPLES], grade)

    async def _choose(
        self, rating: _Rating, rated: list[RatedCandidate], samples: Sequence[GatePrompt], grade: Grader
    ) -> Selection:
        best = max(one.learned or 0.0 for one in rated)
        numbers = [number for number, one in enumerate(rated) if (one.learned or 0.0) >= best]
        tried: list[RatedCandidate] = []
        for number in numbers[::-1][:MOST_TRIED]:
            rated[number] = replace(rated[number], kept=await rating.kept(number, 1.0))
            tried.append(rated[number])
            if self._is_enough(tried[-1], best):
                return Selection(tried[-1], tuple(rated))
        number = max(numbers[::-1][:MOST_TRIED], key=lambda number: rated[number].kept or 0.0)
        for strength in STRENGTHS[1:]:
            weaker = await rating.learned(number, rated[number].step, strength, samples, grade)
            weaker = replace(weaker, kept=await rating.kept(number, strength))
            rated.append(weaker)
            if self._is_enough(weaker, best):
                return Selection(weaker, tuple(rated))
        return Selection(rated[number], tuple(rated))

    def _is_enough(self, candidate: RatedCandidate, best: float) -> bool:
        return (candidate.learned or 0.0) >= best and (candidate.kept or 0.0) >= -self._settings.margin


class _Rating:
    """Measures loaded candidates."""

    def __init__(
        self, providers: Providers, loaded: LoadedCandidates, known: BaseAnswers, system: str, prompts: int
    ) -> None:
        self._providers = providers
        self._loaded = loaded
        self._base = ModelCalls(providers, loaded.plain)
        self._known = known
        self._questions = [
            Question(number, prompt, list(PromptContext)[number % len(PromptContext)], GREEDY)
            for number, prompt in enumerate(control_prompts.selection()[:prompts])
        ]
        self._system = system

    async def learned(
        self, number: int, step: int, strength: float, samples: Sequence[GatePrompt], grade: Grader
    ) -> RatedCandidate:
        calls = ModelCalls(self._providers, self._loaded.adapted(number, strength))

        async def quality(sample: GatePrompt) -> float:
            return await grade(sample, (await calls.ask(greedy(sample.messages))).text)

        found = await gather([quality(sample) for sample in samples], calls.at_once)
        return RatedCandidate(step, strength, fmean(found) if found else None)

    async def kept(self, number: int, strength: float) -> float:
        """Return the mean difference of the candidate's quality to the base's on control prompts."""
        calls = ModelCalls(self._providers, self._loaded.adapted(number, strength))

        async def difference(question: Question) -> float:
            request = greedy(question.messages(self._system), CONTROL_TOKENS)
            base = await self._known.get(request, lambda: self._base_answer(request))
            answer = (await calls.ask(request)).text
            return question.prompt.quality(answer) - question.prompt.quality(base.text)

        return fmean(await gather([difference(question) for question in self._questions], calls.at_once))

    async def _base_answer(self, request: Any) -> BaseAnswer:
        completion = await self._base.ask(request)
        return BaseAnswer(completion.text, completion.finish_reason)
