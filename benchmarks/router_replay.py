"""Compare the router with Thompson sampling and random choice on a recorded table, without and with faults.

    python benchmarks/router_replay.py [TABLE.csv] [--orders 100] [--seed 0]

Prints one line per property of the router, with the measured value and its limit.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from kairos.llm.replay.replay import ReplayOptions, replay
from kairos.llm.replay.replay_report import ReplayReport
from kairos.llm.replay.replay_table import ReplayTable

DEVELOPMENT_TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "routing_dev.csv"


def main() -> None:
    arguments = _arguments()
    table = ReplayTable.read(arguments.table)
    plain = ReplayOptions(orders=arguments.orders, seed=arguments.seed)
    best = _best_model(table)
    print(f"{arguments.table}: {len(table)} prompts, {len(table.models)} models, best over all: {best}")
    undisturbed = replay(table, plain)
    thompson = _figure(undisturbed, "thompson", "regret")
    _line("regret / Thompson's", _figure(undisturbed, "kairos", "regret") / thompson, 0.65)
    _line("switch_rate", _figure(undisturbed, "kairos", "switch_rate"), 0.12)
    _line("decision_us_p50", _figure(undisturbed, "kairos", "decision_us_p50"), None)
    _line("decision_us_p99", _figure(undisturbed, "kairos", "decision_us_p99"), 60.0)
    priced = replay(table, replace(plain, lambda_cost=0.15))
    ratio = _figure(priced, "kairos", "regret") / _figure(priced, "thompson", "regret")
    _line("regret / Thompson's, λ-cost .15", ratio, 0.70)
    late = replay(table, replace(plain, delay=200))
    _line("regret 200 late / Thompson's at once", _figure(late, "kairos", "regret") / thompson, 0.80)
    few = replace(plain, orders=max(arguments.orders // 4, 1))
    _line("outage: failed requests", _figure(replay(table, replace(few, outage=best)), "kairos", "failed_requests"), 10)
    worse = replay(table, replace(few, degrade=best))
    _line("degrade: decisions until left", worse.players["kairos"].figures["decisions_until_left"], 150)
    more = replay(table, replace(few, add_model=best))
    _line("add-model: decisions until found", more.players["kairos"].figures["decisions_until_found"], 150)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=DEVELOPMENT_TABLE)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _best_model(table: ReplayTable) -> str:
    totals = [sum(column) for column in zip(*table.quality, strict=True)]
    return table.models[totals.index(max(totals))]


def _figure(report: ReplayReport, player: str, name: str) -> float:
    value = report.players[player].figures[name]
    return float("nan") if value is None else value


def _line(claim: str, value: float | None, limit: float | None) -> None:
    shown = "-" if value is None else f"{value:10.3f}"
    print(f"{claim:40}{shown}{'' if limit is None else f'   at most {limit:g}'}", flush=True)


if __name__ == "__main__":
    main()
