"""Grades answers to approved samples, for the evaluation gate and the check of a base model before a training."""

from __future__ import annotations

from dataclasses import replace

import orjson

from kairos.agents.base import Draft, Task
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge
from kairos.fine_tuning.gate.evaluation import GatePrompt


class AnswerGrader:
    """Scores an answer by the task's checks, else by equality with the approved answer, else by the judge."""

    def __init__(self, guardian: GuardianAgent, judge: Judge) -> None:
        self._guardian = guardian
        self._judge = judge

    async def grade(self, task: Task, question: GatePrompt, answer: str) -> float:
        """Return the quality in [0, 1]. `task` has the checks of the sample's task."""
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
