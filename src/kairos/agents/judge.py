"""A judge model: it says how good an answer is where the guardian's checks could not. Off until one is named.

    async with Judge(settings.judge, router, database) as judge:
        if judge.status_of(task, draft, verdict) is JudgingStatus.WAITING:
            ...  # the router's decision stays open; once the task has its result:
            judge.enqueue(task, draft)

It works behind the result and never delays one. Each decision that it takes is closed at the router exactly once: with
the judge's score, or without one where it gave none.
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
from kairos.db.models import DecisionRow
from kairos.db.repositories import history, judging
from kairos.db.repositories.judging import JudgeFigures
from kairos.errors import EngineUnavailable, KairosError
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.llm_router import CallContext, LLMRouter, RoutedAnswer, cost_of
from kairos.tenancy import ProjectId

__all__ = ["JUDGE", "JUDGE_TASK_TYPE", "Judge", "JudgeFigures", "JudgingStatus"]

log = logging.getLogger(__name__)

JUDGE = "judge"
"""The source of its scores; a person's label overrules it."""
JUDGE_TASK_TYPE = "kairos:judge"
"""Its own calls are kept under this, and so are no observations of the task types that it judges. With a colon, so that
no caller's word is likely to be the same."""

QUEUE_SIZE = 100
"""Answers that may wait: some minutes of work for a slow judge. What comes then is dropped, and counted."""
CONCURRENCY = 2
ATTEMPTS = 2
"""The second one tells it what was wrong with the form of the first."""
GRADE_TOKENS = 600
"""A sentence and a number enqueue 60; models that think before they answer need the rest."""
STOP_S = 10.0
"""How long a stopping daemon waits for what is being judged."""


class JudgingStatus(StrEnum):
    """What becomes of an answer whose quality no check measured."""

    WAITING = "waiting"
    """The judge will speak of it."""
    NOT_SAMPLED = "not_sampled"
    """It is not in the share that is judged."""
    OWN_ANSWER = "own_answer"
    """The judge or an adapter of it wrote it: it does not grade itself."""
    NOT_LOCAL = "not_local"
    """The project's prompts must not leave this machine, and the judge is elsewhere."""


class GradeUnreadable(KairosError):
    """The judge {model} answered {tries} times without a grade that can be read: {excerpt!r}."""

    code = "no_mark"


@dataclass(frozen=True, slots=True)
class _QueuedAnswer:
    """An answer that waits for its grade."""

    judge: Model
    """The one of that time, whatever the configuration says when its turn comes."""
    task: Task
    answer: str
    decision_id: UUID


@dataclass(slots=True)
class _CallTotals:
    """What the calls for one grade took."""

    cost_usd: float | None = 0.0
    """None as soon as one of them is unknown."""
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, cost_usd: float | None, input_tokens: int, output_tokens: int) -> None:
        known = self.cost_usd is not None and cost_usd is not None
        self.cost_usd = (self.cost_usd or 0.0) + (cost_usd or 0.0) if known else None
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


