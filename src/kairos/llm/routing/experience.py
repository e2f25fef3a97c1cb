"""What one process knows of every model: a table of statistics for each project, task type by model, in memory."""

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
"""Task types a project may have in memory: callers name them freely, and memory is not free."""
STALE_S = 3600.0
"""Age from which a row is brought up to the present before it is read: 14 days halve it, an hour takes .2 %."""
LAST_CALLS = 0.1
"""Share of a new call in the averages over all task types of a model, and over all models of a task type."""

NOTHING = (0.0, 0.0)
"""The evidence of a cell without observations."""


class TaskRow:
    """One task type of a project: a cell for every model that was considered."""

    __slots__ = ("at", "cells", "incumbent", "n", "output_tokens", "position", "task_type", "witness")

    def __init__(self, task_type: str, now: float) -> None:
        self.task_type = task_type
        self.position = 0
        """Quality observations of this task type ever: what `gamma` counts."""
        self.n = 0.0
        """The same, decayed: the sum over the cells."""
        self.at = now
        self.incumbent: str | None = None
        self.output_tokens: float | None = None
        """Of an answer, over all models: what a model is expected to write that was not seen at this task type."""
        self.cells: dict[str, Statistics] = {}
        self.witness: dict[str, tuple[float, float]] = {}
        """What each cell says about its model at other task types, as counted in `Elsewhere`."""


class Elsewhere:
    """One model over all task types of a project."""

    __slots__ = ("latency_s", "weight", "weighted")

    def __init__(self) -> None:
        self.weight = 0.0
        self.weighted = 0.0
        self.latency_s: float | None = None


class ProjectExperience:
    """The rows of one project. Nothing of it is ever seen by another project."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskRow] = {}
        self.models: dict[str, Elsewhere] = {}
        self._changes = 0

    def row(self, task_type: str, now: float, weights: RouterWeights) -> TaskRow:
        """The row, brought up to the present."""
        row = self.rows.get(task_type)
        if row is None:
            if len(self.rows) >= ROWS_KEPT:
                self._forget(min(self.rows.values(), key=lambda kept: kept.at))
            row = self.rows[task_type] = TaskRow(task_type, now)
        elif now - row.at > STALE_S:
            self.advance(row, 0, now, weights)
        return row

    def cell(self, row: TaskRow, model: str) -> Statistics:
        cell = row.cells.get(model)
        if cell is None:
            cell = row.cells[model] = Statistics(last_change=row.at)
            self.models.setdefault(model, Elsewhere())
        return cell

    def advance(self, row: TaskRow, observations: int, now: float, weights: RouterWeights) -> None:
        """Let the whole row fade by so many observations and by the time since its last change."""
        now = max(now, row.at)
        factor = decay(weights, observations, now - row.at)
        row.position += observations
        row.n = row.n * factor + observations
        row.at = now
        for model, cell in row.cells.items():
            fade(cell, factor)
            cell.last_change = now
            self.testify(row, model, weights)

    def testify(self, row: TaskRow, model: str, weights: RouterWeights) -> None:
        """Bring a cell's part in its model's prior elsewhere up to date."""
        total, new, old = self.models[model], evidence(row.cells[model], weights), row.witness.get(model, NOTHING)
        row.witness[model] = new
        total.weight += new[0] - old[0]
        total.weighted += new[1] - old[1]

    def settle_rounding(self) -> None:
        """Sum the priors anew now and then: millions of small differences would leave a trace."""
        self._changes += 1
        if self._changes % 1000 == 0:
            for model, total in self.models.items():
                said = [row.witness[model] for row in self.rows.values() if model in row.witness]
                total.weight, total.weighted = sum(w for w, _ in said), sum(x for _, x in said)

    def _forget(self, row: TaskRow) -> None:
        for model, (weight, weighted) in row.witness.items():
            self.models[model].weight -= weight
            self.models[model].weighted -= weighted
        del self.rows[row.task_type]


class Experience:
    """All projects of this process. A store that shares them restores rows and reads what `observe` returns."""

    def __init__(self, weights: RouterWeights) -> None:
        self.weights = weights
        self._projects: dict[Hashable, ProjectExperience] = {}

    def project(self, project_id: Hashable) -> ProjectExperience:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = ProjectExperience()
        return project

    def observe(self, seen: Observation) -> Sample | None:
        """Learn from one call. Returns the sample that a late label may correct; None where nothing judged it."""
        project = self.project(seen.project_id)
        row = project.row(seen.task_type, seen.at, self.weights)
        cell = project.cell(row, seen.model)
        sample = None
        if seen.quality is not None:
            project.advance(row, 1, seen.at, self.weights)
            add_qualities(cell, (seen.quality,), self.weights)
            project.testify(row, seen.model, self.weights)
            sample = Sample(row.position, cell.turn, row.at, seen.quality)
        add_call(cell, seen, self.weights)
        total = project.models[seen.model]
        total.latency_s = averaged(total.latency_s, seen.latency_s, LAST_CALLS)
        row.output_tokens = averaged(row.output_tokens, seen.output_tokens, LAST_CALLS)
        project.settle_rounding()
        return sample

    def relabel(
        self, project_id: Hashable, task_type: str, model: str, sample: Sample, quality: float, now: float
    ) -> Sample:
        """A better judgement of an observed answer came late. Returns the sample as it counts now."""
        project = self.project(project_id)
        row = project.row(task_type, now, self.weights)
        correct(project.cell(row, model), sample, quality, row.position, row.at, self.weights)
        project.testify(row, model, self.weights)
        return Sample(sample.position, sample.turn, sample.at, quality)

    def restore(self, project_id: Hashable, task_type: str, position: int, stored: dict[str, Statistics]) -> None:
        """Take over a row as the store has it. Models it does not name keep what this process knows."""
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
            project.testify(row, model, self.weights)
        row.n = sum(cell.n for cell in row.cells.values())
        row.output_tokens = _mean(row.cells.values(), "output_tokens")
        for model in stored:
            cells = [other.cells[model] for other in project.rows.values() if model in other.cells]
            project.models[model].latency_s = _mean(cells, "latency_s")

    def statistics(self, project_id: Hashable, task_type: str, model: str, now: float) -> Statistics:
        """A row as it stands; an empty one where nothing was measured."""
        project = self._projects.get(project_id)
        if project is None or task_type not in project.rows:
            return Statistics(last_change=now)
        return project.row(task_type, now, self.weights).cells.get(model) or Statistics(last_change=now)


def _mean(cells: Iterable[Statistics], name: str) -> float | None:
    """Of an average of several rows, each by the weight of the calls behind it; None where no row has it."""
    known = [(cell.calls, getattr(cell, name)) for cell in cells if getattr(cell, name) is not None]
    weight = sum(calls for calls, _ in known)
    return sum(calls * value for calls, value in known) / weight if weight > 0 else None
