"""Runs one claim: finds the agent, runs it, has the guardian judge its drafts, and writes the result in one
transaction."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from kairos.agents.base import Agent, AttemptContext, Draft, TextStream, Verdict
from kairos.agents.finding import Severity
from kairos.agents.guardian import GuardianAgent
from kairos.agents.judge import Judge, JudgingStatus
from kairos.agents.registry import AgentRegistry, UnknownAgent
from kairos.config import GuardianSettings, QueueSettings
from kairos.db.engine import Database, ProjectGone, Session
from kairos.db.models import EventKind, SampleRow, SampleSource, TaskState, VerdictRow
from kairos.db.repositories.routing import statistics
from kairos.db.repositories.tasks import history, tasks
from kairos.errors import EngineUnavailable, KairosError
from kairos.lanes import Lane
from kairos.llm.calls.answer_limits import PromptTooLong
from kairos.llm.calls.prompt_cut import ModelPromptCut
from kairos.llm.routing.llm_router import LLMRouter, MeasuredAnswer
from kairos.llm.routing.routing_errors import NoSuitableModel
from kairos.logs import reason_for_callers
from kairos.orchestration.dataset.samples import record
from kairos.orchestration.queue.claim import Claim, JudgedDraft, Outcome, as_uuid, sample_prompt
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.lease import Leases, RunningClaim, StopReason
from kairos.orchestration.tasks.attempt_journal import AttemptJournal, LeaseLost
from kairos.orchestration.tasks.draft_stream import DraftStreams
from kairos.storable_text import storable, storable_value
from kairos.tenancy import ProjectId, TaskId, new_id

log = logging.getLogger(__name__)

CONCLUDE_TRIES = 40
CONCLUDE_PAUSE_S = 5
CLASH_PAUSE_S = 0.05
"""Pause after a conflict with another transaction on the same statistics."""
SAME_MOMENT_S = 0.02
"""Event-loop clocks tick in milliseconds: an error this close to the end of the task's time counts as a timeout."""
GUARDIAN = "guardian"
REASONING_KEPT = 100_000
"""Characters of a draft's reasoning that are stored."""
DRAINED = {"code": "drained", "message": "The daemon that ran it stopped; another daemon runs it again."}


class TaskTimeout(KairosError):
    """The task reached its time limit of {seconds:g} s. Raise `timeout_s`, or shorten the task."""

    status, code = 504, "task_timeout"


class AgentCrashed(KairosError):
    """The agent {agent!r} failed with {error}: {reason}. The daemon's log has the traceback."""

    status, code = 500, "agent_crashed"


class ResultNotStored(KairosError):
    """The result cannot be stored ({error}: {reason}). The daemon's log has the traceback."""

    status, code = 500, "result_not_stored"


@dataclass(slots=True)
class _Attempt:
    """A running attempt: its drafts so far, and the records that are stored with its outcome."""

    claim: Claim
    run: RunningClaim
    journal: AttemptJournal
    drafts: list[JudgedDraft] = field(default_factory=list)
    measured: list[MeasuredAnswer] = field(default_factory=list)
    """Qualities that are not stored yet."""


WriteRows = Callable[[Session, Outcome], Awaitable[None]]


