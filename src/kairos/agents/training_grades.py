"""Samples as prompts of the gate, and the grades of answers to them: by the checks of their tasks, if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import orjson

from kairos.agents.base import Checks, Draft, Task, TaskSpec
from kairos.agents.checks.requested import checks_from
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge
from kairos.db.engine import Database
from kairos.db.repositories.dataset import dataset
from kairos.db.repositories.tasks import tasks
from kairos.fine_tuning.gate.evaluation import GatePrompt, Grader


class SampleGrades:
    """Grades answers to samples of a project."""

    def __init__(self, database: Database, guardian: GuardianAgent, judge: Judge) -> None:
        self._database = database
        self._guardian = guardian
        self._judge = judge

    async def prompts(self, task: Task, sample_ids: Sequence[UUID]) -> tuple[list[GatePrompt], Grader]:
        """Return the corrected samples of the project of `task`, and what grades answers to them."""
        prompts: list[GatePrompt] = []
        checks: dict[str, Checks] = {}
        async with self._database.project(task.project_id) as session:
            rows = await dataset.of_ids(session, sample_ids)
            given = await tasks.checks_of(session, [row.task_id for row in rows if row.task_id])
        for row in rows:
            if row.corrected_output is None:
                continue
            name = str(row.id)
            of_task = given.get(row.task_id) if row.task_id else None
            checks[name] = checks_from(of_task or {})
            prompts.append(GatePrompt(name, tuple(row.prompt), row.corrected_output))

        async def grade(question: GatePrompt, answer: str) -> float:
            return await self._grade(replace(task, spec=TaskSpec(checks=checks[question.id])), question, answer)

        return prompts, grade

    async def _grade(self, task: Task, question: GatePrompt, answer: str) -> float:
        """Score an answer by the task's checks, else by equality with the approved answer, else by the judge."""
        if task.spec.checks.can_score():
            verdict = await self._guardian.judge(task, Draft(text=answer, finish_reason="stop"))
            return verdict.score or 0.0
        if same_answer(answer, question.wanted):
            return 1.0
        judged = replace(task, prompt=str(question.messages[-1].get("content", "")), task_type=None)
        return await self._judge.grade(judged, answer, None) or 0.0


def same_answer(answer: str, wanted: str) -> bool:
    """Whether two answers are equal, as JSON values or as text without surrounding white space."""
    try:
        return bool(orjson.loads(answer) == orjson.loads(wanted))
    except orjson.JSONDecodeError:
        return answer.strip() == wanted.strip()
