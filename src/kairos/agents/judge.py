"""A judge model: it says how good an answer is where the guardian's checks could not. Off until one is named.

    async with Judge(settings.judge, router, database) as judge:
        if judge.standing(task, draft, verdict) is Judging.WAITING:
            ...  # the router's decision stays open; once the task has its result:
            judge.take(task, draft)

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
from kairos.agents.rubrics import CORRECTION, GENERAL_RUBRIC, RESPONSE_FORMAT, Mark, question, read_mark
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

__all__ = ["JUDGE", "JUDGE_TASK_TYPE", "Judge", "JudgeFigures", "Judging"]

log = logging.getLogger(__name__)

JUDGE = "judge"
"""The source of its scores; a person's label overrules it."""
JUDGE_TASK_TYPE = "kairos:judge"
"""Its own calls are kept under this, and so are no observations of the task types that it judges. With a colon, so that
no caller's word is likely to be the same."""

ROOM = 100
"""Answers that may wait: some minutes of work for a slow judge. What comes then is dropped, and counted."""
AT_ONCE = 2
TRIES = 2
"""The second one tells it what was wrong with the form of the first."""
MARK_TOKENS = 600
"""A sentence and a number take 60; models that think before they answer need the rest."""
STOP_S = 10.0
"""How long a stopping daemon waits for what is being judged."""


class Judging(StrEnum):
    """What becomes of an answer whose quality no check measured."""

    WAITING = "waiting"
    """The judge will speak of it."""
    NOT_SAMPLED = "not_sampled"
    """It is not in the share that is judged."""
    OWN_ANSWER = "own_answer"
    """The judge or an adapter of it wrote it: it does not grade itself."""
    NOT_LOCAL = "not_local"
    """The project's prompts must not leave this machine, and the judge is elsewhere."""


class NoMark(KairosError):
    """The judge {model} answered {tries} times without a mark that can be read: {excerpt!r}."""

    code = "no_mark"


@dataclass(frozen=True, slots=True)
class _Taken:
    """An answer that waits for its mark."""

    judge: Model
    """The one of that time, whatever the configuration says when its turn comes."""
    task: Task
    answer: str
    decision_id: UUID