class AgentCoordinator:
    """Runs claims. It holds no task state of its own: that is in the claim and in PostgreSQL."""

    def __init__(
        self,
        database: Database,
        agents: AgentRegistry,
        guardian: GuardianAgent,
        router: LLMRouter,
        judge: Judge,
        leases: Leases,
        queue_settings: QueueSettings,
        guardian_settings: GuardianSettings,
        notices: EventNotices,
        streams: DraftStreams,
    ) -> None:
        self._database = database
        self._agents = agents
        self._guardian = guardian
        self._router = router
        self._judge = judge
        self._leases = leases
        self._queue_settings = queue_settings
        self._guardian_settings = guardian_settings
        self._notices = notices
        self._streams = streams

    def running(self, project_id: ProjectId) -> dict[str, list[TaskId]]:
        """The project's tasks that run in this daemon, grouped by agent."""
        groups: dict[str, list[TaskId]] = {}
        for claim in self._leases.claims():
            if claim.project_id == project_id:
                groups.setdefault(self.agent_of(claim.task.agent), []).append(claim.task_id)
        return groups

    def agent_of(self, wanted: str) -> str:
        """The agent with this name or capability; `wanted` itself where this daemon has none."""
        try:
            return self._agents.find(wanted).name
        except UnknownAgent:
            return wanted

    async def run(self, claim: Claim) -> Outcome | None:
        """Run a claim to its end. Returns None if the lease was lost: another worker has the task."""
        with self._leases.renewing(claim) as run:
            async with AttemptJournal(self._database, claim, self._notices) as journal:
                attempt = _Attempt(claim, run, journal)
                try:
                    outcome = await self._attempt(attempt)
                    written = await self._conclude(attempt, outcome)
                except LeaseLost as error:
                    log.warning("%s", error)
                    with suppress(EngineUnavailable, ProjectGone):
                        await self._store_qualities(attempt)
                    return None
                self._enqueue_for_judge(claim, attempt.drafts)
                return written

    async def _attempt(self, attempt: _Attempt) -> Outcome:
        claim, drafts = attempt.claim, attempt.drafts
        limit = asyncio.timeout(claim.timeout_s)
        try:
            async with limit:
                agent = self._agents.find(claim.task.agent, claim.task.settings.disabled_plugins)
                await self._work(agent, attempt, limit)
        except TimeoutError:
            return self._failed(claim, TaskTimeout(seconds=claim.timeout_s), drafts)
        except asyncio.CancelledError:
            return _stopped(claim, attempt.run, drafts)
        except LeaseLost:
            raise
        except KairosError as error:
            # The router has the same time limit and may have reached it first.
            return self._failed(claim, error if _left_s(limit) else TaskTimeout(seconds=claim.timeout_s), drafts)
        except Exception as error:
            log.exception("agent %s crashed on task %s", claim.task.agent, claim.task_id)
            crash = AgentCrashed(agent=claim.task.agent, error=type(error).__name__, reason=reason_for_callers(error))
            return self._failed(claim, crash, drafts)
        approved = drafts[-1].verdict.approved
        return Outcome(TaskState.SUCCEEDED if approved else TaskState.REJECTED, tuple(drafts))

    async def _work(self, agent: Agent, attempt: _Attempt, limit: asyncio.Timeout) -> None:
        """Draft and judge, then draft again with the findings, up to the guardian's number of tries."""
        claim, drafts, journal = attempt.claim, attempt.drafts, attempt.journal
        for number in range(1, self._guardian_settings.tries + 1):
            await journal.emit(EventKind.DRAFTING, {"agent": agent.name, "draft": number})
            async with self._streams.open(claim, number) as stream:
                context = _attempt_context(drafts, _left_s(limit), stream, journal)
                draft = _storable(await agent.perform(claim.task, context, journal.emit))
            try:
                verdict = await self._guardian.judge(claim.task, draft)
            except BaseException:
                self._discard(draft)
                raise
            drafts.append(JudgedDraft(draft, verdict))
            await self._measure(attempt, draft, verdict)
            last = verdict.approved or number == self._guardian_settings.tries
            kind = EventKind.VERDICT if last else EventKind.ATTEMPT_REJECTED
            await journal.emit(kind, {"draft": number, **_verdict_data(verdict)})
            if verdict.approved:
                return
            if not last:  # the next draft's choice of a model depends on it
                await self._store_qualities(attempt)

    async def _measure(self, attempt: _Attempt, draft: Draft, verdict: Verdict) -> None:
        """Apply the verdict to the cache and the router. If a judge model will score the draft, its quality is recorded
        later."""
        claim, decision_id = attempt.claim, as_uuid(draft.decision_id)
        if decision_id is None:
            return
        if draft.cached:
            if not verdict.approved:
                await self._retract(claim, decision_id)
            return
        await self._router.on_verdict(decision_id, verdict.approved)
        status = self._judge.status_of(claim.task, draft, verdict)
        if status is not JudgingStatus.WAITING:
            measured = self._router.measure(claim.project_id, decision_id, verdict.score, GUARDIAN)
            attempt.measured.append(measured)

    async def _store_qualities(self, attempt: _Attempt) -> None:
        """Store the records of calls and their measured qualities, outside the transaction of the outcome."""
        await attempt.journal.flush()
        measured, attempt.measured = attempt.measured, []
        await self._router.record_measured(attempt.claim.project_id, measured)

    async def _retract(self, claim: Claim, decision_id: UUID) -> None:
        """Remove a rejected answer from the cache. An unreachable Redis is only logged: cached answers are judged
        again."""
        try:
            await self._router.retract(claim.project_id, decision_id)
        except EngineUnavailable as error:
            log.warning("a rejected answer stays in the cache: %s", error)

    def _enqueue_for_judge(self, claim: Claim, drafts: list[JudgedDraft]) -> None:
        """Queue drafts for the judge model; called after the result is stored, so that it does not wait for the
        judge."""
        for judged in drafts:
            if self._judge.status_of(claim.task, judged.draft, judged.verdict) is JudgingStatus.WAITING:
                self._judge.enqueue(claim.task, judged.draft)

    def _discard(self, draft: Draft) -> None:
        decision_id = as_uuid(draft.decision_id)
        if decision_id and not draft.cached:
            self._router.discard(decision_id)

    def _failed(self, claim: Claim, error: KairosError, drafts: list[JudgedDraft]) -> Outcome:
        """The outcome after an error: another attempt after a pause if it is retryable and attempts are left."""
        failure = {"code": error.code, "message": error.public()}
        if drafts and isinstance(error, NoSuitableModel | PromptTooLong | ModelPromptCut):
            # No model could take the retry: the task ends with the verdict on the draft before it.
            log.warning("task %s was not retried: %s", claim.task_id, error)
            return Outcome(TaskState.REJECTED, tuple(drafts))
        if not error.retryable:
            return Outcome(TaskState.FAILED, tuple(drafts), failure)
        if claim.last_attempt:
            return Outcome(TaskState.DEAD, tuple(drafts), failure)
        return Outcome(TaskState.QUEUED, tuple(drafts), failure, self._backoff_s(claim.task.attempt))

    def _backoff_s(self, attempt: int) -> float:
        longest = min(self._queue_settings.retry_max_s, self._queue_settings.retry_base_s * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1)

    async def _conclude(self, attempt: _Attempt, outcome: Outcome) -> Outcome:
        """Write result, verdicts, dataset rows, qualities and events in one transaction if the lease still holds.

        Retried while PostgreSQL is unreachable: no other worker can take the task over before it is back. A result that
        cannot be stored at all fails the task at once. Raises `LeaseLost`.
        """
        claim = attempt.claim
        attempt.run.concluding = True

        async def write_all(session: Session, written: Outcome) -> None:
            await attempt.journal.store(session)
            await _write_history(session, claim, written)

        async def write_end(session: Session, written: Outcome) -> None:
            await _write_end(session, claim, written)

        try:
            written = await _uninterrupted(self._write(attempt, outcome, write_all, attempt.measured))
        except (LeaseLost, EngineUnavailable, ProjectGone):
            raise
        except Exception as error:
            log.exception("the result of task %s cannot be stored", claim.task_id)
            refused = ResultNotStored(error=type(error).__name__, reason=_cause(error))
            failed = Outcome(TaskState.FAILED, (), {"code": refused.code, "message": str(refused)})
            written = await _uninterrupted(self._write(attempt, failed, write_end))
        self._notices.notify(claim.project_id)
        return written

    async def _write(
        self, attempt: _Attempt, outcome: Outcome, write_rows: WriteRows, measured: Sequence[MeasuredAnswer] = ()
    ) -> Outcome:
        claim = attempt.claim
        async with self._router.storing_qualities(claim.project_id, measured) as store_qualities:

            async def write() -> Outcome:
                async with attempt.journal.transaction() as session:
                    state = await tasks.conclude(session, claim.task_id, claim.epoch, _conclusion(outcome))
                    if state is None:
                        raise LeaseLost(id=claim.task_id)
                    written = replace(outcome, state=state)
                    await write_rows(session, written)
                    await store_qualities(session)
                    return written

            return await _until_written(write)


