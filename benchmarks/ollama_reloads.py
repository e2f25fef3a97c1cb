"""How often an Ollama loads a model anew, for 100 tasks that a base and its adapter share, by the real selector.

Run: python -m benchmarks.ollama_reloads [--rounds 10]
One runner holds the base or the adapter, never both. Two kinds of task come in turn, one a little better served by the
adapter, the other by the base: the worst case, as each task would switch. With the switching cost in the utility
(`RouterWeights.switching`) and without it, the mean of the rounds; each round draws its own verdicts. The answers come
from the kit's Ollama over HTTP, its loads are counted there.
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
"""By how much the one better suited to a task is better, in the share of approved answers."""
LEARNED = 40
"""Verdicts of each model at each kind that are known before: what is measured is how it goes on, not how it begins."""
KINDS = ("for the adapter", "for the base")


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round of tasks."""

    loads: int
    approved: float
    """Expected share, by the models chosen."""


async def play(place: OllamaPlace, adapter: Model, gap: float, switching: float, seed: int) -> RoundResult:
    """The tasks in turn: decided, answered, judged."""
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
    """The chance that the answer is approved."""
    return 0.8 if (name == adapter.name) == (kind == KINDS[0]) else 0.8 - gap


def _verdict(draws: random.Random, chance: float) -> float:
    return float(draws.random() < chance)


def _seen(kind: str, name: str, now: float, quality: float) -> Observation:
    # No times: as if loading cost nothing but what the switching cost says.
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