@dataclass(slots=True)
class _Spent:
    """What the calls for one mark took."""

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
        room: int = ROOM,
        stop_s: float = STOP_S,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """`judged`, `failed`, `dropped`, and each `Judging` that was told, since this process began."""
        self._settings = settings
        self._router = router
        self._database = database
        self._stop_s = stop_s
        self._waiting: asyncio.Queue[_Taken] = asyncio.Queue(room)
        self._at_work: list[asyncio.Task[None]] = []

    @property
    def model(self) -> Model | None:
        """The model that judges now; None where none is named. Raises `UnknownModel`."""
        return self._router.require(self._settings.model) if self._settings.model else None

    async def __aenter__(self) -> Self:
        self._at_work = [asyncio.create_task(self._work(), name="judging") for _ in range(AT_ONCE)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Let what waits be judged within the limit, and close the rest without a score."""
        try:
            async with asyncio.timeout(self._stop_s):
                await self.settle()
        except TimeoutError:
            log.warning("stopped before %d answers were judged", self._waiting.qsize() + len(self._at_work))
        finally:
            await end(*self._at_work)
            self._at_work = []
            while not self._waiting.empty():
                self._router.forget(self._waiting.get_nowait().decision_id)

    def standing(self, task: Task, draft: Draft, verdict: Verdict) -> Judging | None:
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
            return Judging.NOT_SAMPLED
        if self._wrote(judge, draft.model):
            return Judging.OWN_ANSWER
        if task.local_only and not judge.local:
            return Judging.NOT_LOCAL
        return Judging.WAITING

    def take(self, task: Task, draft: Draft) -> None:
        """Grade a draft that is `WAITING`, once its task has its result. Never waits: a full queue drops it."""
        assert draft.decision_id is not None
        judge = self.model
        if judge is None:  # it was turned off since
            return self._router.forget(UUID(draft.decision_id))
        taken = _Taken(judge, task, draft.text, UUID(draft.decision_id))
        try:
            if not self._at_work:
                raise asyncio.QueueFull
            self._waiting.put_nowait(taken)
        except asyncio.QueueFull:
            self.counts["dropped"] += 1
            log.warning("task %s is not judged: %d answers wait already", task.id, self._waiting.qsize())
            self._router.forget(taken.decision_id)

    async def settle(self) -> None:
        """Until everything that was taken has been judged."""
        await self._waiting.join()

    async def figures(self, project_id: ProjectId, since: datetime) -> JudgeFigures:
        """How many of a project's answers were judged since then, which share that is, and what it cost."""
        async with self._database.project(project_id) as session:
            return await judging.figures(session, JUDGE_TASK_TYPE, JUDGE, since)

    async def mark(self, task: Task, answer: str, writer: str | None) -> float | None:
        """A mark in [0, 1] for an answer that belongs to no decision. None where no judge may or can give one."""
        judge = self.model
        if judge is None or self._wrote(judge, writer) or (task.local_only and not judge.local):
            return None
        rubric = self._settings.rubrics.get(task.task_type or "", GENERAL_RUBRIC)
        try:
            return (await self._ask(judge, task, answer, rubric, _Spent())).score
        except KairosError as error:
            log.warning("an answer of %s is not judged: %s", writer, error)
            return None

    def _wrote(self, judge: Model, name: str | None) -> bool:
        """Whether a name is the judge's own: another name for the same model on the same server is, too, and so is an
        adapter of it."""
        catalog = self._router.catalog
        writer = catalog.get(name or "")
        base = catalog.get(writer.base) if writer and writer.base else None
        return name == judge.name or any(_server(each) == _server(judge) for each in (writer, base) if each)

    async def _work(self) -> None:
        while True:
            taken = await self._waiting.get()
            try:
                await self._grade(taken)
            except EngineUnavailable as error:
                log.warning("what the judge said of task %s is lost: %s", taken.task.id, error)
            except Exception:
                log.exception("judging task %s failed", taken.task.id)
            finally:
                self._router.forget(taken.decision_id)  # nothing to do where the router has learned of it
                self._waiting.task_done()

    async def _grade(self, taken: _Taken) -> None:
        """One answer from the question to what is learned and shown of it."""
        async with self._database.project(taken.task.project_id) as session:
            decision = await history.decision(session, taken.decision_id)
        if decision is None or decision.quality is not None:
            return await self._learn(taken, None)  # a person was quicker
        spent = _Spent()
        try:
            mark = await self._ask(taken.judge, taken.task, taken.answer, self._rubric(taken, decision), spent)
        except KairosError as error:
            self.counts["failed"] += 1
            log.warning("task %s is not judged: %s", taken.task.id, error)
            await self._learn(taken, None)
            return await self._tell(taken, "not_judged", {"code": error.code, "reason": str(error)}, spent)
        self.counts["judged"] += 1
        log.info("task %s: %s says %.2f of the answer of %s", taken.task.id, JUDGE, mark.score, decision.answered)
        await self._learn(taken, mark.score)
        await self._tell(taken, "judged", {"score": mark.score, "reason": mark.reason}, spent)

    def _rubric(self, taken: _Taken, decision: DecisionRow) -> str:
        rubrics = self._settings.rubrics
        return rubrics.get(taken.task.task_type or decision.task_type, GENERAL_RUBRIC)

    async def _ask(self, judge: Model, task: Task, answer: str, rubric: str, spent: _Spent) -> Mark:
        """Raises `NoMark`, and what `LLMRouter.complete` raises."""
        deadline = time.monotonic() + self._settings.timeout_s
        messages, text = question(rubric, task.prompt, answer), ""
        for _ in range(TRIES):
            said = await self._call(judge, task, messages, deadline - time.monotonic())
            text = said.completion.text
            _count(judge, said, spent)
            if mark := read_mark(text):
                return mark
            messages += ({"role": "assistant", "content": text}, {"role": "user", "content": CORRECTION})
        raise NoMark(model=judge.name, tries=TRIES, excerpt=text[:200].replace("\x00", ""))

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
            messages=messages, temperature=0.0, max_tokens=MARK_TOKENS, response_format=RESPONSE_FORMAT
        )
        answer = await self._router.complete(context, request, _unheard, timeout_s=max(timeout_s, 0.001))
        self._router.forget(answer.decision_id)  # nobody will judge the judge
        return answer

    async def _learn(self, taken: _Taken, score: float | None) -> None:
        await self._router.learn(taken.task.project_id, taken.decision_id, score, JUDGE)

    async def _tell(self, taken: _Taken, kind: str, said: Mapping[str, Any], spent: _Spent) -> None:
        """An event of the task, after its last one: the task itself has ended."""
        data = {
            **said,
            "model": taken.judge.name,
            "decision_id": str(taken.decision_id),
            "cost_usd": spent.cost_usd,
            "input_tokens": spent.input_tokens,
            "output_tokens": spent.output_tokens,
        }
        task = taken.task
        async with self._database.project(task.project_id) as session:
            await history.add_event(session, task.project_id, task.id, task.attempt, kind, data)


def sampled(decision_id: UUID, share: float) -> bool:
    """Whether a decision is in the share that is judged: by its id, so that every replica agrees."""
    digest = hashlib.blake2b(decision_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _count(judge: Model, answer: RoutedAnswer, spent: _Spent) -> None:
    usage = answer.completion.usage
    spent.add(cost_of(judge, usage), usage.input_tokens if usage else 0, usage.output_tokens if usage else 0)


def _server(model: Model) -> tuple[str, str]:
    """What stands behind a name of the catalogue."""
    return model.base_url, model.upstream


async def _unheard(kind: str, data: Mapping[str, Any]) -> None:
    """The task has ended: the router's steps are no events of it. Its errors are told by `not_judged`."""