async def _until_written(write: Callable[[], Awaitable[Outcome]]) -> Outcome:
    for left in reversed(range(CONCLUDE_TRIES)):
        try:
            return await write()
        except EngineUnavailable as error:
            if not left:
                raise
            clashed = statistics.clashed(error)
            if not clashed:
                log.warning("PostgreSQL is unreachable, retrying to store a result: %s", error)
            await asyncio.sleep(random.uniform(0.2, 1) * (CLASH_PAUSE_S if clashed else CONCLUDE_PAUSE_S))
    raise AssertionError("the last try returns or raises")


async def _uninterrupted(work: Awaitable[Outcome]) -> Outcome:
    """Run to the end even if cancelled: a stop during the final write comes too late, and the write is bounded in
    time."""
    writing = asyncio.ensure_future(work)
    while not writing.done():
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            if writing.cancelled():
                raise
        except Exception:
            break
    return writing.result()


def _stopped(claim: Claim, run: RunningClaim, drafts: list[JudgedDraft]) -> Outcome:
    if run.stopped is StopReason.CANCELLED:
        return Outcome(TaskState.CANCELLED, tuple(drafts))
    if run.stopped is StopReason.DRAINED:
        return Outcome(TaskState.QUEUED, tuple(drafts), DRAINED, retry_in_s=0)
    if run.stopped is StopReason.LEASE_LOST:
        raise LeaseLost(id=claim.task_id)
    raise asyncio.CancelledError


def _left_s(limit: asyncio.Timeout) -> float:
    """Seconds left of the task's time; 0 within `SAME_MOMENT_S` of its end."""
    when = limit.when()
    left = when - asyncio.get_running_loop().time() if when is not None else 0.0
    return left if left > SAME_MOMENT_S else 0.0


