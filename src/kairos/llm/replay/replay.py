"""Replays a recorded table through the classes that serve, beside Thompson sampling and chance on the same orders.

    report = replay(Recording.read("table.csv"), ReplayOptions(lambda_cost=0.15, orders=100))
    print(report.text())        # or json.dumps(report.to_dict())

Only the chosen model's outcome is shown to a player. The clock advances one second a decision.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from kairos.errors import InvalidInput
from kairos.llm.replay.baselines import Kairos, Outcome, Player, Thompson, Uniform
from kairos.llm.replay.replay_report import PlayerReport, ReplayReport, Run
from kairos.llm.replay.replay_table import Recording
from kairos.llm.routing.scoring import cost_scale, cost_term, latency_term
from kairos.llm.routing.statistics import RouterWeights

OUTAGE_DECISIONS = 600
DEGRADED = 0.4
"""What is left of the quality of a model that silently gets worse."""
WINDOW = 20
"""Decisions over which a model's share of its task types is taken."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    lambda_cost: float = 0.0
    lambda_latency: float = 0.0
    orders: int = 10
    """Random orders of the rows over which the report averages."""
    seed: int = 0
    delay: int = 0
    """Decisions after which an outcome is shown."""
    outage: str | None = None
    """This model's calls fail for 600 decisions in the middle."""
    degrade: str | None = None
    """This model's quality falls to .4 of itself half-way."""
    add_model: str | None = None
    """This model joins half-way."""
    weights: RouterWeights = field(default_factory=RouterWeights)
    """What the router runs with; the lambdas above replace its own."""


def replay(table: Recording, options: ReplayOptions) -> ReplayReport:
    """Play every order with every player. Raises `InvalidInput` for options that do not fit the table."""
    check(table, options)
    scene = Scene.of(table, options)
    runs: dict[str, list[Run]] = {"kairos": [], "thompson": [], "random": []}
    for number in range(options.orders):
        order = list(range(len(table)))
        random.Random(f"{options.seed} order {number}").shuffle(order)
        draws = random.Random(f"{options.seed} draws {number}")
        runs["kairos"].append(play(Kairos(table.models, scene.mean_costs, scene.weights), order, scene))
        runs["thompson"].append(play(Thompson(scene.burdens, draws), order, scene))
        runs["random"].append(play(Uniform(len(table.models), draws), order, scene))
    return ReplayReport(
        rows=len(table),
        models=len(table.models),
        task_types=len(set(table.task_types)),
        orders=options.orders,
        players={name: PlayerReport.of(played) for name, played in runs.items()},
    )


def check(table: Recording, options: ReplayOptions) -> None:
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
class Scene:
    """What happens when, and what each choice is worth: the same for every player and order."""

    table: Recording
    weights: RouterWeights
    delay: int
    mean_costs: tuple[float, ...]
    burdens: tuple[float, ...]
    """λ·ĉ (and λ·l̂) of each model: what is taken from its quality to give utility."""
    means: dict[str, tuple[float, ...]]
    """Mean quality of each model by task type: what hindsight knows."""
    out: int | None
    out_from: int
    out_until: int
    degraded: int | None
    added: int | None
    half: int

    @classmethod
    def of(cls, table: Recording, options: ReplayOptions) -> Scene:
        weights = replace(options.weights, lambda_cost=options.lambda_cost, lambda_latency=options.lambda_latency)
        costs = _column_means(table.cost)
        floor, inverse = cost_scale(costs)
        burdens = [weights.lambda_cost * cost_term(cost, floor, inverse) for cost in costs]
        if table.latency is not None:
            for model, seconds in enumerate(_column_means(table.latency)):
                burdens[model] += weights.lambda_latency * latency_term(seconds, weights.latency_target_s)
        rows = len(table)
        length = min(OUTAGE_DECISIONS, rows)
        start = (rows - length) // 2
        index = {name: place for place, name in enumerate(table.models)}
        out, degraded, added = (
            None if name is None else index[name] for name in (options.outage, options.degrade, options.add_model)
        )
        return cls(
            table, weights, options.delay, costs, tuple(burdens), _means_by_type(table), out, start, start + length,
            degraded, added, rows // 2,
        )  # fmt: skip

    def is_out(self, model: int, step: int) -> bool:
        return model == self.out and self.out_from <= step < self.out_until

    def offered(self, step: int) -> tuple[int, ...]:
        """The models in the catalogue at a step."""
        hidden = self.added if step < self.half else None
        return tuple(model for model in range(len(self.table.models)) if model != hidden)

    def quality(self, row: int, model: int, step: int) -> float:
        return self.table.quality[row][model] * self._left(model, step)

    def _left(self, model: int, step: int) -> float:
        return DEGRADED if model == self.degraded and step >= self.half else 1.0

    def best(self, task_type: str, step: int) -> float:
        """Utility of the model that is best for the task type in hindsight, among those that could serve then."""
        return max(
            (
                self.means[task_type][model] * self._left(model, step) - self.burdens[model]
                for model in self.offered(step)
                if not self.is_out(model, step)
            ),
            default=0.0,
        )

    def own_types(self, model: int) -> frozenset[str]:
        """Task types for which the model is the best in hindsight."""
        return frozenset(
            task_type
            for task_type, means in self.means.items()
            if max(range(len(means)), key=lambda m: means[m] - self.burdens[m]) == model
        )


