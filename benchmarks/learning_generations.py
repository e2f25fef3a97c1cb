"""Corrects what an adapter gets wrong and trains again: three generations on two rules at once.

Run: python -m benchmarks.learning_generations [--rules ticket_queue,commit_line] [--rows 24] [--seed 0]
(needs `make train`; minutes per generation)

The first generation trains on `--rows` corrected rows of each rule. Each further one adds rows that the adapter in
service still gets wrong, at most as many, and trains from the base on all of them. An adapter that the gate does not
promote is not put into service. New tasks and fresh ordinary prompts are measured outside the gate, as in
`learning_rules`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from uuid import UUID

from benchmarks.learning_bench import fresh_prompts, messages
from benchmarks.learning_rules.catalogue import RULES
from benchmarks.learning_rules.rule import Rule, RuleTask
from benchmarks.learning_run import LearningRuns, RunOutcome
from kairos.agents.execution import SYSTEM
from kairos.config import FineTuningSettings
from kairos.embedded import DataFolder
from kairos.embedded.model import check_weights
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.fine_tuning.gate.asking import ModelCalls, greedy
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt
from kairos.fine_tuning.training.process.job import GGUF
from kairos.fine_tuning.training.trainer import Trainer
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.tenancy import ProjectId

PROJECT = ProjectId(UUID(int=0))
ANSWER_TOKENS = 64


@dataclass
class TaughtRule:
    """A rule, its corrected rows so far, and the tasks from which further ones are taken."""

    rule: Rule
    waiting: list[RuleTask]
    fresh: tuple[RuleTask, ...]
    rows: list[RuleTask] = field(default_factory=list)


class Generations:
    """Trains generation after generation in one folder."""

    def __init__(self, folder: Path, providers: Providers, rules: Sequence[Rule], seed: int) -> None:
        settings = FineTuningSettings()
        self._providers = providers
        self._one_off = OneOffModels(folder)
        self._trainer = Trainer(settings, folder / "models")
        self._runs = LearningRuns(folder, providers, settings, self._trainer, self._one_off)
        self._weights = check_weights()
        self._seed = seed
        self._adapter: Path | None = None
        """The one in service."""
        self.taught = []
        for rule in rules:
            drawn = rule.draw(seed)
            self.taught.append(TaughtRule(rule, [*drawn.rows, *drawn.reserved], drawn.fresh))

    async def next(self, number: int, rows: int) -> tuple[RunOutcome, list[str]]:
        """Correct, train and measure. Returns the outcome, and its figures as text."""
        await self._correct(rows)
        samples, rules = [], {}
        for one in self.taught:
            for task in one.rows:
                sample = ApprovedSample(UUID(int=len(samples)), 1, None, None, messages(task.prompt), task.right)
                rules[str(sample.id)] = one.rule
                samples.append(sample)

        async def grade(question: GatePrompt, answer: str) -> float:
            return rules[question.id].grade(answer, question.wanted)

        folder = self._trainer.folder(PROJECT, number)
        done = await self._runs.run(samples, grade, folder, self._seed)
        if done.report.ruling is GateOutcome.PROMOTE:
            self._adapter = done.adapter
        return done, await self._figures()

    async def _correct(self, rows: int) -> None:
        """Add rows that the model in service gets wrong."""
        async with self._one_off(self._weights, self._adapters()) as loaded:
            model = ModelCalls(self._providers, loaded.adapted(0) if self._adapter else loaded.plain)
            for one in self.taught:
                wrong = [task for task in one.waiting if not await is_right(model, one.rule, task)][:rows]
                one.rows += wrong
                one.waiting = [task for task in one.waiting if task not in wrong]

    async def _figures(self) -> list[str]:
        """Measure the model in service: new tasks of each rule, and fresh ordinary prompts."""
        async with self._one_off(self._weights, self._adapters()) as loaded:
            base = ModelCalls(self._providers, loaded.plain)
            model = ModelCalls(self._providers, loaded.adapted(0)) if self._adapter else base
            shares = []
            for one in self.taught:
                shares.append(fmean(await asyncio.gather(*(is_right(model, one.rule, task) for task in one.fresh))))
            for served in (base, model):
                answers = await asyncio.gather(*(answer(served, prompt.prompt) for prompt in fresh_prompts()))
                graded = [prompt.quality(text) for prompt, text in zip(fresh_prompts(), answers, strict=True)]
                shares.append(fmean(graded))
        return [f"{share:.0%}" for share in shares]

    def _adapters(self) -> list[Path]:
        return [self._adapter / GGUF] if self._adapter else []


async def is_right(model: ModelCalls, rule: Rule, task: RuleTask) -> bool:
    return rule.grade(await answer(model, task.prompt), task.right) == 1


async def answer(model: ModelCalls, prompt: str) -> str:
    return (await model.ask(greedy(messages(prompt, SYSTEM), ANSWER_TOKENS))).text


async def main(rules: Sequence[Rule], generations: int, rows: int, seed: int) -> int:
    names = [rule.name for rule in rules]
    print(f"{'':>3} {'rows':>5} {'ruling':<15} {'control':>14} {'s':>5}  {'  '.join(names)}  fresh: base  adapter")
    with tempfile.TemporaryDirectory() as name:
        async with HttpClient() as http:
            with DataFolder(Path(name)):
                bench = Generations(Path(name), Providers(http), rules, seed)
                for number in range(1, generations + 1):
                    done, figures = await bench.next(number, rows)
                    control = done.report.control
                    shown = "–" if control.base is None else f"{control.base:.1%} → {control.candidate:.1%}"
                    total = sum(len(one.rows) for one in bench.taught)
                    texts = [text.rjust(len(title)) for text, title in zip(figures, names, strict=False)]
                    row = f"{number:>3} {total:>5} {done.report.ruling:<15} {shown:>14} {done.seconds:>5.0f}"
                    print(f"{row}  {'  '.join(texts)}  {figures[-2]:>11}  {figures[-1]:>7}", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", default="ticket_queue,commit_line")
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = [RULES[name] for name in given.rules.split(",")]
    raise SystemExit(asyncio.run(main(chosen, given.generations, given.rows, given.seed)))
