"""Stores the progress of a training run in its row: the last report, and the loss curve."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.repositories import training
from kairos.fine_tuning.training.process.job import TrainingPhase
from kairos.tenancy import ProjectId

CURVE_POINTS = 400
"""Maximum points of the loss curve; longer ones are thinned out."""
MIN_INTERVAL_S = 0.5
"""Minimum time between two written counts, in seconds."""


class RunProgress:
    """Stores the progress of one run."""

    def __init__(self, database: Database, project_id: ProjectId, run_id: UUID) -> None:
        self._database = database
        self._project_id = project_id
        self._run_id = run_id
        self._curve: list[dict[str, Any]] = []
        self._written_at = 0.0

    async def add_reports(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Store reports of the training process."""
        for report in reports:
            if report.get("step"):
                self._point(report)
        last = {name: value for name, value in reports[-1].items() if name != "at"}
        await self._write({**last, "curve": thinned(self._curve, CURVE_POINTS)})

    async def count(self, phase: TrainingPhase, done: int, of: int) -> None:
        """Store how many prompts are done, at most every `MIN_INTERVAL_S`."""
        if done and done < of and time.monotonic() - self._written_at < MIN_INTERVAL_S:
            return
        await self._write({"phase": phase, "step": done, "steps": of})

    def _point(self, report: Mapping[str, Any]) -> None:
        """Add a point, or merge it with the last: the validation loss is reported after the loss of the same step."""
        point = {name: report.get(name) for name in ("step", "loss", "validation_loss")}
        if self._curve and self._curve[-1]["step"] == point["step"]:
            before = self._curve[-1]
            self._curve[-1] = {name: point[name] if point[name] is not None else before[name] for name in point}
        else:
            self._curve.append(point)

    async def _write(self, progress: dict[str, Any]) -> None:
        self._written_at = time.monotonic()
        async with self._database.project(self._project_id) as session:
            if "curve" not in progress and (row := await training.get(session, self._run_id)):
                progress = {**progress, "curve": row.run.progress.get("curve", [])}
            await training.change(session, self._run_id, progress=progress)


def thinned(points: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return evenly spread points, always including the last and those with a validation loss."""
    step = max(1, -(-len(points) // most))
    last = len(points) - 1
    return [p for n, p in enumerate(points) if n % step == 0 or n == last or p["validation_loss"] is not None]
