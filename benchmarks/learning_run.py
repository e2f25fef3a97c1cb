"""Training runs without a database: the steps of `agents/training.py`, with a temporary llama.cpp as server."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning_bench import ignore_progress, ignore_reports
from kairos.agents.execution import SYSTEM
from kairos.config import FineTuningSettings
from kairos.embedded.model import check_weights
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, split
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt, GateReport, Grader
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.training.process.job import GGUF, TrainingSettings
from kairos.fine_tuning.training.trainer import Trainer
from kairos.fine_tuning.tries.recipes import Recipe
from kairos.fine_tuning.tries.selection import MOST_SAMPLES, CandidateSelection
from kairos.fine_tuning.tries.tries import Tries, Try, TrySamples, adapter_of, improve
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import AdapterHost, Model

BASE = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The samples, tries, report and durations of a run."""

    parts: Mapping[Part, Sequence[ApprovedSample]]
    tries: Sequence[Try]
    report: GateReport
    adapter: Path
    seconds: float

    @property
    def training_s(self) -> float:
        return sum(one.seconds for one in self.tries)


class LearningRuns:
    """Runs trainings of the embedded model in one folder."""

    def __init__(
        self,
        folder: Path,
        providers: Providers,
        settings: FineTuningSettings,
        trainer: Trainer,
        one_off: OneOffModels,
    ) -> None:
        self._settings = settings
        self._one_off = one_off
        self._weights = check_weights()
        self._gate = Gate(providers, settings, folder)
        selection = CandidateSelection(providers, one_off, folder, settings)
        self._tries = Tries(trainer, one_off, selection, self._gate, settings, SYSTEM)

    async def run(self, rows: Sequence[ApprovedSample], grade: Grader, folder: Path, seed: int) -> RunOutcome:
        """Train on these rows in `folder`, and have the gate decide. Raises as `Tries`."""
        parts = split(rows, self._settings.held_out_share)
        used = parts[Part.SELECTION] or parts[Part.TRAINING][:MOST_SAMPLES]
        samples = TrySamples(parts, prompts_of(used), grade)
        began, reports = time.monotonic(), []
        base = Model(BASE, BASE, "", weights=str(self._weights), adapter_host=AdapterHost.EMBEDDED)
        prompts = prompts_of(parts[Part.HELD_OUT])

        async def perform(number: int, recipe: Recipe) -> Try:
            place = folder / str(number)
            return await self._tries.perform(number, recipe, place, base, samples, ignore_progress, ignore_reports)

        async def evaluate(best: Try, number: int) -> GateReport:
            adapter = adapter_of(folder / str(best.number), best.selection.chosen)
            async with self._one_off(self._weights, [adapter / GGUF]) as served:
                models = served.plain, served.adapted(0)
                report = await self._gate.measure(*models, prompts, grade, SYSTEM, ignore_progress, number)
            reports.append((report, adapter))
            return report

        settings = TrainingSettings(
            seed=TrainingSettings().seed + seed, epochs=self._settings.epochs, threads=self._settings.threads
        )
        first = Recipe(settings, self._settings.replay_share)
        limits = {"most": self._settings.tries, "limit_s": self._settings.timeout_s}
        found = await improve([], first, perform, evaluate, ignore_reports, **limits)
        report, adapter = min(reversed(reports), key=lambda done: list(GateOutcome).index(done[0].ruling))
        return RunOutcome(parts, found, report, adapter, round(time.monotonic() - began, 1))


def prompts_of(samples: Sequence[ApprovedSample]) -> list[GatePrompt]:
    return [GatePrompt(str(one.id), one.messages, one.answer) for one in samples]
