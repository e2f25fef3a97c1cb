"""The tries of a training run: trains by a recipe, chooses among the candidates, and tries another recipe if needed.

A try that learned too little, or forgot too much, is followed by one with a changed recipe, while the limits of the run
allow it. The best goes to the gate. This module neither stores nor deploys anything, so benchmarks use it as runs do.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.adapters.strength import weaken
from kairos.fine_tuning.dataset.split import ApprovedSample, Part
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt, GateReport, Grader
from kairos.fine_tuning.gate.gate import Gate, OnProgress
from kairos.fine_tuning.gate.loss_test import Loss
from kairos.fine_tuning.training.process.job import ADAPTER, CANDIDATES
from kairos.fine_tuning.training.trainer import OnReport, Trainer, TrainingResult, replays
from kairos.fine_tuning.tries.recipes import Recipe, Shortfall
from kairos.fine_tuning.tries.selection import CandidateSelection, RatedCandidate, Selection, last_candidate
from kairos.llm.catalog.catalog import Model

ENOUGH_LEARNED = 0.85
"""Mean quality on samples from which a try needs no other to learn more."""
TIME_FACTOR = 1.5
"""Another try starts if this multiple of the longest one so far still fits."""


@dataclass(frozen=True, slots=True)
class Try:
    """A completed try."""

    number: int
    recipe: Recipe
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    selection: Selection
    seconds: float
    shortfall: Shortfall | None
    """None if it is good enough, by the selection or, once it was asked, by the gate."""
    ruling: GateOutcome | None = None
    """None if the gate was not asked."""
    reason: str = ""
    """The gate's reason."""

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Try:
        shortfall, ruling = stored["shortfall"], stored["ruling"]
        return cls(
            **{
                **stored,
                "recipe": Recipe.of(stored["recipe"]),
                "selection": Selection.of(stored["selection"]),
                "shortfall": Shortfall(shortfall) if shortfall else None,
                "ruling": GateOutcome(ruling) if ruling else None,
            }
        )

    def ruled(self, report: GateReport) -> Try:
        return replace(self, ruling=report.ruling, reason=report.reason, shortfall=shortfall_of(report))


@dataclass(frozen=True, slots=True)
class TrySamples:
    """The samples of a run, and how answers to those of the selection are scored."""

    parts: Mapping[Part, Sequence[ApprovedSample]]
    prompts: Sequence[GatePrompt]
    grade: Grader


class Tries:
    """Performs tries."""

    def __init__(
        self,
        trainer: Trainer,
        one_off: OneOffModels,
        selection: CandidateSelection,
        gate: Gate,
        settings: FineTuningSettings,
        system: str,
    ) -> None:
        """`system` is the system prompt of the agent that adapters serve."""
        self._trainer = trainer
        self._one_off = one_off
        self._selection = selection
        self._gate = gate
        self._settings = settings
        self._system = system

    async def perform(
        self,
        number: int,
        recipe: Recipe,
        folder: Path,
        base: Model,
        samples: TrySamples,
        on_progress: OnProgress,
        on_report: OnReport,
    ) -> Try:
        """Train and choose. Interrupted before its end, it resumes from the files in the folder.

        Raises the errors of `Trainer.train` and of `CandidateSelection.choose`.
        """
        began = time.monotonic()
        if not (folder / "job.json").exists():
            training = samples.parts[Part.TRAINING]
            amount = replays(len(training), recipe.replay_share)
            async with self._one_off.base(base) as served:
                replayed = await self._gate.replayed(served, amount, self._system, on_progress)
            selection = samples.parts[Part.SELECTION]
            await self._trainer.prepare(folder, base, training, selection, replayed, recipe.training)
        trained = await self._trainer.train(folder, on_report)
        chosen = await self._select(base, trained, samples, on_progress)
        seconds = round(time.monotonic() - began, 1)
        shortfall = self._shortfall(chosen.chosen)
        return Try(number, recipe, dict(trained.metrics), dict(trained.versions), chosen, seconds, shortfall)

    async def _select(
        self, base: Model, trained: TrainingResult, samples: TrySamples, on_progress: OnProgress
    ) -> Selection:
        """Without a GGUF file of the base, the last candidate is chosen: llama.cpp cannot load a folder."""
        weights = Path(base.weights or "")
        if not await asyncio.to_thread(weights.is_file):
            return last_candidate(trained.candidates)
        return await self._selection.choose(
            weights, trained.candidates, samples.prompts, samples.grade, self._system, on_progress
        )

    def _shortfall(self, chosen: RatedCandidate) -> Shortfall | None:
        if chosen.learned is not None and chosen.learned < ENOUGH_LEARNED:
            return Shortfall.LEARNED_TOO_LITTLE
        if chosen.kept is not None and chosen.kept < -self._settings.margin:
            return Shortfall.FORGOT
        return None