class Judge:
    """Grades sampled answers in the background, from a bounded queue that it drains when it is closed."""

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
        """`judged`, `failed`, `dropped`, and each `JudgingStatus` that was told, since this process began."""
        self._settings = settings
        self._router = router
        self._database = database
        self._stop_s = stop_s
        self._waiting: asyncio.Queue[_QueuedAnswer] = asyncio.Queue(queue_size)
        self._workers: list[asyncio.Task[None]] = []

    @property
    def model(self) -> Model | None:
        """The model that judges now; None where none is named. Raises `UnknownModel`."""
        return self._router.require(self._settings.model) if self._settings.model else None

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work(), name="judging") for _ in range(CONCURRENCY)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Let what waits be judged within the limit, and close the rest without a score."""
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
        """Whether the judge will speak of a draft; None where it has nothing to say of it.

        A rejected draft is not asked about: the fault was found, and praise of the rest would teach the wrong thing.
        The same arguments always have the same answer.
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
        if task.local_only and not judge.local:
            return JudgingStatus.NOT_LOCAL
        return JudgingStatus.WAITING

    def enqueue(self, task: Task, draft: Draft) -> None:
        """Grade a draft that is `WAITING`, once its task has its result. Never waits: a full queue drops it."""
        assert draft.decision_id is not None
        judge = self.model
        if judge is None:  # it was turned off since
            return self._router.discard(UUID(draft.decision_id))
        queued = _QueuedAnswer(judge, task, draft.text, UUID(draft.decision_id))
        try:
            if not self._workers:
                raise asyncio.QueueFull
            self._waiting.put_nowait(queued)
        except asyncio.QueueFull:
            self.counts["dropped"] += 1
            log.warning("task %s is not judged: %d answers wait already", task.id, self._waiting.qsize())
            self._router.discard(queued.decision_id)

    async def drain(self) -> None:
        """Until everything that was queued has been judged."""
        await self._waiting.join()

    async def figures(self, project_id: ProjectId, since: datetime) -> JudgeFigures:
        """How many of a project's answers were judged since then, which share that is, and what it cost."""
        async with self._database.project(project_id) as session:
            return await judging.figures(session, JUDGE_TASK_TYPE, JUDGE, since)

    async def grade(self, task: Task, answer: str, writer: str | None) -> float | None:
        """A grade in [0, 1] for an answer that belongs to no decision. None where no judge may or can give one."""
        judge = self.model
        if judge is None or self._is_author(judge, writer) or (task.local_only and not judge.local):
            return None
        rubric = self._settings.rubrics.get(task.task_type or "", GENERAL_RUBRIC)
        try:
            return (await self._ask(judge, task, answer, rubric, _CallTotals())).score
        except KairosError as error:
            log.warning("an answer of %s is not judged: %s", writer, error)
            return None

    def _is_author(self, judge: Model, name: str | None) -> bool:
        """Whether a name is the judge's own: another name for the same model on the same server is, too, and so is an
        adapter of it."""
        catalog = self._router.catalog
        writer = catalog.get(name or "")
        base = catalog.get(writer.base) if writer and writer.base else None
        return name == judge.name or any(_server(each) == _server(judge) for each in (writer, base) if each)

    async def _work(self) -> None:
        while True:
            queued = await self._waiting.get()
            try:
                await self._grade_queued(queued)
            except EngineUnavailable as error:
                log.warning("what the judge answer of task %s is lost: %s", queued.task.id, error)
            except Exception:
                log.exception("judging task %s failed", queued.task.id)
            finally:
                self._router.discard(queued.decision_id)  # nothing to do where the router has learned of it
                self._waiting.task_done()

    async def _grade_queued(self, queued: _QueuedAnswer) -> None:
        """One answer from the question to what is learned and shown of it."""
        async with self._database.project(queued.task.project_id) as session:
            decision = await history.decision(session, queued.decision_id)
        if decision is None or decision.quality is not None:
            return await self._record_quality(queued, None)  # a person was quicker
        totals = _CallTotals()
        try:
            grade = await self._ask(queued.judge, queued.task, queued.answer, self._rubric(queued, decision), totals)
        except KairosError as error:
            self.counts["failed"] += 1
            log.warning("task %s is not judged: %s", queued.task.id, error)
            await self._record_quality(queued, None)
            return await self._record_event(queued, "not_judged", {"code": error.code, "reason": str(error)}, totals)
        self.counts["judged"] += 1
        log.info("task %s: %s says %.2f of the answer of %s", queued.task.id, JUDGE, grade.score, decision.answered)
        await self._record_quality(queued, grade.score)
        await self._record_event(queued, "judged", {"score": grade.score, "reason": grade.reason}, totals)

    def _rubric(self, queued: _QueuedAnswer, decision: DecisionRow) -> str:
        rubrics = self._settings.rubrics
        return rubrics.get(queued.task.task_type or decision.task_type, GENERAL_RUBRIC)

    async def _ask(self, judge: Model, task: Task, answer: str, rubric: str, totals: _CallTotals) -> Grade:
        """Raises `GradeUnreadable`, and what `LLMRouter.complete` raises."""
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
        """Through the router, which knows the judge's health, what a call may cost, and keeps what it took."""
        context = CallContext(
            project_id=task.project_id,
            task_id=task.id,
            attempt=task.attempt,
            task_type=JUDGE_TASK_TYPE,
            model=judge.name,
            local_only=task.local_only,
            cache=False,  # what is judged once is not asked again, and two that ask the same must not wait for another
        )
        request = ChatRequest(
            messages=messages, temperature=0.0, max_tokens=GRADE_TOKENS, response_format=RESPONSE_FORMAT
        )
        answer = await self._router.complete(context, request, _discard_event, timeout_s=max(timeout_s, 0.001))
        self._router.discard(answer.decision_id)  # nobody will judge the judge
        return answer

    async def _record_quality(self, queued: _QueuedAnswer, score: float | None) -> None:
        await self._router.record_quality(queued.task.project_id, queued.decision_id, score, JUDGE)

    async def _record_event(
        self, queued: _QueuedAnswer, kind: str, answer: Mapping[str, Any], totals: _CallTotals
    ) -> None:
        """An event of the task, after its last one: the task itself has ended."""
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
    """Whether a decision is in the share that is judged: by its id, so that every replica agrees."""
    digest = hashlib.blake2b(decision_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _count(judge: Model, answer: RoutedAnswer, totals: _CallTotals) -> None:
    usage = answer.completion.usage
    totals.add(cost_of(judge, usage), usage.input_tokens if usage else 0, usage.output_tokens if usage else 0)


def _server(model: Model) -> tuple[str, str]:
    """What stands behind a name of the catalogue."""
    return model.base_url, model.upstream


async def _discard_event(kind: str, data: Mapping[str, Any]) -> None:
    """The task has ended: the router's steps are no events of it. Its errors are told by `not_judged`."""
