"""How many of each kind of control prompt the embedded model answers correctly, with and without the system prompt.

Run: python -m benchmarks.control_prompts (needs `make setup`; minutes)

Answers are at temperature 0 and at most 32 tokens. The sets `control` and `selection` were not selected by these
answers, and must not be: their shares are to be read, not to be raised by dropping prompts.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.learning_bench import fresh_prompts, messages
from kairos.agents.execution import SYSTEM
from kairos.embedded.model import check_weights
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.asking import ModelCalls, greedy
from kairos.fine_tuning.gate.control_prompts import ControlPrompt
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers

ANSWER_TOKENS = 32


class BaseAnswers:
    """Grades the answers of one model."""

    def __init__(self, model: ModelCalls) -> None:
        self._model = model

    async def grades(self, prompts: Sequence[ControlPrompt], system: str | None) -> list[float]:
        return await asyncio.gather(*(self._grade(one, system) for one in prompts))

    async def _grade(self, one: ControlPrompt, system: str | None) -> float:
        return one.quality((await self._model.ask(greedy(messages(one.prompt, system), ANSWER_TOKENS))).text)


def lines(name: str, prompts: Sequence[ControlPrompt], served: list[float], plain: list[float]) -> Iterator[str]:
    """Yield the shares of a set, then of its kinds."""
    graded = list(zip(prompts, served, plain, strict=True))
    yield f"{name:<26} {len(graded):>4} {fmean(served):>8.1%} {fmean(plain):>8.1%}"
    for kind in dict.fromkeys(one.kind for one in prompts if one.kind):
        with_system, without = zip(*((a, b) for one, a, b in graded if one.kind == kind), strict=True)
        yield f"  {kind:<24} {len(without):>4} {fmean(with_system):>8.0%} {fmean(without):>8.0%}"


async def main() -> None:
    sets = {
        "selection": control_prompts.selection(),
        "control": control_prompts.control(),
        "fresh": fresh_prompts(),
    }
    print(f"{'set, kind':<26} {'n':>4} {'system':>8} {'plain':>8}")
    with tempfile.TemporaryDirectory() as folder:
        async with HttpClient() as http, OneOffModels(Path(folder))(check_weights(), []) as loaded:
            answers = BaseAnswers(ModelCalls(Providers(http), loaded.plain))
            for name, prompts in sets.items():
                began = time.monotonic()
                served, plain = await answers.grades(prompts, SYSTEM), await answers.grades(prompts, None)
                print("\n".join(lines(name, prompts, served, plain)), f"({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
