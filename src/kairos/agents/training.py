"""The agent of the `train` lane: trains an adapter on approved samples and submits it to the evaluation gate.

If it learned too little or forgot too much, the run tries again with another recipe, within its limits. Every step is
idempotent: after a crash, the run resumes from its last checkpoint and produces the same adapters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.agents.execution import SYSTEM
from kairos.agents.training_grades import SampleGrades
from kairos.agents.training_records import TrainingRecords
from kairos.config import FineTuningSettings
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, EventKind, RunState, TrainingRunRow
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.dataset.split import Part
from kairos.fine_tuning.gate.evaluation import GateOutcome, GateReport
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.fine_tuning.training.process.job import TrainingSettings
from kairos.fine_tuning.training.run_progress import RunProgress
from kairos.fine_tuning.training.trainer import Trainer
from kairos.fine_tuning.tries.recipes import Recipe
from kairos.fine_tuning.tries.selection import MOST_SAMPLES
from kairos.fine_tuning.tries.tries import Tries, Try, TrySamples, adapter_of, improve
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.llm_router import LLMRouter


class TrainingAgent:
    """Trains, evaluates and deploys adapters."""

    name = "TrainingAgent"
    capabilities = frozenset({"train"})

    def __init__(
        self,
        database: Database,
        router: LLMRouter,
        trainer: Trainer,
        tries: Tries,
        gate: Gate,
        records: TrainingRecords,
        deployments: AdapterDeployments,
        promotions: Promotions,
        grades: SampleGrades,
        settings: FineTuningSettings,
    ) -> None:
        self._database = database
        self._router = router
        self._trainer = trainer
        self._tries = tries
        self._gate = gate
        self._records = records
        self._deployments = deployments
        self._promotions = promotions
        self._grades = grades
        self._settings = settings

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Perform a training run. The draft names the adapter and the gate's decision.

        On failure, the reason is stored in the run's row.
        """
        del attempt
        run = await self._records.begin(task)
        try:
            report, ruled = await self._run(task, run, emit)
        except KairosError as error:
            if not error.retryable:
                await self._records.end(run, RunState.FAILED, str(error))
            raise
        await self._records.end(run, RunState.DONE)
        await asyncio.to_thread(self._trainer.discard, self._trainer.folder(task.project_id, run.id))
        text = f"{ruled.base} v{ruled.version}: {ruled.state}. Evaluation gate: {report.reason}."
        return Draft(text=text, finish_reason="stop")

    async def _run(self, task: Task, run: TrainingRunRow, emit: Emit) -> tuple[GateReport, AdapterRow]:
        base = self._router.require(run.base)
        samples = await self._samples(task, run, base)
        outcomes: list[tuple[GateReport, AdapterRow]] = []

        async def perform(number: int, recipe: Recipe) -> Try:
            await self._records.training(run)
            await emit(EventKind.TRAINING, {"base": run.base, "rows": run.rows, "try": number})
            made = await self._try(task, run, base, samples, number, recipe)
            await emit(EventKind.TRAINED, {"metrics": dict(made.metrics), "try": number})
            return made

        async def evaluate(best: Try, number: int) -> GateReport:
            outcomes.append(await self._evaluate(task, run, best, number, emit))
            return outcomes[-1][0]

        async def save(tries: Sequence[Try]) -> None:
            await self._records.save_tries(run, tries)

        first = Recipe(TrainingSettings(**run.settings["training"]), self._settings.replay_share)
        limits = {"most": self._settings.tries, "limit_s": self._settings.timeout_s}
        await improve(self._records.tries(run), first, perform, evaluate, save, **limits)
        return await self._best_outcome(task, outcomes)

    async def _best_outcome(
        self, task: Task, outcomes: Sequence[tuple[GateReport, AdapterRow]]
    ) -> tuple[GateReport, AdapterRow]:
        """Return the best outcome. Other adapters of this run that wait for approval are refused in its favour."""
        report, best = min(reversed(outcomes), key=lambda outcome: list(GateOutcome).index(outcome[0].ruling))
        for _, other in outcomes:
            if other.id != best.id:
                await self._promotions.supersede(task.project_id, other.id, best)
        return report, best

    async def _samples(self, task: Task, run: TrainingRunRow, base: Model) -> TrySamples:
        """Small datasets have no samples to choose among candidates, and use some that they train on."""
        parts = await self._records.samples(run, base)
        used = parts[Part.SELECTION] or parts[Part.TRAINING][:MOST_SAMPLES]
        return TrySamples(parts, *await self._grades.prompts(task, [sample.id for sample in used]))

    async def _try(
        self, task: Task, run: TrainingRunRow, base: Model, samples: TrySamples, number: int, recipe: Recipe
    ) -> Try:
        folder = self._trainer.folder(task.project_id, run.id) / str(number)
        progress = RunProgress(self._database, task.project_id, run.id)
        return await self._tries.perform(number, recipe, folder, base, samples, progress.count, progress.add_reports)

    async def _evaluate(
        self, task: Task, run: TrainingRunRow, best: Try, number: int, emit: Emit
    ) -> tuple[GateReport, AdapterRow]:
        folder = self._trainer.folder(task.project_id, run.id) / str(best.number)
        files = await asyncio.to_thread(adapter_of, folder, best.selection.chosen)
        adapter = await self._records.adapter(run, best, files)
        progress = RunProgress(self._database, task.project_id, run.id)
        await self._records.evaluating(run)
        await emit(EventKind.EVALUATING, {"base": adapter.base, "version": adapter.version})
        prompts, grade = await self._grades.prompts(task, await self._records.held_out(adapter))
        async with self._deployments.gate_models(adapter) as models:
            report = await self._gate.measure(
                models.base, models.candidate, prompts, grade, SYSTEM, progress.count, number
            )
        report = replace(report, measured_on=models.note)
        ruled = await self._promotions.rule(task.project_id, adapter.id, report)
        data = {"ruling": report.ruling, "reason": report.reason, "state": ruled.state, "version": ruled.version}
        await emit(EventKind.RULED, data)
        return report, ruled
