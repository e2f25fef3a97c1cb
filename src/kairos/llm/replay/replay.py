"""Replays a recorded table through the production router, compared with Thompson sampling and random choice.

    report = replay(ReplayTable.read("table.csv"), ReplayOptions(lambda_cost=0.15, orders=100))
    print(report.text())        # or json.dumps(report.to_dict())

Players observe only the outcome of the model they chose. The clock advances one second per decision.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from kairos.errors import InvalidInput
from kairos.llm.replay.baselines import KairosPlayer, Player, ReplayOutcome, Thompson, Uniform
from kairos.llm.replay.replay_report import PlayerReport, ReplayReport, ReplayRun
from kairos.llm.replay.replay_table import ReplayTable
from kairos.llm.routing.scoring import cost_scale, cost_term, latency_term
from kairos.llm.routing.statistics import RouterWeights

OUTAGE_DECISIONS = 600
DEGRADED = 0.4
"""Factor on the quality of a model that silently degrades."""
WINDOW = 20
"""Number of decisions over which a model's share of its task types is computed."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    lambda_cost: float = 0.0
    lambda_latency: float = 0.0
    orders: int = 10
    """Number of random row orders that the report averages over."""
    seed: int = 0
    delay: int = 0
    """Number of decisions until an outcome is observed."""
    outage: str | None = None
    """This model's calls fail for 600 decisions in the middle."""
    degrade: str | None = None
    """This model's quality falls to .4 of itself half-way."""
    add_model: str | None = None
    """This model joins half-way."""
    weights: RouterWeights = field(default_factory=RouterWeights)
    """The router's weights; the lambdas above override theirs."""


def replay(table: ReplayTable, options: ReplayOptions) -> ReplayReport:
    """Run every order with every player. Raises `InvalidInput` for options that do not fit the table."""
    check(table, options)
    scenario = Scenario.of(table, options)
    runs: dict[str, list[ReplayRun]] = {"kairos": [], "thompson": [], "random": []}
    for number in range(options.orders):
        order = list(range(len(table)))
        random.Random(f"{options.seed} order {number}").shuffle(order)
        draws = random.Random(f"{options.seed} draws {number}")
        runs["kairos"].append(play(KairosPlayer(table.models, scenario.mean_costs, scenario.weights), order, scenario))
        runs["thompson"].append(play(Thompson(scenario.penalties, draws), order, scenario))
        runs["random"].append(play(Uniform(len(table.models), draws), order, scenario))
    return ReplayReport(
        rows=len(table),
        models=len(table.models),
        task_types=len(set(table.task_types)),
        orders=options.orders,
        players={name: PlayerReport.of(played) for name, played in runs.items()},
    )