def _attempt_context(
    drafts: list[JudgedDraft], left_s: float, stream: TextStream | None, journal: AttemptJournal
) -> AttemptContext:
    if not drafts:
        return AttemptContext(timeout_s=left_s, stream=stream, journal=journal)
    last = drafts[-1]
    return AttemptContext(
        findings=last.verdict.findings,
        rejected=last.draft.text,
        avoid_models=frozenset(judged.draft.model for judged in drafts if judged.draft.model),
        timeout_s=left_s,
        stream=stream,
        journal=journal,
    )


def _cause(error: Exception) -> str:
    """The error's first line, without the statement and parameters that SQLAlchemy adds."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else "no message"


def _verdict_data(verdict: Verdict) -> dict[str, Any]:
    return {
        "approved": verdict.approved,
        "score": verdict.score,
        "checks": list(verdict.checks),
        "findings": _findings(verdict),
    }


def _findings(verdict: Verdict) -> list[dict[str, Any]]:
    return [{"check": f.check, "severity": f.severity, "message": f.message, "line": f.line} for f in verdict.findings]


def _conclusion(outcome: Outcome) -> tasks.Conclusion:
    last = outcome.last
    answer = tasks.TaskAnswer(last.draft.text, last.draft.model, as_uuid(last.draft.decision_id)) if last else None
    return tasks.Conclusion(
        state=outcome.state,
        error=outcome.error,
        retry_in_s=outcome.retry_in_s or 0,
        refund=outcome.state is TaskState.QUEUED and outcome.error == DRAINED,
        answer=answer,
    )


async def _write_history(session: Session, claim: Claim, outcome: Outcome) -> None:
    for number, judged in enumerate(outcome.drafts, 1):
        session.add(_verdict_row(claim, number, judged))
        if not judged.verdict.approved and claim.lane is not Lane.TRAIN:
            await record(session, _rejected_sample(claim, judged), SampleSource.GUARDIAN)
    if outcome.state in (TaskState.FAILED, TaskState.DEAD) and claim.lane is not Lane.TRAIN:  # training calls no model
        await record(session, _failed_sample(claim, outcome), SampleSource.FAILURE)
    await _write_end(session, claim, outcome)


async def _write_end(session: Session, claim: Claim, outcome: Outcome) -> None:
    data: dict[str, Any] = {}
    if outcome.error:
        data["error"] = dict(outcome.error)
    if outcome.retry_in_s is not None:
        data["retry_in_s"] = round(outcome.retry_in_s, 1)
    await history.add_event(
        session, claim.project_id, claim.task_id, claim.task.attempt, EventKind(outcome.state), data
    )


def _verdict_row(claim: Claim, number: int, judged: JudgedDraft) -> VerdictRow:
    return VerdictRow(
        project_id=claim.project_id,
        id=new_id(),
        task_id=claim.task_id,
        attempt=claim.task.attempt,
        draft=number,
        decision_id=as_uuid(judged.draft.decision_id),
        approved=judged.verdict.approved,
        score=judged.verdict.score,
        findings=_findings(judged.verdict),
        checks=list(judged.verdict.checks),
        output=judged.draft.text,
        reasoning=_kept_reasoning(judged.draft.reasoning),
        messages=sample_prompt(judged.draft, claim.task.prompt),
    )


def _storable(draft: Draft) -> Draft:
    """The draft with characters replaced that PostgreSQL cannot store; agents and their tools may return any text."""
    return replace(
        draft,
        text=storable(draft.text),
        reasoning=storable(draft.reasoning),
        messages=tuple(storable_value(draft.messages)),
    )


def _kept_reasoning(text: str) -> str:
    return text if len(text) <= REASONING_KEPT else text[:REASONING_KEPT] + " …"


def _rejected_sample(claim: Claim, judged: JudgedDraft) -> SampleRow:
    faults = [f.message for f in judged.verdict.findings if f.severity is Severity.ERROR]
    return _sample(claim, judged.draft, "Rejected by the guardian: " + "; ".join(faults))


def _failed_sample(claim: Claim, outcome: Outcome) -> SampleRow:
    assert outcome.error is not None
    return _sample(claim, None, f"{outcome.error['code']}: {outcome.error['message']}")


def _sample(claim: Claim, draft: Draft | None, reason: str) -> SampleRow:
    return SampleRow(
        project_id=claim.project_id,
        id=new_id(),
        task_id=claim.task_id,
        attempt=claim.task.attempt,
        task_type=claim.task.task_type,
        prompt=sample_prompt(draft, claim.task.prompt),
        faulty_output=draft.text if draft else None,
        reason=reason,
        model=draft.model if draft else None,
    )
