"""The router's statistics in one process: for each project, a table of task types by models, in memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from kairos.llm.routing.scoring import evidence
from kairos.llm.routing.statistics import (
    Observation,
    RouterWeights,
    Sample,
    Statistics,
    add_call,
    add_qualities,
    averaged,
    correct,
    decay,
    fade,
)

ROWS_KEPT = 1000
"""Maximum task types of a project in memory: callers choose type names freely."""
STALE_S = 3600.0
"""Age after which a row is decayed before it is read. 14 days halve it; an hour removes .2 %."""
AVERAGE_WEIGHT = 0.1
"""Weight of a new call in a model's average over all task types, and in a task type's average over all models."""

NO_EVIDENCE = (0.0, 0.0)
"""Evidence of a cell without observations."""


class ExperienceRow:
    """One task type of a project, with a cell for every model that was considered."""

    __slots__ = ("at", "cells", "evidence", "incumbent", "n", "output_tokens", "position", "task_type")

    def __init__(self, task_type: str, now: float) -> None:
        self.task_type = task_type
        self.position = 0
        """Total number of quality observations of this task type; the exponent of `gamma`."""
        self.n = 0.0
        """The decayed number of observations: the sum over the cells."""
        self.at = now
        self.incumbent: str | None = None
        self.output_tokens: float | None = None
        """Average output tokens over all models: the estimate for a model without observations of this task type."""
        self.cells: dict[str, Statistics] = {}
        self.evidence: dict[str, tuple[float, float]] = {}
        """The contribution of each cell to its model's prior for other task types, as included in `ModelPrior`."""


class ModelPrior:
    """The evidence about one model over all task types of a project."""

    __slots__ = ("latency_s", "weight", "weighted")

    def __init__(self) -> None:
        self.weight = 0.0
        self.weighted = 0.0
        self.latency_s: float | None = None


class ProjectExperience:
    """The rows of one project. Other projects never see them."""

    def __init__(self) -> None:
        self.rows: dict[str, ExperienceRow] = {}
        self.models: dict[str, ModelPrior] = {}
        self._changes = 0

    def row(self, task_type: str, now: float, weights: RouterWeights) -> ExperienceRow:
        """Return the row of a task type, decayed to the present if it is stale."""
        row = self.rows.get(task_type)
        if row is None:
            if len(self.rows) >= ROWS_KEPT:
                self._discard(min(self.rows.values(), key=lambda kept: kept.at))
            row = self.rows[task_type] = ExperienceRow(task_type, now)
        elif now - row.at > STALE_S:
            self.advance(row, 0, now, weights)
        return row

    def cell(self, row: ExperienceRow, model: str) -> Statistics:
        cell = row.cells.get(model)
        if cell is None:
            cell = row.cells[model] = Statistics(last_change=row.at)
            self.models.setdefault(model, ModelPrior())
        return cell

    def advance(self, row: ExperienceRow, observations: int, now: float, weights: RouterWeights) -> None:
        """Decay the whole row by a number of observations and by the time since its last change."""
        now = max(now, row.at)
        factor = decay(weights, observations, now - row.at)
        row.position += observations
        row.n = row.n * factor + observations
        row.at = now
        for model, cell in row.cells.items():
            fade(cell, factor)
            cell.last_change = now
            self.update_evidence(row, model, weights)

    def update_evidence(self, row: ExperienceRow, model: str, weights: RouterWeights) -> None:
        """Update the evidence that a cell contributes to its model's prior."""
        total, new, old = self.models[model], evidence(row.cells[model], weights), row.evidence.get(model, NO_EVIDENCE)
        row.evidence[model] = new
        total.weight += new[0] - old[0]
        total.weighted += new[1] - old[1]

    def correct_rounding(self) -> None:
        """Recompute the priors every 1,000 changes, because incremental updates accumulate rounding errors."""
        self._changes += 1
        if self._changes % 1000 == 0:
            for model, total in self.models.items():
                parts = [row.evidence[model] for row in self.rows.values() if model in row.evidence]
                total.weight, total.weighted = sum(w for w, _ in parts), sum(x for _, x in parts)

    def _discard(self, row: ExperienceRow) -> None:
        for model, (weight, weighted) in row.evidence.items():
            self.models[model].weight -= weight
            self.models[model].weighted -= weighted
        del self.rows[row.task_type]