def play(player: Player, order: Sequence[int], scene: Scene) -> Run:
    """One order. Outcomes are shown `delay` decisions after their own."""
    run = Run()
    waiting: deque[tuple[int, Outcome]] = deque()
    best: dict[tuple[str, bool, bool], float] = {}
    for step, row in enumerate(order):
        if step in (0, scene.half):
            player.offer(scene.offered(step))
        outcome = _serve(player, row, step, scene, run)
        task_type = scene.table.task_types[row]
        phase = (task_type, step >= scene.half, scene.out_from <= step < scene.out_until)
        if phase not in best:
            best[phase] = scene.best(task_type, step)
        utility = 0.0 if outcome is None else outcome.quality - scene.burdens[outcome.model]
        run.count(task_type, outcome, utility, best[phase] - utility)
        if outcome is not None:
            waiting.append((step, outcome))
        while waiting and waiting[0][0] <= step - scene.delay:
            player.learn(waiting.popleft()[1], float(step))
    run.left = _decisions_until(run, scene, scene.degraded, gaining=False)
    run.found = _decisions_until(run, scene, scene.added, gaining=True)
    run.close()
    return run


def _serve(player: Player, row: int, step: int, scene: Scene, run: Run) -> Outcome | None:
    """One request: a choice, its call and, where the player falls back, the next ones. None if nothing answered."""
    table, failed = scene.table, []
    task_type = table.task_types[row]
    while True:
        started = time.perf_counter_ns()
        model, token = player.choose(task_type, float(step), failed)
        run.decision_ns.append(time.perf_counter_ns() - started)
        if model is None:
            run.failed += not failed
            return None
        if not scene.is_out(model, step):
            break
        run.failed += not failed
        failed.append(model)
        player.fail(model, token, float(step))
        if not player.falls_back:
            return Outcome(task_type, model, 0.0, 0.0, None, token)
    player.succeed(model, float(step))
    latency = None if table.latency is None else table.latency[row][model]
    return Outcome(task_type, model, scene.quality(row, model, step), table.cost[row][model], latency, token)


def _decisions_until(run: Run, scene: Scene, model: int | None, gaining: bool) -> int | None:
    """How many decisions of the model's task types passed from half-way until it had the smaller share of the last
    twenty of them (or, `gaining`, the larger one). All of them if that never came; None if it is best at nothing."""
    if model is None:
        return None
    own = scene.own_types(model)
    if not own:
        return None
    recent: deque[bool] = deque(maxlen=WINDOW)
    passed = 0
    for task_type, chosen in run.trail[scene.half :]:
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


def _means_by_type(table: Recording) -> dict[str, tuple[float, ...]]:
    rows: dict[str, list[Sequence[float]]] = {}
    for task_type, qualities in zip(table.task_types, table.quality, strict=True):
        rows.setdefault(task_type, []).append(qualities)
    return {task_type: _column_means(qualities) for task_type, qualities in rows.items()}
