"""Asks a base model for answers to approved samples before a training: samples with right answers teach nothing new.

The model is called and its answers are graded as in the evaluation gate. Rows, calls and time are bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from kairos.agents.answer_grader import AnswerGrader
from kairos.agents.base import Checks, Task, TaskSpec
from kairos.agents.checks.requested import checks_from
from kairos.agents.guardian import REJECTED_FACTOR
from kairos.db.engine import Database
from kairos.db.repositories.tasks import tasks
from kairos.errors import KairosError
from kairos.fine_tuning.dataset.sample_keys import excerpt, prompt_text
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.fine_tuning.gate.asking import ANSWER_TOKENS
from kairos.fine_tuning.gate.evaluation import GatePrompt
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import Model
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId, new_id

log = logging.getLogger(__name__)

BASE_CHECK_ROWS = 24
BASE_CHECK_S = 25.0
"""Time limit of choosing and asking. The command line waits for 30 s, proxies usually for 60 s."""
CONCURRENCY = 2
RIGHT_ABOVE = REJECTED_FACTOR
"""An answer with a higher quality is right: the guardian gives a rejected one this much at most."""
FAILURES = 3
"""Rows without an answer after which the check ends, if there is no answer at all."""


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """A sample that the base model was asked."""

    id: UUID
    prompt: str
    """Excerpt."""
    right: bool


@dataclass(frozen=True, slots=True)
class BaseCheckResult:
    """What the base model answered."""

    asked: tuple[CheckedSample, ...]
    """The samples that it answered, in the order of asking."""
    chosen: int
    """The samples that were to be asked."""
    failed: int
    """Those whose call or grading failed."""
    seconds: float

    @property
    def right(self) -> int:
        return sum(sample.right for sample in self.asked)


class BaseCheck:
    """Asks a base model. It calls the model directly, as the gate does: these calls must not influence the router."""

    def __init__(self, database: Database, providers: Providers, grader: AnswerGrader) -> None:
        self._database = database
        self._providers = providers
        self._grader = grader

    async def run(
        self,
        project_id: ProjectId,
        settings: ProjectSettings,
        base: Model,
        rows: Sequence[ApprovedSample],
        limit_s: float,
    ) -> BaseCheckResult:
        """Ask the first `BASE_CHECK_ROWS` rows, `CONCURRENCY` at a time, for at most `limit_s`.

        Raises the error of a call if the first `FAILURES` fail or none succeeds.
        """
        chosen = rows[:BASE_CHECK_ROWS]
        checks = await self._checks(project_id, chosen)
        results: list[CheckedSample | KairosError] = []
        start = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                for place in range(0, len(chosen), CONCURRENCY):
                    asking = [
                        self._ask(base, _task(project_id, settings, checks.get(row.task_id, Checks())), row)
                        for row in chosen[place : place + CONCURRENCY]
                    ]
                    results += await asyncio.gather(*asking)
                    if len(results) >= FAILURES and not _asked(results):
                        break
        asked, errors = _asked(results), [one for one in results if isinstance(one, KairosError)]
        if errors and not asked:
            raise errors[-1]
        return BaseCheckResult(asked, len(chosen), len(errors), time.monotonic() - start)

    async def _ask(self, base: Model, task: Task, row: ApprovedSample) -> CheckedSample | KairosError:
        """Return the graded sample, or the error of its call."""
        request = ChatRequest(messages=row.messages, temperature=0.0, max_tokens=ANSWER_TOKENS)
        question = GatePrompt(str(row.id), row.messages, row.answer)
        try:
            answer = await self._providers.chat(base, request, timeout_s=2 * BASE_CHECK_S)
            quality = await self._grader.grade(task, question, answer.text)
        except KairosError as error:
            log.warning("sample %s is left out of the check of %s: %s", row.id, base.name, error)
            return error
        return CheckedSample(row.id, excerpt(prompt_text(row)), quality > RIGHT_ABOVE)

    async def _checks(self, project_id: ProjectId, rows: Sequence[ApprovedSample]) -> dict[UUID | None, Checks]:
        async with self._database.project(project_id) as session:
            stored = await tasks.checks_of(session, [row.task_id for row in rows if row.task_id])
        return {task_id: checks_from(checks or {}) for task_id, checks in stored.items()}


def _asked(results: Sequence[CheckedSample | KairosError]) -> tuple[CheckedSample, ...]:
    return tuple(one for one in results if isinstance(one, CheckedSample))


def _task(project_id: ProjectId, settings: ProjectSettings, checks: Checks) -> Task:
    """Return a task for the checks of a sample. It exists only in this process."""
    return Task(
        id=TaskId(new_id()),
        project_id=project_id,
        prompt="",
        agent="",
        task_type=None,
        spec=TaskSpec(checks=checks),
        attempt=1,
        settings=settings,
    )
