"""The stored state of a training run: its samples, tries and adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid5

import orjson

from kairos import __version__
from kairos.agents.base import Task
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, RunState, SampleState, TrainingRunRow
from kairos.db.repositories import adapters, training
from kairos.db.repositories.dataset import dataset
from kairos.errors import NotFound
from kairos.fine_tuning.adapters.adapters import PEFT, AdapterFiles, sha256_of
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, rows_hash, split
from kairos.fine_tuning.training.trainer import CannotTrain, Trainer
from kairos.fine_tuning.tries.tries import Try
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

PAGE = 500


class TrainingRecords:
    """Reads and writes the rows of training runs."""

    def __init__(self, database: Database, files: AdapterFiles, trainer: Trainer) -> None:
        self._database = database
        self._files = files
        self._trainer = trainer

    async def begin(self, task: Task) -> TrainingRunRow:
        async with self._database.project(task.project_id) as session:
            run = await training.of_task(session, task.id)
            if run is None:
                raise NotFound(what="training run of task", id=task.id)
            await training.begin(session, run)
        return run

    async def training(self, run: TrainingRunRow) -> None:
        async with self._database.project(ProjectId(run.project_id)) as session:
            await training.change(session, run.id, state=RunState.TRAINING)

    async def evaluating(self, run: TrainingRunRow) -> None:
        async with self._database.project(ProjectId(run.project_id)) as session:
            await training.change(session, run.id, state=RunState.EVALUATING)

    async def end(self, run: TrainingRunRow, state: RunState, error: str | None = None) -> None:
        async with self._database.project(ProjectId(run.project_id)) as session:
            await training.end(session, run.id, state, error)

    async def samples(self, run: TrainingRunRow, base: Model) -> dict[Part, list[ApprovedSample]]:
        """Return the samples of this run. They are chosen once and stored, so that a resumed run uses the same.

        Raises `CannotTrain`.
        """
        rows = await approved_rows(self._database, ProjectId(run.project_id))
        known = run.settings.get("rows")
        if known is None:
            plan = await self._trainer.plan(base, rows)
            if plan.problems:
                raise CannotTrain(base=base.name, reasons="; ".join(plan.problems))
            parts = split(rows, self._trainer.held_out_share)
            known = {part.value: [[str(row.id), row.version] for row in parts[part]] for part in Part}
            run.settings = {**run.settings, "rows": known}
            run.rows, run.rows_hash = plan.training, rows_hash(parts[Part.TRAINING])
            async with self._database.project(ProjectId(run.project_id)) as session:
                values = {"settings": run.settings, "rows": run.rows, "rows_hash": run.rows_hash}
                await training.change(session, run.id, **values)
            return parts
        by_id = {(str(row.id), row.version): row for row in rows}
        return {part: [by_id[key] for key in map(tuple, known.get(part, [])) if key in by_id] for part in Part}

    def tries(self, run: TrainingRunRow) -> list[Try]:
        """Return the completed tries of a run."""
        return [Try.of(one) for one in run.settings.get("tries", [])]

    async def save_tries(self, run: TrainingRunRow, tries: Sequence[Try]) -> None:
        run.settings = {**run.settings, "tries": [one.stored() for one in tries]}
        async with self._database.project(ProjectId(run.project_id)) as session:
            await training.change(session, run.id, settings=run.settings)

    async def adapter(self, run: TrainingRunRow, made: Try, folder: Path) -> AdapterRow:
        """Return the adapter of a try, saved now unless an interrupted attempt already did.

        First its files are saved, then its row, so that an interruption leaves no incomplete adapter.
        """
        project_id, adapter_id = ProjectId(run.project_id), uuid5(run.id, str(made.number))
        async with self._database.project(project_id) as session:
            if known := await adapters.get(session, adapter_id):
                return known
            version = await adapters.next_version(session, run.base)
        manifest = await self._manifest(run, made, folder, version)
        stored = await asyncio.to_thread(self._files.save, folder, project_id, run.base, version, manifest)
        row = AdapterRow(
            project_id=project_id,
            id=adapter_id,
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
        async with self._database.project(project_id) as session:
            await adapters.add(session, row, seen)
        return row

    async def held_out(self, adapter: AdapterRow) -> list[UUID]:
        """Return the ids of the samples that the gate measures an adapter with."""
        async with self._database.project(ProjectId(adapter.project_id)) as session:
            seen = await adapters.rows_of(session, adapter.id)
        return [one.sample_id for one in seen if one.part == Part.HELD_OUT]

    async def _manifest(self, run: TrainingRunRow, made: Try, folder: Path, version: int) -> dict:
        job = orjson.loads(await asyncio.to_thread((folder.parent / "job.json").read_bytes))
        stored = made.stored()
        return {
            "project": str(run.project_id),
            "base": {"name": run.base, "sha256": job["base_sha256"]},
            "version": version,
            "rows": run.rows,
            "rows_sha256": run.rows_hash,
            "settings": job["settings"],
            "try": made.number,
            "replay_share": made.recipe.replay_share,
            "selection": stored["selection"],
            "libraries": dict(made.versions),
            "kairos": __version__,
            "metrics": dict(made.metrics),
            "files": {name: await asyncio.to_thread(sha256_of, folder / name) for name in PEFT},
            "run": str(run.id),
            "by": str(run.created_by) if run.created_by else None,
            "begun": run.started_at.isoformat() if run.started_at else None,
        }


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
