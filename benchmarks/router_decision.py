"""Duration of one routing decision, in process: the median over repeats of p50 and p99."""

from __future__ import annotations

import argparse
import random
import time
from statistics import median

from kairos.llm.catalog.catalog import Model, Price
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import Observation

SIZES = ((9, 14, 60.0), (50, 20, 250.0))
"""Models, task types, and the limit of p99 in microseconds."""
DECISIONS = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'models':>6} {'types':>6} {'p50 us':>8} {'p99 us':>8} {'limit':>8}")
    for models, task_types, limit in SIZES:
        runs = [_run(models, task_types, seed) for seed in range(repeats)]
        p50, p99 = (median(run[place] for run in runs) for place in (0, 1))
        print(f"{models:6} {task_types:6} {p50:8.1f} {p99:8.1f} {limit:8.0f}", flush=True)


def _run(models: int, task_types: int, seed: int) -> tuple[float, float]:
    """Decide and observe alternately, as a warm daemon does. Only decisions are timed."""
    draws = random.Random(seed)
    catalog = [Model(f"m{i}", f"m{i}", "http://model", price=Price(i + 1, 2 * i + 2)) for i in range(models)]
    selector = ModelSelector(catalog, health=_healthy)
    times: list[int] = []
    for step in range(DECISIONS):
        request = Request("project", f"type {draws.randrange(task_types)}", context_tokens=900)
        started = time.perf_counter_ns()
        decision = selector.select(request, float(step))
        times.append(time.perf_counter_ns() - started)
        assert decision.chosen is not None
        quality = float(draws.random() < 0.6)
        seen = Observation(
            "project", request.task_type, decision.chosen, float(step), quality, 0.2, 1.5, 80.0, 0.001, 500, 120
        )
        selector.observe(seen, decision.ticket)
    times.sort()
    return times[len(times) // 2] / 1e3, times[int(len(times) * 0.99)] / 1e3


def _healthy(model: str, now: float, /) -> Availability:
    return HEALTHY


if __name__ == "__main__":
    main()
