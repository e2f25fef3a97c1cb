"""The report of a replay: means over orders with standard errors, per player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from kairos.llm.replay.baselines import ReplayOutcome

Figure = float | None


@dataclass(slots=True)
class ReplayRun:
    """The result of one player in one order."""

    quality: float = 0.0
    cost: float = 0.0
    utility: float = 0.0
    regret: float = 0.0
    failed: int = 0
    """Requests with at least one failed call."""
    requests: int = 0
    switches: int = 0
    """Requests answered by another model than the previous one of their task type."""
    left: int | None = None
    found: int | None = None
    decision_ns: list[int] = field(default_factory=list)
    trail: list[tuple[str, int | None]] = field(default_factory=list)
    """(task_type, model that answered) of every request."""

    def count(self, task_type: str, outcome: ReplayOutcome | None, utility: float, regret: float) -> None:
        if outcome is not None:
            self.quality += outcome.quality
            self.cost += outcome.cost_usd
        self.utility += utility
        self.regret += regret
        self.trail.append((task_type, None if outcome is None else outcome.model))

    def close(self) -> None:
        """Finish the order: summarise and discard its trail, because keeping a hundred of them would slow down the
        rest."""
        previous: dict[str, int | None] = {}
        for task_type, model in self.trail:
            self.switches += previous.get(task_type, model) != model
            previous[task_type] = model
        self.requests = len(self.trail)
        self.trail.clear()


@dataclass(frozen=True, slots=True)
class PlayerReport:
    """Figures by name, as means over orders, with their standard errors."""

    figures: dict[str, Figure]
    errors: dict[str, Figure]

    @classmethod
    def of(cls, runs: Sequence[ReplayRun]) -> PlayerReport:
        series: dict[str, list[float]] = {
            "quality": [run.quality / run.requests for run in runs],
            "cost": [run.cost / run.requests for run in runs],
            "utility": [run.utility / run.requests for run in runs],
            "regret": [run.regret for run in runs],
            "switch_rate": [run.switches / run.requests for run in runs],
            "failed_requests": [float(run.failed) for run in runs],
            "decisions_until_left": [float(run.left) for run in runs if run.left is not None],
            "decisions_until_found": [float(run.found) for run in runs if run.found is not None],
        }
        figures: dict[str, Figure] = {name: fmean(values) if values else None for name, values in series.items()}
        errors: dict[str, Figure] = {name: _standard_error(values) for name, values in series.items()}
        times = sorted(ns for run in runs for ns in run.decision_ns)
        figures["decision_us_p50"] = _percentile(times, 0.50) / 1e3
        figures["decision_us_p99"] = _percentile(times, 0.99) / 1e3
        return cls(figures, errors)

    def to_dict(self) -> dict[str, Figure]:
        return {**self.figures, **{f"{name}_se": error for name, error in self.errors.items()}}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """`quality`, `cost` (USD) and `utility` are means per request; `regret` is the sum over an order."""

    rows: int
    models: int
    task_types: int
    orders: int
    players: dict[str, PlayerReport]

    def to_dict(self) -> dict[str, dict[str, Figure]]:
        """Return the report for --json: one object each for `kairos`, `thompson` and `random`."""
        return {name: player.to_dict() for name, player in self.players.items()}

    def text(self) -> str:
        """Return the report as a table, without figures that do not apply."""
        names = list(self.players)
        head = f"{self.rows} prompts, {self.models} models, {self.task_types} task types, {self.orders} orders"
        lines = [head, f"{'':24}" + "".join(f"{name:>26}" for name in names)]
        for figure in next(iter(self.players.values())).figures:
            if all(player.figures[figure] is None for player in self.players.values()):
                continue
            cells = (_cell(player.figures[figure], player.errors.get(figure)) for player in self.players.values())
            lines.append(f"{figure:24}" + "".join(f"{cell:>26}" for cell in cells))
        return "\n".join(lines)


def _cell(value: Figure, error: Figure) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"


def _standard_error(values: Sequence[float]) -> Figure:
    """Return the standard error of the mean; None for fewer than two values."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def _percentile(ordered: Sequence[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