async def improve(
    tries: Sequence[Try],
    first: Recipe,
    perform: Callable[[int, Recipe], Awaitable[Try]],
    evaluate: Callable[[Try, int], Awaitable[GateReport]],
    save: Callable[[Sequence[Try]], Awaitable[None]],
    *,
    most: int,
    limit_s: float,
) -> list[Try]:
    """Try, have the gate evaluate the best, and try again while it finds a shortfall that another try may remove.

    `tries` are those that ended before an interruption. `evaluate` receives a try and its number among the evaluated
    ones, from 1. `save` stores each change. Returns all tries; no more than `most`, and none that begins later than its
    expected end within `limit_s`.
    """
    found, ends_at = list(tries), time.monotonic() + limit_s
    while True:
        while recipe := next_recipe(found, most, ends_at - time.monotonic()) if found else first:
            found.append(await perform(len(found) + 1, recipe))
            await save(found)
        best = best_of(found)
        number = 1 + sum(one.ruling is not None for one in found)
        ruled = best.ruled(await evaluate(best, number))
        found[found.index(best)] = ruled
        await save(found)
        if not next_recipe(found, most, ends_at - time.monotonic()):
            return found


def next_recipe(tries: Sequence[Try], most: int, left_s: float) -> Recipe | None:
    """Return the recipe of another try; None if the last is good enough, or another exceeds the number or the time."""
    last = tries[-1]
    if any(one.ruling is GateOutcome.PROMOTE for one in tries):
        return None
    longest = max(one.seconds for one in tries)
    if last.shortfall is None or len(tries) >= most or longest * TIME_FACTOR > left_s:
        return None
    return last.recipe.after(last.shortfall)


def best_of(tries: Sequence[Try]) -> Try:
    """Return the try for the gate: of those that it has not refused, one without a shortfall, else the one that learned
    most, else the one that kept most."""

    def rank(one: Try) -> tuple[bool, bool, float, float]:
        chosen = one.selection.chosen
        return one.ruling is None, one.shortfall is None, chosen.learned or 0.0, chosen.kept or 0.0

    return max(tries, key=rank)


def shortfall_of(report: GateReport) -> Shortfall | None:
    """Return what the gate found missing; None if it promotes the adapter, or a person has to decide for lack of
    samples."""
    if report.ruling is GateOutcome.PROMOTE:
        return None
    if report.loss is Loss.CERTAIN:
        return Shortfall.FORGOT
    learned = report.held_out.candidate
    return Shortfall.LEARNED_TOO_LITTLE if learned is not None and learned < ENOUGH_LEARNED else None


def adapter_of(folder: Path, chosen: RatedCandidate) -> Path:
    """Return the try's folder of the adapter, with the files of the chosen candidate at its strength. Idempotent."""
    part, adapter = folder / f"{ADAPTER}.part", folder / ADAPTER
    for old in (part, adapter):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(folder / CANDIDATES / str(chosen.step), part)
    if chosen.strength != 1.0:
        weaken(part, chosen.strength)
    part.rename(adapter)
    return adapter