def check(table: ReplayTable, options: ReplayOptions) -> None:
    for flag, model in (("outage", options.outage), ("degrade", options.degrade), ("add-model", options.add_model)):
        if model is not None and model not in table.models:
            known = ", ".join(table.models)
            raise InvalidInput(
                where=f"--{flag}", problem=f"the table has no model {model!r}", remedy=f"It has: {known}."
            )
    if options.add_model is not None and len(table.models) < 2:
        raise InvalidInput(where="--add-model", problem="no other model is left", remedy="Record a second one.")
    if options.lambda_latency > 0.0 and table.latency is None:
        remedy = "Record l:MODEL columns, or leave it out."
        raise InvalidInput(where="--lambda-latency", problem="the table has no latencies", remedy=remedy)
    for flag, value, least in (
        ("lambda-cost", options.lambda_cost, 0),
        ("lambda-latency", options.lambda_latency, 0),
        ("orders", options.orders, 1),
        ("delay", options.delay, 0),
    ):
        if not value >= least:
            raise InvalidInput(where=f"--{flag}", problem=f"{value} is too small", remedy=f"Give {least} or more.")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The events of a replay and the values of each choice, the same for every player and order."""

    table: ReplayTable
    weights: RouterWeights
    delay: int
    mean_costs: tuple[float, ...]
    penalties: tuple[float, ...]
    """λ·ĉ (and λ·l̂) of each model, subtracted from its quality to give the utility."""
    means: dict[str, tuple[float, ...]]
    """Mean quality of each model by task type, known in hindsight."""
    out: int | None
    out_from: int
    out_until: int
    degraded: int | None
    added: int | None
    half: int

    @classmethod
    def of(cls, table: ReplayTable, options: ReplayOptions) -> Scenario:
        weights = replace(options.weights, lambda_cost=options.lambda_cost, lambda_latency=options.lambda_latency)
        costs = _column_means(table.cost)
        floor, inverse = cost_scale(costs)
        penalties = [weights.lambda_cost * cost_term(cost, floor, inverse) for cost in costs]
        if table.latency is not None:
            for model, seconds in enumerate(_column_means(table.latency)):
                penalties[model] += weights.lambda_latency * latency_term(seconds, weights.latency_target_s)
        rows = len(table)
        length = min(OUTAGE_DECISIONS, rows)
        start = (rows - length) // 2
        index = {name: place for place, name in enumerate(table.models)}
        out, degraded, added = (
            None if name is None else index[name] for name in (options.outage, options.degrade, options.add_model)
        )
        return cls(
            table, weights, options.delay, costs, tuple(penalties), _means_by_type(table), out, start, start + length,
            degraded, added, rows // 2,
        )  # fmt: skip

    def is_out(self, model: int, step: int) -> bool:
        return model == self.out and self.out_from <= step < self.out_until

    def available(self, step: int) -> tuple[int, ...]:
        """Return the models in the catalogue at a step."""
        hidden = self.added if step < self.half else None
        return tuple(model for model in range(len(self.table.models)) if model != hidden)

    def quality(self, row: int, model: int, step: int) -> float:
        return self.table.quality[row][model] * self._quality_factor(model, step)

    def _quality_factor(self, model: int, step: int) -> float:
        return DEGRADED if model == self.degraded and step >= self.half else 1.0

    def best(self, task_type: str, step: int) -> float:
        """Return the utility of the best model for a task type in hindsight, among those available at the step."""
        return max(
            (
                self.means[task_type][model] * self._quality_factor(model, step) - self.penalties[model]
                for model in self.available(step)
                if not self.is_out(model, step)
            ),
            default=0.0,
        )

    def own_types(self, model: int) -> frozenset[str]:
        """Return the task types for which the model is best in hindsight."""
        return frozenset(
            task_type
            for task_type, means in self.means.items()
            if max(range(len(means)), key=lambda m: means[m] - self.penalties[m]) == model
        )


def play(player: Player, order: Sequence[int], scenario: Scenario) -> ReplayRun:
    """Run one order. Outcomes are observed `delay` decisions later."""
    run = ReplayRun()
    waiting: deque[tuple[int, ReplayOutcome]] = deque()
    best: dict[tuple[str, bool, bool], float] = {}
    for step, row in enumerate(order):
        if step in (0, scenario.half):
            player.set_models(scenario.available(step))
        outcome = _serve(player, row, step, scenario, run)
        task_type = scenario.table.task_types[row]
        phase = (task_type, step >= scenario.half, scenario.out_from <= step < scenario.out_until)
        if phase not in best:
            best[phase] = scenario.best(task_type, step)
        utility = 0.0 if outcome is None else outcome.quality - scenario.penalties[outcome.model]
        run.count(task_type, outcome, utility, best[phase] - utility)
        if outcome is not None:
            waiting.append((step, outcome))
        while waiting and waiting[0][0] <= step - scenario.delay:
            player.observe(waiting.popleft()[1], float(step))
    run.left = _decisions_until(run, scenario, scenario.degraded, gaining=False)
    run.found = _decisions_until(run, scenario, scenario.added, gaining=True)
    run.close()
    return run


def _serve(player: Player, row: int, step: int, scenario: Scenario, run: ReplayRun) -> ReplayOutcome | None:
    """Serve one request: a choice, its call and, if the player falls back, further ones. Returns None without an
    answer."""
    table, failed = scenario.table, []
    task_type = table.task_types[row]
    while True:
        started = time.perf_counter_ns()
        model, token = player.choose(task_type, float(step), failed)
        run.decision_ns.append(time.perf_counter_ns() - started)
        if model is None:
            run.failed += not failed
            return None
        if not scenario.is_out(model, step):
            break
        run.failed += not failed
        failed.append(model)
        player.fail(model, token, float(step))
        if not player.falls_back:
            return ReplayOutcome(task_type, model, 0.0, 0.0, None, token)
    player.succeed(model, float(step))
    latency = None if table.latency is None else table.latency[row][model]
    return ReplayOutcome(task_type, model, scenario.quality(row, model, step), table.cost[row][model], latency, token)


def _decisions_until(run: ReplayRun, scenario: Scenario, model: int | None, gaining: bool) -> int | None:
    """Count decisions of the model's task types from half-way until it had the smaller share of the last twenty (or, if
    `gaining`, the larger). Returns all of them if that never happened; None if the model is best at nothing."""
    if model is None:
        return None
    own = scenario.own_types(model)
    if not own:
        return None
    recent: deque[bool] = deque(maxlen=WINDOW)
    passed = 0
    for task_type, chosen in run.trail[scenario.half :]:
        if task_type not in own:
            continue
        passed += 1
        recent.append(chosen == model)
        share = sum(recent) / len(recent)
        if len(recent) == WINDOW and (share > 0.5 if gaining else share < 0.5):
            break
    return passed


def _column_means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(fmean(column) for column in zip(*rows, strict=True))


def _means_by_type(table: ReplayTable) -> dict[str, tuple[float, ...]]:
    rows: dict[str, list[Sequence[float]]] = {}
    for task_type, qualities in zip(table.task_types, table.quality, strict=True):
        rows.setdefault(task_type, []).append(qualities)
    return {task_type: _column_means(qualities) for task_type, qualities in rows.items()}
