"""Error rates of the gate's test of general ability, and the prompts it needs: simulated adapters with a known loss.

Run: python -m benchmarks.gate_power [--adapters 400]

Each adapter changes a share of the answers, and so loses the given mean. An answer of the second round, and the one in
the other context, repeats the change of the first with a probability of .3. No model is called: the differences are
drawn at random and go through `loss_test` in the gate's order.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from kairos.config import FineTuningSettings
from kairos.fine_tuning.gate import loss_test
from kairos.fine_tuning.gate.general_ability import LOOK, ROUNDS, PromptContext
from kairos.fine_tuning.gate.loss_test import Loss

SETTINGS = FineTuningSettings()
CHANGED = (0.08, 0.12, 0.20, 0.28)
MEANS = (0.02, 0.0, -0.02, -0.05, -0.08)
REPEATED = 0.3


@dataclass(frozen=True, slots=True)
class SimulatedAdapter:
    """The differences of one adapter: for each prompt, the mean of its contexts in each round."""

    rounds: tuple[list[float], ...]

    @classmethod
    def drawn(cls, chance: random.Random, changed: float, mean: float) -> SimulatedAdapter:
        weights = ((changed - mean) / 2, (changed + mean) / 2, 1 - changed)

        def answers() -> Iterator[float]:
            first = chance.choices((-1.0, 1.0, 0.0), weights)[0]
            yield first
            while True:
                yield first if chance.random() < REPEATED else chance.choices((-1.0, 1.0, 0.0), weights)[0]

        prompts = [answers() for _ in range(SETTINGS.control_prompts)]
        return cls(tuple([fmean(next(one) for _ in PromptContext) for one in prompts] for _ in ROUNDS))


def result_of(adapter: SimulatedAdapter) -> tuple[Loss, int]:
    """The gate's result, and the number of answers that it needs from the adapter."""
    first, second = adapter.rounds
    both = [(one + other) / 2 for one, other in zip(first, second, strict=True)]
    of = len(first)
    for asked in range(LOOK, of + LOOK, LOOK):
        if (loss := loss_test.decide(first[:asked], SETTINGS.margin)) is not Loss.UNCERTAIN:
            return loss, 2 * min(asked, of)
    if (loss := loss_test.conclude(first, SETTINGS.margin)) is not Loss.UNCERTAIN:
        return loss, 2 * of
    for asked in range(LOOK, of + LOOK, LOOK):
        if (loss := loss_test.decide(both[:asked] + first[asked:], SETTINGS.margin)) is not Loss.UNCERTAIN:
            return loss, 2 * (of + min(asked, of))
    return loss_test.conclude(both, SETTINGS.margin), 4 * of


def main(adapters: int) -> int:
    print(f"{'changed':>8} {'mean':>6} {'passed':>8} {'refused':>8} {'uncertain':>10} {'answers, median':>16}")
    for changed in CHANGED:
        for mean in MEANS:
            chance = random.Random(f"{changed} {mean}")
            found = [result_of(SimulatedAdapter.drawn(chance, changed, mean)) for _ in range(adapters)]
            passed, refused, uncertain = (
                fmean(loss is wanted for loss, _ in found) for wanted in (Loss.NONE, Loss.CERTAIN, Loss.UNCERTAIN)
            )
            answers = median(number for _, number in found)
            row = f"{changed:>8.0%} {mean:>+6.0%} {passed:>8.1%} {refused:>8.1%} {uncertain:>10.1%} {answers:>16.0f}"
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=int, default=400)
    raise SystemExit(main(parser.parse_args().adapters))
