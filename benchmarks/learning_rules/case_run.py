"""Runs cases: the pipeline of a real training run, then measurements outside the gate."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from uuid import UUID

from benchmarks.learning_bench import AnswerFile, fresh_prompts, messages
from benchmarks.learning_rules.catalogue import RULES
from benchmarks.learning_rules.results import Case, CaseResult, Seconds, Shares, TrySummary
from benchmarks.learning_rules.rule import Rule, RuleTask
from benchmarks.learning_run import LearningRuns
from kairos.agents.execution import SYSTEM
from kairos.config import FineTuningSettings
from kairos.embedded.model import SHA256, check_weights
from kairos.fine_tuning.adapters.deployments import GateModels
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.dataset.split import ApprovedSample, Part
from kairos.fine_tuning.gate.asking import ModelCalls, greedy
from kairos.fine_tuning.gate.base_answers import FOLDER as BASE_ANSWERS
from kairos.fine_tuning.gate.evaluation import GatePrompt, Grader
from kairos.fine_tuning.training.process.job import GGUF
from kairos.fine_tuning.training.trainer import Trainer
from kairos.fine_tuning.tries.tries import Try
from kairos.llm.calls.providers import Providers
from kairos.tenancy import ProjectId

PROJECT = ProjectId(UUID(int=0))
ANSWER_TOKENS = 64
"""Of an answer outside the gate. A right one takes at most 25."""
CASE_S = 7200.0


class CaseRunner:
    """Runs cases in one folder.

    Answers of the base outside the gate are kept in a file. Those of a run are asked for anew each time, as its
    duration is measured.
    """

    def __init__(self, folder: Path, providers: Providers, answers: AnswerFile, settings: FineTuningSettings) -> None:
        self._folder = folder
        self._providers = providers
        self._answers = answers
        self._trainer = Trainer(settings, folder / "models")
        self._one_off = OneOffModels(folder)
        self._weights = check_weights()
        self._runs = LearningRuns(folder, providers, settings, self._trainer, self._one_off)

    async def run(self, case: Case, recipe: str, commit: str) -> CaseResult:
        """Return the measurements of a case. Raises as `Tries`, and `TimeoutError` after `CASE_S`."""
        folder = self._trainer.folder(PROJECT, f"{case.rule}-{case.seed}-{case.rows}")
        self._trainer.discard(folder)
        shutil.rmtree(self._folder / BASE_ANSWERS, ignore_errors=True)
        try:
            async with asyncio.timeout(CASE_S):
                return await self._measured(case, folder, recipe, commit)
        finally:
            self._trainer.discard(folder)

    async def _measured(self, case: Case, folder: Path, recipe: str, commit: str) -> CaseResult:
        rule = RULES[case.rule]
        drawn = rule.draw(case.seed)
        done = await self._runs.run(samples_of(drawn.rows[: case.rows]), grader(rule), folder, case.seed)
        async with self._one_off(self._weights, [done.adapter / GGUF]) as loaded:
            models = GateModels(loaded.plain, loaded.adapted(0))
            report = done.report
            return CaseResult(
                recipe=recipe,
                commit=commit,
                case=case,
                kind=rule.kind,
                training=len(done.parts[Part.TRAINING]),
                held_out_rows=len(done.parts[Part.HELD_OUT]),
                ruling=report.ruling.value,
                reason=report.reason,
                held_out=Shares(report.held_out.base, report.held_out.candidate),
                control=Shares(report.control.base, report.control.candidate),
                control_prompts=report.control.prompts,
                new_tasks=await self._new_tasks(models, rule, drawn.fresh, SYSTEM),
                new_tasks_plain=await self._new_tasks(models, rule, drawn.fresh, None),
                fresh=await self._fresh(models, SYSTEM),
                fresh_plain=await self._fresh(models, None),
                seconds=Seconds(done.training_s, round(done.seconds - done.training_s, 1), done.seconds),
                tries=[summary_of(one) for one in done.tries],
            )

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
        of_base, of_adapter = (ModelCalls(self._providers, one) for one in (models.base, models.candidate))
        base = await asyncio.gather(*(self._of_base(of_base, prompt, system) for prompt in prompts))
        adapter = await asyncio.gather(*(answer(of_adapter, prompt, system) for prompt in prompts))
        return base, adapter

    async def _of_base(self, base: ModelCalls, prompt: str, system: str | None) -> str:
        key = AnswerFile.key(SHA256, messages(prompt, system), ANSWER_TOKENS)
        known = self._answers.get(key)
        if known is None:
            known = await answer(base, prompt, system)
            self._answers.add(key, known)
        return known


async def answer(model: ModelCalls, prompt: str, system: str | None) -> str:
    return (await model.ask(greedy(messages(prompt, system), ANSWER_TOKENS))).text


def summary_of(one: Try) -> TrySummary:
    training, chosen = one.recipe.training, one.selection.chosen
    return TrySummary(
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        rank=training.rank,
        replay_share=one.recipe.replay_share,
        steps=one.metrics["steps"],
        step=chosen.step,
        strength=chosen.strength,
        learned=chosen.learned,
        kept=chosen.kept,
        shortfall=one.shortfall,
        ruling=one.ruling,
        seconds=one.seconds,
    )


def samples_of(tasks: Sequence[RuleTask]) -> list[ApprovedSample]:
    """Return the tasks as approved samples of a project."""
    return [
        ApprovedSample(UUID(int=number), 1, None, None, messages(task.prompt), task.right)
        for number, task in enumerate(tasks)
    ]


def grader(rule: Rule) -> Grader:
    """Return the rule's grading for the gate."""

    async def grade(question: GatePrompt, answer: str) -> float:
        return rule.grade(answer, question.wanted)

    return grade
