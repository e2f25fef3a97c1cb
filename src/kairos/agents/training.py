"""The agent of the `train` lane: trains an adapter on approved samples and submits it to the evaluation gate.

Every step is idempotent: after a crash, the run resumes from its last checkpoint and produces one adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import orjson

from kairos import __version__
from kairos.agents.answer_grader import AnswerGrader
from kairos.agents.base import AttemptContext, Checks, Draft, Emit, Task, TaskSpec
from kairos.agents.checks.requested import checks_from
from kairos.agents.execution import SYSTEM
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, EventKind, RunState, SampleState, TrainingRunRow
from kairos.db.repositories import adapters, training
from kairos.db.repositories.dataset import dataset
from kairos.db.repositories.tasks import tasks
from kairos.errors import KairosError, NotFound
from kairos.fine_tuning.adapters.adapters import PEFT, AdapterFiles, sha256_of
from kairos.fine_tuning.adapters.deployments import AdapterDeployments
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, rows_hash, split
from kairos.fine_tuning.gate.evaluation import GatePrompt, GateReport
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.gate.promotion import Promotions
from kairos.fine_tuning.training.run_progress import RunProgress
from kairos.fine_tuning.training.trainer import CannotTrain, Trainer, TrainingResult, TrainingSettings
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.llm_router import LLMRouter
from kairos.tenancy import ProjectId

PAGE = 500


class TrainingAgent:
    """Trains, evaluates and deploys adapters."""

    name = "TrainingAgent"
    capabilities = frozenset({"train"})

    def __init__(
        self,
        database: Database,
        router: LLMRouter,
        trainer: Trainer,
        gate: Gate,
        files: AdapterFiles,
        deployments: AdapterDeployments,
        promotions: Promotions,
        guardian: GuardianAgent,
        judge: Judge,
    ) -> None:
        self._database = database
        self._router = router
        self._trainer = trainer
        self._gate = gate
        self._files = files
        self._deployments = deployments
        self._promotions = promotions
        self._grader = AnswerGrader(guardian, judge)

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Perform a training run. The draft names the adapter and the gate's decision.

        On failure, the reason is stored in the run's row.
        """
        del attempt
        run = await self._start(task)
        try:
            adapter = await self._adapter(task, run, emit)
            report, ruled = await self._evaluate(task, run, adapter, emit)
        except KairosError as error:
            if not error.retryable:
                await self._finish(task.project_id, run.id, RunState.FAILED, str(error))
            raise
        await self._finish(task.project_id, run.id, RunState.DONE)
        await asyncio.to_thread(self._trainer.discard, self._trainer.folder(task.project_id, run.id))
        text = f"{ruled.base} v{ruled.version}: {ruled.state}. Evaluation gate: {report.reason}."
        return Draft(text=text, finish_reason="stop")

    async def _start(self, task: Task) -> TrainingRunRow:
        async with self._database.project(task.project_id) as session:
            run = await training.of_task(session, task.id)
            if run is None:
                raise NotFound(what="training run of task", id=task.id)
            await training.begin(session, run)
        return run

    async def _finish(self, project_id: ProjectId, run_id: UUID, state: RunState, error: str | None = None) -> None:
        async with self._database.project(project_id) as session:
            await training.end(session, run_id, state, error)

    async def _adapter(self, task: Task, run: TrainingRunRow, emit: Emit) -> AdapterRow:
        """Return the run's adapter, trained now unless an interrupted attempt already made it."""
        async with self._database.project(task.project_id) as session:
            if made := await adapters.of_run(session, run.id):
                return made
        base = self._router.require(run.base)
        rows = await approved_rows(self._database, task.project_id)
        samples = await self._samples(task, run, base, rows)
        folder = self._trainer.folder(task.project_id, run.id)
        progress = RunProgress(self._database, task.project_id, run.id)
        if not (folder / "job.json").exists():
            amount = int(run.settings["replayed"])
            replayed = await self._gate.replayed(base, amount, SYSTEM, progress.count)
            settings = TrainingSettings(**run.settings["training"])
            training_samples, held_out = samples[Part.TRAINING], samples[Part.HELD_OUT]
            await self._trainer.prepare(folder, base, training_samples, held_out, replayed, settings)
        await emit(EventKind.TRAINING, {"base": run.base, "rows": run.rows})
        trained = await self._trainer.train(folder, progress.add_reports)
        await emit(EventKind.TRAINED, {"metrics": dict(trained.metrics)})
        return await self._save(task, run, trained)

    async def _samples(
        self, task: Task, run: TrainingRunRow, base: Model, rows: Sequence[ApprovedSample]
    ) -> dict[Part, list[ApprovedSample]]:
        """Return the samples of this run. They are chosen once and stored, so that a resumed run uses the same."""
        known = run.settings.get("rows")
        if known is None:
            plan = await self._trainer.plan(base, rows)
            if plan.problems:
                raise CannotTrain(base=base.name, reasons="; ".join(plan.problems))
            parts = split(rows, self._trainer.held_out_share)
            known = {part.value: [[str(row.id), row.version] for row in parts[part]] for part in Part}
            run.settings = {**run.settings, "rows": known, "replayed": plan.replayed}
            run.rows, run.rows_hash = plan.training, rows_hash(parts[Part.TRAINING])
            async with self._database.project(task.project_id) as session:
                values = {"settings": run.settings, "rows": run.rows, "rows_hash": run.rows_hash}
                await training.change(session, run.id, **values)
            return parts
        by_id = {(str(row.id), row.version): row for row in rows}
        return {
            part: [by_id[sample_id, version] for sample_id, version in known[part] if (sample_id, version) in by_id]
            for part in Part
        }

    async def _save(self, task: Task, run: TrainingRunRow, trained: TrainingResult) -> AdapterRow:
        """Save the adapter: first its files, then its row, so that an interruption leaves no incomplete adapter."""
        job = orjson.loads((trained.adapter.parent / "job.json").read_bytes())
        async with self._database.project(task.project_id) as session:
            version = await adapters.next_version(session, run.base)
        manifest = {
            "project": str(task.project_id),
            "base": {"name": run.base, "sha256": job["base_sha256"]},
            "version": version,
            "rows": run.rows,
            "rows_sha256": run.rows_hash,
            "settings": job["settings"],
            "libraries": dict(trained.versions),
            "kairos": __version__,
            "metrics": dict(trained.metrics),
            "files": {name: await asyncio.to_thread(sha256_of, trained.adapter / name) for name in PEFT},
            "run": str(run.id),
            "by": str(run.created_by) if run.created_by else None,
            "begun": run.started_at.isoformat() if run.started_at else None,
        }
        stored = await asyncio.to_thread(
            self._files.save, trained.adapter, task.project_id, run.base, version, manifest
        )
        row = AdapterRow(
            project_id=task.project_id,
            id=run.id,
            run_id=run.id,
            base=run.base,
            version=version,
            path=stored.path,
            sha256=stored.sha256,
            bytes=stored.bytes,
            manifest=manifest,
            created_by=run.created_by,
        )
        # The samples as they were at the start of the run, including those changed or erased since.
        seen = [
            {"sample_id": UUID(sample_id), "version": row_version, "part": part}
            for part, known in run.settings["rows"].items()
            for sample_id, row_version in known
        ]
        async with self._database.project(task.project_id) as session:
            await adapters.add(session, row, seen)
        return row

    async def _evaluate(
        self, task: Task, run: TrainingRunRow, adapter: AdapterRow, emit: Emit
    ) -> tuple[GateReport, AdapterRow]:
        progress = RunProgress(self._database, task.project_id, run.id)
        async with self._database.project(task.project_id) as session:
            await training.change(session, run.id, state=RunState.EVALUATING)
        await emit(EventKind.EVALUATING, {"base": adapter.base, "version": adapter.version})
        prompts, checks = await self._prompts(task.project_id, adapter)

        async def grade(question: GatePrompt, answer: str) -> float:
            return await self._grader.grade(replace(task, spec=TaskSpec(checks=checks[question.id])), question, answer)

        async with self._deployments.gate_models(adapter) as models:
            report = await self._gate.measure(models.base, models.candidate, prompts, grade, SYSTEM, progress.count)
        report = replace(report, measured_on=models.note)
        ruled = await self._promotions.rule(task.project_id, adapter.id, report)
        data = {"ruling": report.ruling, "reason": report.reason, "state": ruled.state, "version": ruled.version}
        await emit(EventKind.RULED, data)
        return report, ruled

    async def _prompts(self, project_id: ProjectId, adapter: AdapterRow) -> tuple[list[GatePrompt], dict[str, Checks]]:
        """Return the held-out samples as gate prompts, and the checks of their tasks by prompt id."""
        prompts: list[GatePrompt] = []
        checks: dict[str, Checks] = {}
        async with self._database.project(project_id) as session:
            seen = await adapters.rows_of(session, adapter.id)
            rows = await dataset.of_ids(session, [one.sample_id for one in seen if one.part == Part.HELD_OUT])
            given = await tasks.checks_of(session, [row.task_id for row in rows if row.task_id])
        for row in rows:
            if row.corrected_output is None:
                continue
            name = str(row.id)
            of_task = given.get(row.task_id) if row.task_id else None
            checks[name] = checks_from(of_task or {})
            prompts.append(GatePrompt(name, tuple(row.prompt), row.corrected_output))
        return prompts, checks


async def approved_rows(database: Database, project_id: ProjectId) -> list[ApprovedSample]:
    """Return all samples of the project that are approved or held out, oldest first."""
    rows: list[ApprovedSample] = []
    for state in (SampleState.APPROVED, SampleState.HELD_OUT):
        after: UUID | None = None
        while True:
            async with database.project(project_id) as session:
                page = await dataset.usable(session, state, after, PAGE)
            rows += [
                ApprovedSample(
                    id=row.id,
                    version=row.version,
                    task_id=row.task_id,
                    task_type=row.task_type,
                    messages=tuple(row.prompt),
                    answer=row.corrected_output or "",
                    held_out=state is SampleState.HELD_OUT,
                )
                for row in page
            ]
            if len(page) < PAGE:
                break
            after = page[-1].id
    return rows
