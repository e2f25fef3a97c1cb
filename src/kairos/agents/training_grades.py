"""Samples as prompts of the gate, and the grades of answers to them: by the checks of their tasks, if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from kairos.agents.answer_grader import AnswerGrader
from kairos.agents.base import Checks, Task, TaskSpec
from kairos.agents.checks.requested import checks_from
from kairos.db.engine import Database
from kairos.db.repositories.dataset import dataset
from kairos.db.repositories.tasks import tasks
from kairos.fine_tuning.gate.evaluation import GatePrompt, Grader


class SampleGrades:
    """Grades answers to samples of a project."""

    def __init__(self, database: Database, grader: AnswerGrader) -> None:
        self._database = database
        self._grader = grader

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
            return await self._grader.grade(replace(task, spec=TaskSpec(checks=checks[question.id])), question, answer)

        return prompts, grade
