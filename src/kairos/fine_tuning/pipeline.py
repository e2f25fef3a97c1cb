"""The steps of a training run that need no database, in their order: choose samples, prepare, train, evaluate.

The agent of the `train` lane stores the result of each step, so that a run resumes; benchmarks call them directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kairos.fine_tuning.adapters.deployments import GateModels
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, split
from kairos.fine_tuning.gate.evaluation import GatePrompt, GateReport, Grader
from kairos.fine_tuning.gate.gate import Gate, OnProgress
from kairos.fine_tuning.training.process.job import TrainingSettings
from kairos.fine_tuning.training.trainer import CannotTrain, OnReport, Trainer, TrainingResult
from kairos.llm.catalog.catalog import Model


@dataclass(frozen=True, slots=True)
class RunSamples:
    """The samples of a run by part, and how many control prompts are replayed beside them."""

    parts: Mapping[Part, list[ApprovedSample]]
    replayed: int


class TrainingPipeline:
    """Trains one adapter and evaluates it. The models are called with `system` as the system prompt."""

    def __init__(self, trainer: Trainer, gate: Gate, system: str) -> None:
        self._trainer = trainer
        self._gate = gate
        self._system = system

    async def choose(self, base: Model, rows: Sequence[ApprovedSample]) -> RunSamples:
        """Split the rows into training and held-out samples. Raises `CannotTrain`."""
        plan = await self._trainer.plan(base, rows)
        if plan.problems:
            raise CannotTrain(base=base.name, reasons="; ".join(plan.problems))
        return RunSamples(split(rows, self._trainer.held_out_share), plan.replayed)

    async def prepare(
        self,
        folder: Path,
        base: Model,
        samples: RunSamples,
        settings: TrainingSettings,
        on_progress: OnProgress,
    ) -> None:
        """Collect the base's answers to replay, and write the input of the training process.

        Raises `ModelCallError`, `DiskFull`.
        """
        replayed = await self._gate.replayed(base, samples.replayed, self._system, on_progress)
        training, held_out = samples.parts[Part.TRAINING], samples.parts[Part.HELD_OUT]
        await self._trainer.prepare(folder, base, training, held_out, replayed, settings)

    async def train(self, folder: Path, on_report: OnReport) -> TrainingResult:
        """Train on the prepared folder, or resume there. Raises as `Trainer.train`."""
        return await self._trainer.train(folder, on_report)

    async def evaluate(
        self, models: GateModels, held_out: Sequence[GatePrompt], grade: Grader, on_progress: OnProgress
    ) -> GateReport:
        """Return the gate's report on the candidate. Raises `ModelCallError`."""
        return await self._gate.measure(models.base, models.candidate, held_out, grade, self._system, on_progress)
