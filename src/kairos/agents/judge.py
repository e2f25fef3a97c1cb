"""A judge model: grades answers that the guardian's checks could not score. Off until a model is configured.

    async with Judge(settings.judge, router, database) as judge:
        if judge.status_of(task, draft, verdict) is JudgingStatus.WAITING:
            ...  # keep the router's decision open; after the task has its result:
            judge.enqueue(task, draft)

Judging runs after the task has its result and never delays it. Each decision that is enqueued is closed at the router
exactly once, with the judge's score or without one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from kairos.agents.base import Draft, Task, Verdict
from kairos.agents.rubrics import CORRECTION, GENERAL_RUBRIC, RESPONSE_FORMAT, Grade, question, read_grade
from kairos.background_tasks import end
from kairos.config import JudgeSettings
from kairos.db.engine import Database
from kairos.db.models import DecisionRow, EventKind
from kairos.db.repositories.agents import judging
from kairos.db.repositories.agents.judging import JudgeFigures
from kairos.db.repositories.tasks import history
from kairos.errors import EngineUnavailable, KairosError
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.call_terms import RoutedAnswer
from kairos.llm.routing.llm_router import CallContext, LLMRouter, cost_of
from kairos.tenancy import ProjectId

__all__ = ["JUDGE", "JUDGE_TASK_TYPE", "Judge", "JudgeFigures", "JudgingStatus"]

log = logging.getLogger(__name__)

JUDGE = "judge"
"""The source of the judge's scores. A person's label overrides them."""
JUDGE_TASK_TYPE = "kairos:judge"
"""Task type of the judge's own calls, which keeps them out of the statistics of the task types that it judges. Callers
are unlikely to choose a name with a colon."""

QUEUE_SIZE = 100
"""Maximum number of queued answers: some minutes of work for a slow judge. Further answers are dropped and counted."""
CONCURRENCY = 2
ATTEMPTS = 2
"""The second attempt asks for the correct form."""
GRADE_TOKENS = 600
"""A sentence and a number take 60 tokens; reasoning models need the rest."""
STOP_S = 10.0
"""How long a stopping daemon waits for queued answers to be judged."""


class JudgingStatus(StrEnum):
    """How an answer without a score from the checks is handled."""

    WAITING = "waiting"
    """The judge will grade it."""
    NOT_SAMPLED = "not_sampled"
    """Not in the sampled share."""
    OWN_ANSWER = "own_answer"
    """Written by the judge model or one of its adapters, which do not grade themselves."""
    NOT_LOCAL = "not_local"
    """The project allows local models only, and the judge is not local."""


class GradeUnreadable(KairosError):
    """The judge {model} returned no valid grade in {tries} attempts: {excerpt!r}."""

    code = "no_mark"


@dataclass(frozen=True, slots=True)
class _QueuedAnswer:
    """An answer that waits to be graded."""

    judge: Model
    """The judge model configured when the answer was queued."""
    task: Task
    answer: str
    decision_id: UUID


@dataclass(slots=True)
class _CallTotals:
    """Cost and tokens of the calls for one grade."""

    cost_usd: float | None = 0.0
    """None if the cost of any call is unknown."""
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, cost_usd: float | None, input_tokens: int, output_tokens: int) -> None:
        known = self.cost_usd is not None and cost_usd is not None
        self.cost_usd = (self.cost_usd or 0.0) + (cost_usd or 0.0) if known else None
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


class Judge:
    """Grades sampled answers in the background, from a bounded queue that is drained on exit."""

    def __init__(
        self,
        settings: JudgeSettings,
        router: LLMRouter,
        database: Database,
        *,
        queue_size: int = QUEUE_SIZE,
        stop_s: float = STOP_S,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many answers were `judged`, `failed` or `dropped` since the process started."""
        self._settings = settings
        self._router = router
        self._database = database
        self._stop_s = stop_s
        self._waiting: asyncio.Queue[_QueuedAnswer] = asyncio.Queue(queue_size)
        self._workers: list[asyncio.Task[None]] = []

    @property
    def model(self) -> Model | None:
        """The configured judge model; None if there is none. Raises `UnknownModel`."""
        return self._router.require(self._settings.model) if self._settings.model else None

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work(), name="judging") for _ in range(CONCURRENCY)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Judge the queued answers within the time limit, and close the rest without a score."""
        try:
            async with asyncio.timeout(self._stop_s):
                await self.drain()
        except TimeoutError:
            log.warning("stopped before %d answers were judged", self._waiting.qsize() + len(self._workers))
        finally:
            await end(*self._workers)
            self._workers = []
            while not self._waiting.empty():
                self._router.discard(self._waiting.get_nowait().decision_id)

    def status_of(self, task: Task, draft: Draft, verdict: Verdict) -> JudgingStatus | None:
        """Return whether the judge will grade a draft and, if not, why; None for drafts that need no grade.

        A rejected draft is not graded: its fault is known, and a good grade for the rest would mislead the router.
        The same arguments always give the same result.
        """
        judge = self.model
        if judge is None or verdict.score is not None or not verdict.approved:
            return None
        if draft.cached or draft.decision_id is None:
            return None
        if not sampled(UUID(draft.decision_id), self._settings.share):
            return JudgingStatus.NOT_SAMPLED
        if self._is_author(judge, draft.model):
            return JudgingStatus.OWN_ANSWER
        if task.settings.local_only and not judge.local:
            return JudgingStatus.NOT_LOCAL
        return JudgingStatus.WAITING

    def enqueue(self, task: Task, draft: Draft) -> None:
        """Queue a `WAITING` draft once its task has its result. Never blocks: a full queue drops the draft."""
        assert draft.decision_id is not None
        judge = self.model
        if judge is None:  # turned off meanwhile
            return self._router.discard(UUID(draft.decision_id))
        queued = _QueuedAnswer(judge, task, draft.text, UUID(draft.decision_id))
        try:
            if not self._workers:
                raise asyncio.QueueFull
            self._waiting.put_nowait(queued)
        except asyncio.QueueFull:
            self.counts["dropped"] += 1
            log.warning("task %s is not judged: %d answers are already queued", task.id, self._waiting.qsize())
            self._router.discard(queued.decision_id)

    async def drain(self) -> None:
        """Wait until all queued answers have been judged."""
        await self._waiting.join()

    async def figures(self, project_id: ProjectId, since: datetime) -> JudgeFigures:
        """Return the number and share of a project's answers judged since then, and the cost."""
        async with self._database.project(project_id) as session:
            return await judging.figures(session, JUDGE_TASK_TYPE, JUDGE, since)

    async def grade(self, task: Task, answer: str, author: str | None) -> float | None:
        """Return a score in [0, 1] for an answer without a decision, or None if no judge may or can grade it."""
        judge = self.model
        if judge is None or self._is_author(judge, author) or (task.settings.local_only and not judge.local):
            return None
        rubric = self._settings.rubrics.get(task.task_type or "", GENERAL_RUBRIC)
        try:
            return (await self._ask(judge, task, answer, rubric, _CallTotals())).score
        except KairosError as error:
            log.warning("an answer of %s was not judged: %s", author, error)
            return None

    def _is_author(self, judge: Model, name: str | None) -> bool:
        """Whether a name means the judge model, also under another name on the same server or as an adapter of it."""
        catalog = self._router.catalog
        author = catalog.get(name or "")
        base = catalog.get(author.base) if author and author.base else None
        return name == judge.name or any(_server(each) == _server(judge) for each in (author, base) if each)

    async def _work(self) -> None:
        while True:
            queued = await self._waiting.get()
            try:
                await self._grade_queued(queued)
            except EngineUnavailable as error:
                log.warning("the judge's grade of task %s is lost: %s", queued.task.id, error)
            except Exception:
                log.exception("judging task %s failed", queued.task.id)
            finally:
                self._router.discard(queued.decision_id)  # no effect if the quality was recorded
                self._waiting.task_done()

    async def _grade_queued(self, queued: _QueuedAnswer) -> None:
        """Grade one queued answer, and record the grade at the router and as a task event."""
        async with self._database.project(queued.task.project_id) as session:
            decision = await history.decision(session, queued.decision_id)
        if decision is None or decision.quality is not None:
            return await self._record_quality(queued, None)  # already labelled by a person
        totals = _CallTotals()
        try:
            grade = await self._ask(queued.judge, queued.task, queued.answer, self._rubric(queued, decision), totals)
        except KairosError as error:
            self.counts["failed"] += 1
            log.warning("task %s was not judged: %s", queued.task.id, error)
            await self._record_quality(queued, None)
            return await self._record_event(
                queued, EventKind.NOT_JUDGED, {"code": error.code, "reason": str(error)}, totals
            )
        self.counts["judged"] += 1
        log.info("task %s: the judge scored the answer of %s at %.2f", queued.task.id, decision.answered, grade.score)
        await self._record_quality(queued, grade.score)
        await self._record_event(queued, EventKind.JUDGED, {"score": grade.score, "reason": grade.reason}, totals)

    def _rubric(self, queued: _QueuedAnswer, decision: DecisionRow) -> str:
        rubrics = self._settings.rubrics
        return rubrics.get(queued.task.task_type or decision.task_type, GENERAL_RUBRIC)

    async def _ask(self, judge: Model, task: Task, answer: str, rubric: str, totals: _CallTotals) -> Grade:
        """Ask the judge for a grade. Raises `GradeUnreadable`, and the errors of `LLMRouter.complete`."""
        deadline = time.monotonic() + self._settings.timeout_s
        messages, text = question(rubric, task.prompt, answer), ""
        for _ in range(ATTEMPTS):
            routed = await self._call(judge, task, messages, deadline - time.monotonic())
            text = routed.completion.text
            _count(judge, routed, totals)
            if grade := read_grade(text):
                return grade
            messages += ({"role": "assistant", "content": text}, {"role": "user", "content": CORRECTION})
        raise GradeUnreadable(model=judge.name, tries=ATTEMPTS, excerpt=text[:200].replace("\x00", ""))

    async def _call(
        self, judge: Model, task: Task, messages: tuple[Mapping[str, str], ...], timeout_s: float
    ) -> RoutedAnswer:
        """Call the judge through the router, which applies health and cost limits and records the call."""
        context = CallContext(
            project_id=task.project_id,
            task_id=task.id,
            attempt=task.attempt,
            task_type=JUDGE_TASK_TYPE,
            options=CallOptions(model=judge.name, cache=False),  # no prompt repeats, and equal ones must not wait
            local_only=task.settings.local_only,
        )
        request = ChatRequest(
            messages=messages, temperature=0.0, max_tokens=GRADE_TOKENS, response_format=RESPONSE_FORMAT
        )
        answer = await self._router.complete(context, request, _discard_event, timeout_s=max(timeout_s, 0.001))
        self._router.discard(answer.decision_id)  # the judge's own answers are not judged
        return answer

    async def _record_quality(self, queued: _QueuedAnswer, score: float | None) -> None:
        await self._router.record_quality(queued.task.project_id, queued.decision_id, score, JUDGE)

    async def _record_event(
        self, queued: _QueuedAnswer, kind: EventKind, answer: Mapping[str, Any], totals: _CallTotals
    ) -> None:
        """Append an event to the task, which has already ended."""
        data = {
            **answer,
            "model": queued.judge.name,
            "decision_id": str(queued.decision_id),
            "cost_usd": totals.cost_usd,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
        }
        task = queued.task
        async with self._database.project(task.project_id) as session:
            await history.add_event(session, task.project_id, task.id, task.attempt, kind, data)


def sampled(decision_id: UUID, share: float) -> bool:
    """Whether a decision is in the judged share, by a hash of its id, so that every replica agrees."""
    digest = hashlib.blake2b(decision_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _count(judge: Model, answer: RoutedAnswer, totals: _CallTotals) -> None:
    usage = answer.completion.usage
    totals.add(cost_of(judge, usage), usage.input_tokens if usage else 0, usage.output_tokens if usage else 0)


def _server(model: Model) -> tuple[str, str]:
    """Return the server and upstream model of a catalogue entry."""
    return model.base_url, model.upstream


async def _discard_event(kind: EventKind, data: Mapping[str, Any]) -> None:
    """Discard the router's events: the task has ended, and errors are recorded as `not_judged`."""
