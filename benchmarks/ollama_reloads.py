"""How often Ollama reloads a model for 100 tasks that a base model and its adapter share, with the real selector.

Run: python -m benchmarks.ollama_reloads [--rounds 10]

One runner holds either the base or the adapter. Two kinds of task alternate, one better suited to the adapter, the
other to the base: the worst case, because each task would switch. Measured with the switching penalty
(`RouterWeights.switching`) and without it, as the mean of the rounds; each round draws its own verdicts. Answers come
from the test kit's Ollama over HTTP, which counts the loads.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from kairos.fine_tuning.adapters.ollama_names import runner_of
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import Observation, RouterWeights
from tests.kit.ollama_place import OllamaPlace, ollama_kit

TASKS = 100
GAPS = (0.0, 0.03, 0.10, 0.30)
"""Difference in the share of approved answers between the better and the worse model."""
LEARNED = 40
"""Verdicts of each model and kind before the measurement, which covers the steady state and not the beginning."""
KINDS = ("for the adapter", "for the base")


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The result of one round."""

    loads: int
    approved: float
    """The expected share of approved answers of the chosen models."""


async def play(place: OllamaPlace, adapter: Model, gap: float, switching: float, seed: int) -> RoundResult:
    """Run one round: choose a model for each task, call it, and record a verdict."""
    assert place.kit
    base, draws = replace(place.base, runner=runner_of(place.base)), random.Random(seed)
    models = {base.name: base, adapter.name: adapter}
    selector = ModelSelector(models.values(), RouterWeights(switching=switching))
    providers, now = Providers(place.http), 0.0
    for _ in range(LEARNED):
        for kind in KINDS:
            for name in models:
                now += 1.0
                selector.observe(_seen(kind, name, now, _verdict(draws, _suits(kind, name, adapter, gap))))
    loads, approved = len(place.kit.store.loads), 0.0
    for number in range(TASKS):
        now, kind = now + 1.0, KINDS[number % 2]
        decision = selector.select(Request("project", kind, input_tokens=20), now)
        assert decision.chosen
        chosen = models[decision.chosen]
        request = ChatRequest(({"role": "user", "content": kind},), temperature=0)
        await providers.chat(chosen, request, timeout_s=30)
        selector.loaded(runner_of(base), chosen.name)
        chance = _suits(kind, chosen.name, adapter, gap)
        approved += chance
        selector.observe(_seen(kind, chosen.name, now, _verdict(draws, chance)), decision.ticket)
    return RoundResult(len(place.kit.store.loads) - loads, approved / TASKS)


def _suits(kind: str, name: str, adapter: Model, gap: float) -> float:
    """Return the probability that the answer is approved."""
    return 0.8 if (name == adapter.name) == (kind == KINDS[0]) else 0.8 - gap


def _verdict(draws: random.Random, chance: float) -> float:
    return float(draws.random() < chance)


def _seen(kind: str, name: str, now: float, quality: float) -> Observation:
    # Without durations: the switching penalty is the only cost of loading.
    return Observation("project", kind, name, now, quality)


async def run(rounds: int) -> None:
    print(f"{'gap':>6}{'switching':>11}{'loads':>8}{'approved':>10}   of {TASKS} tasks", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        async with ollama_kit(Path(folder)) as place:
            [serving] = await place.host().serve([place.adapter()])
            assert serving.model, serving.problem
            for gap in GAPS:
                for switching in (0.0, RouterWeights().switching):
                    seen = [await play(place, serving.model, gap, switching, seed) for seed in range(rounds)]
                    loads, approved = mean(one.loads for one in seen), mean(one.approved for one in seen)
                    print(f"{gap:6.2f}{switching:11.2f}{loads:8.1f}{approved:10.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    asyncio.run(run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
