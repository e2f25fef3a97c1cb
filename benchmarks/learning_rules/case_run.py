"""Runs cases: the pipeline of a real training run, then measurements outside the gate."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from uuid import UUID

from benchmarks.learning_bench import AnswerFile, fresh_prompts, ignore_progress, ignore_reports, messages
from benchmarks.learning_rules.catalogue import RULES
from benchmarks.learning_rules.results import Case, CaseResult, Seconds, Shares
from benchmarks.learning_rules.rule import Rule, RuleTask
from kairos.agents.execution import SYSTEM
from kairos.config import FineTuningSettings
from kairos.embedded.model import SHA256, check_weights
from kairos.fine_tuning.adapters.deployments import GateModels
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.dataset.split import ApprovedSample, Part
from kairos.fine_tuning.gate.evaluation import GatePrompt, GateReport, Grader
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.pipeline import RunSamples, TrainingPipeline
from kairos.fine_tuning.training.process.job import GGUF, TrainingSettings
from kairos.fine_tuning.training.trainer import Trainer
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

BASE = "smollm2-135m"
PROJECT = ProjectId(UUID(int=0))
ANSWER_TOKENS = 64
"""Of an answer outside the gate. A right one takes at most 25."""
CALL_S = 180.0
CASE_S = 7200.0
SLOTS = 2
"""Calls at once: the embedded model's slots."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The samples, report and durations of a run."""

    samples: RunSamples
    report: GateReport
    seconds: Seconds


class CaseRunner:
    """Runs cases in one folder.

    Answers of the base outside the gate are kept in a file. Those of a run are asked for anew each time, as its
    duration is measured.
    """

    def __init__(self, folder: Path, providers: Providers, answers: AnswerFile, settings: FineTuningSettings) -> None:
        self._providers = providers
        self._answers = answers
        self._settings = settings
        self._trainer = Trainer(settings, folder / "models")
        self._pipeline = TrainingPipeline(self._trainer, Gate(providers, settings), SYSTEM)
        self._one_off = OneOffModels(folder)
        self._weights = check_weights()
        self._slots = asyncio.Semaphore(SLOTS)

    async def run(self, case: Case, recipe: str, commit: str) -> CaseResult:
        """Return the measurements of a case. Raises as the pipeline, and `TimeoutError` after `CASE_S`."""
        folder = self._trainer.folder(PROJECT, f"{case.rule}-{case.seed}-{case.rows}")
        self._trainer.discard(folder)
        try:
            async with asyncio.timeout(CASE_S):
                return await self._measured(case, folder, recipe, commit)
        finally:
            self._trainer.discard(folder)

    async def _measured(self, case: Case, folder: Path, recipe: str, commit: str) -> CaseResult:
        rule = RULES[case.rule]
        drawn = rule.draw(case.seed)
        done = await self._run(rule, case, drawn.rows[: case.rows], folder)
        async with self._one_off(self._weights, [folder / "adapter" / GGUF]) as (base, candidate):
            models = GateModels(base, candidate)
            return CaseResult(
                recipe=recipe,
                commit=commit,
                case=case,
                kind=rule.kind,
                training=len(done.samples.parts[Part.TRAINING]),
                held_out_rows=len(done.samples.parts[Part.HELD_OUT]),
                ruling=done.report.ruling.value,
                reason=done.report.reason,
                held_out=Shares(done.report.held_out.base, done.report.held_out.candidate),
                control=Shares(done.report.control.base, done.report.control.candidate),
                new_tasks=await self._new_tasks(models, rule, drawn.fresh, SYSTEM),
                new_tasks_plain=await self._new_tasks(models, rule, drawn.fresh, None),
                fresh=await self._fresh(models, SYSTEM),
                fresh_plain=await self._fresh(models, None),
                seconds=done.seconds,
            )

    async def _run(self, rule: Rule, case: Case, tasks: Sequence[RuleTask], folder: Path) -> RunOutcome:
        """Perform the steps of `agents/training.py`, without its database, and measure their durations."""
        rows = [
            ApprovedSample(UUID(int=number), 1, None, None, messages(task.prompt), task.right)
            for number, task in enumerate(tasks)
        ]
        recipe = self._recipe()
        settings = replace(recipe, seed=recipe.seed + case.seed)
        times = [time.monotonic()]
        async with self._one_off(self._weights, []) as (plain, _):
            base = replace(plain, name=BASE, weights=str(self._weights))
            samples = await self._pipeline.choose(base, rows)
            await self._pipeline.prepare(folder, base, samples, settings, ignore_progress)
        times.append(time.monotonic())
        trained = await self._pipeline.train(folder, ignore_reports)
        times.append(time.monotonic())
        held_out = [GatePrompt(str(row.id), row.messages, row.answer) for row in samples.parts[Part.HELD_OUT]]
        async with self._one_off(self._weights, [trained.adapter / GGUF]) as (plain, candidate):
            models = GateModels(plain, candidate)
            report = await self._pipeline.evaluate(models, held_out, grader(rule), ignore_progress)
        times.append(time.monotonic())
        parts = [round(after - before, 1) for before, after in itertools.pairwise(times)]
        return RunOutcome(samples, report, Seconds(parts[0], parts[1], parts[2], round(times[-1] - times[0], 1)))

    def _recipe(self) -> TrainingSettings:
        """Return the settings of a run that overrides none."""
        return TrainingSettings(epochs=self._settings.epochs, threads=self._settings.threads)

    async def _new_tasks(self, models: GateModels, rule: Rule, tasks: Sequence[RuleTask], system: str | None) -> Shares:
        base, adapter = await self._ask_both(models, [task.prompt for task in tasks], system)
        right = [task.right for task in tasks]
        return Shares(fmean(map(rule.grade, base, right)), fmean(map(rule.grade, adapter, right)))

    async def _fresh(self, models: GateModels, system: str | None) -> Shares:
        prompts = fresh_prompts()
        base, adapter = await self._ask_both(models, [one.prompt for one in prompts], system)
        grades = [[one.quality(text) for one, text in zip(prompts, texts, strict=True)] for texts in (base, adapter)]
        return Shares(fmean(grades[0]), fmean(grades[1]))

    async def _ask_both(
        self, models: GateModels, prompts: Sequence[str], system: str | None
    ) -> tuple[list[str], list[str]]:
        base = await asyncio.gather(*(self._of_base(models.base, prompt, system) for prompt in prompts))
        adapter = await asyncio.gather(*(self._ask(models.candidate, prompt, system) for prompt in prompts))
        return base, adapter

    async def _of_base(self, base: Model, prompt: str, system: str | None) -> str:
        key = AnswerFile.key(SHA256, messages(prompt, system), ANSWER_TOKENS)
        known = self._answers.get(key)
        if known is None:
            known = await self._ask(base, prompt, system)
            self._answers.add(key, known)
        return known

    async def _ask(self, model: Model, prompt: str, system: str | None) -> str:
        request = ChatRequest(messages=messages(prompt, system), temperature=0.0, max_tokens=ANSWER_TOKENS)
        async with self._slots:
            return (await self._providers.chat(model, request, timeout_s=CALL_S)).text


def grader(rule: Rule) -> Grader:
    """Return the rule's grading for the gate."""

    async def grade(question: GatePrompt, answer: str) -> float:
        return rule.grade(answer, question.wanted)

    return grade