class Experience:
    """The statistics of all projects in this process. A shared store restores rows and saves what `observe` returns."""

    def __init__(self, weights: RouterWeights) -> None:
        self.weights = weights
        self._projects: dict[Hashable, ProjectExperience] = {}

    def project(self, project_id: Hashable) -> ProjectExperience:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = ProjectExperience()
        return project

    def observe(self, seen: Observation) -> Sample | None:
        """Record one call. Returns the sample that a late label may correct, or None if the call was not judged."""
        project = self.project(seen.project_id)
        row = project.row(seen.task_type, seen.at, self.weights)
        cell = project.cell(row, seen.model)
        sample = None
        if seen.quality is not None:
            project.advance(row, 1, seen.at, self.weights)
            add_qualities(cell, (seen.quality,), self.weights)
            project.update_evidence(row, seen.model, self.weights)
            sample = Sample(row.position, cell.turn, row.at, seen.quality)
        add_call(cell, seen, self.weights)
        total = project.models[seen.model]
        total.latency_s = averaged(total.latency_s, seen.latency_s, AVERAGE_WEIGHT)
        row.output_tokens = averaged(row.output_tokens, seen.output_tokens, AVERAGE_WEIGHT)
        project.correct_rounding()
        return sample

    def relabel(
        self, project_id: Hashable, task_type: str, model: str, sample: Sample, quality: float, now: float
    ) -> Sample:
        """Correct the quality of an observed answer. Returns the sample with its new quality."""
        project = self.project(project_id)
        row = project.row(task_type, now, self.weights)
        correct(project.cell(row, model), sample, quality, row.position, row.at, self.weights)
        project.update_evidence(row, model, self.weights)
        return Sample(sample.position, sample.turn, sample.at, quality)

    def restore(self, project_id: Hashable, task_type: str, position: int, stored: dict[str, Statistics]) -> None:
        """Load a row from the store. Models that are not in it keep their local statistics."""
        project = self.project(project_id)
        latest = max((cell.last_change for cell in stored.values()), default=0.0)
        row = project.row(task_type, latest, self.weights)
        row.position = position
        row.at = max(row.at, latest)
        for model, cell in stored.items():
            cell.pending = project.cell(row, model).pending
            fade(cell, decay(self.weights, 0, row.at - cell.last_change))
            cell.last_change = row.at
            row.cells[model] = cell
            project.update_evidence(row, model, self.weights)
        row.n = sum(cell.n for cell in row.cells.values())
        row.output_tokens = _mean(row.cells.values(), "output_tokens")
        for model in stored:
            cells = [other.cells[model] for other in project.rows.values() if model in other.cells]
            project.models[model].latency_s = _mean(cells, "latency_s")

    def statistics(self, project_id: Hashable, task_type: str, model: str, now: float) -> Statistics:
        """Return the statistics of a model at a task type; empty ones if nothing was measured."""
        project = self._projects.get(project_id)
        if project is None or task_type not in project.rows:
            return Statistics(last_change=now)
        return project.row(task_type, now, self.weights).cells.get(model) or Statistics(last_change=now)


def _mean(cells: Iterable[Statistics], name: str) -> float | None:
    """Return the mean of an attribute weighted by calls; None if no row has it."""
    known = [(cell.calls, getattr(cell, name)) for cell in cells if getattr(cell, name) is not None]
    weight = sum(calls for calls, _ in known)
    return sum(calls * value for calls, value in known) / weight if weight > 0 else None
