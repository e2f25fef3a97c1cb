"""Endpoints for tasks: submit, list, show, cancel, retry, label."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, Field, JsonValue

from kairos.agents.base import TaskSpec
from kairos.agents.checks.requested import RequestedChecks, accept
from kairos.agents.finding import Severity
from kairos.agents.registry import AgentRegistry
from kairos.api.access.auth import Body, Member, TasksReader, TasksWriter, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.live.messages import EventOut, ListedTaskOut, TaskOut
from kairos.api.problems import responses
from kairos.db.engine import Database
from kairos.db.models import DecisionRow, TaskEventRow, TaskState, VerdictRow
from kairos.db.repositories.excerpts import EXCERPT
from kairos.db.repositories.tasks import history, labels, tasks
from kairos.db.repositories.tasks.tasks import ListedTask
from kairos.errors import InvalidInput, NotFound
from kairos.lanes import Lane
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.routing.llm_router import LLMRouter
from kairos.llm.routing.scoring import DecisionKind, Reason
from kairos.llm.routing.task_types import Length, TaskTypeSource
from kairos.orchestration.queue.claim import NewTask
from kairos.orchestration.tasks.labels import Label, Labels, NewLabel
from kairos.orchestration.tasks.submission import Submissions
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId
from kairos.text import Position, Text, ZonedMoment

routes = APIRouter(prefix="/api/tasks", tags=["tasks"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class TaskServices:
    database: Database
    submissions: Submissions
    labels: Labels
    agents: AgentRegistry
    router: LLMRouter


ServicesDep = Annotated[TaskServices, depends_on(TaskServices)]

MOST_EVENTS = 1_000
"""Events in one response; `after` requests the rest."""
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
LabellerDep = Annotated[Member, Depends(needs(Permission.TASKS_LABEL))]


class TaskBody(CallOptions, Body):
    prompt: Text = Field(min_length=1, max_length=500_000, examples=["Write a Python function add(a, b)."])
    agent: Text = Field("ExecutionAgent", max_length=100, description="Name of an agent, or a capability.")
    task_type: Text | None = Field(
        None, min_length=1, max_length=100, description="Your name for this kind of task.", examples=["code"]
    )
    checks: RequestedChecks = Field(default_factory=RequestedChecks)
    lane: Lane = Field(Lane.INTERACTIVE, description="`interactive` for tasks that a person waits for.")
    priority: int = Field(0, ge=-100, le=100, description="Higher runs first within the project.")
    not_before: ZonedMoment | None = Field(None, description="Earliest start.")
    timeout_s: float | None = Field(None, gt=0, le=86400, description="Longest time of one attempt, in seconds.")
    max_attempts: int | None = Field(None, ge=1, le=100)

    def spec(self, cache_control: str | None) -> TaskSpec:
        """The specification of the task."""
        options = {name: getattr(self, name) for name in CallOptions.model_fields}
        return TaskSpec.model_construct(**options, cache_control=cache_control, checks=self.checks)


class FindingOut(BaseModel):
    check: str
    severity: Severity
    message: str
    line: int | None = None


class VerdictOut(BaseModel):
    attempt: int
    draft: int
    approved: bool
    score: float | None = Field(description="Measured quality in [0, 1]; null if it was not measured.")
    findings: list[FindingOut]
    checks: list[str]
    output: str
    reasoning: str = Field(description="The model's reasoning text; empty if it returned none.")
    at: datetime


class CandidateOut(BaseModel):
    """A candidate with all terms of its score, as stored with the decision."""

    model: str
    n: float = Field(description="Decayed number of quality observations of this task type.")
    pending: int = Field(description="Decisions that awaited a verdict.")
    mu: float = Field(description="Expected quality.")
    prior: float = Field(description="Expected quality before any observation at this task type.")
    prior_share: float = Field(description="Weight of the prior in `mu`, in [0, 1].")
    bonus: float = Field(description="Exploration bonus for uncertainty.")
    cost: float = Field(description="Cost term in [0, 1], not weighted.")
    expected_cost: float | None = Field(description="US dollars; null if the price is unknown.")
    latency: float = Field(description="Latency term in [0, 1], not weighted.")
    expected_latency_s: float | None = Field(description="Seconds; null if nothing was measured.")
    health: float = Field(description="Penalty for a degraded model.")
    switching: float = Field(description="Penalty for loading the model into a shared runner.")
    utility: float


class ExclusionOut(BaseModel):
    """An excluded model with the reason."""

    model: str
    reason: Reason
    detail: str
    retry_at: float | None = Field(description="Seconds since 1970; null if unknown.")


class ModelCallOut(BaseModel):
    """One call to one model, with its result."""

    model: str
    success: bool
    error: str | None = Field(description="Error code; null on success.")
    first_token_s: float | None
    duration_s: float
    input_tokens: int | None = Field(description="As counted by the server; null if it did not count.")
    output_tokens: int | None
    cost_usd: float | None = Field(description="Null is unknown.")


class DecisionOut(BaseModel):
    id: UUID
    task_type: str
    task_type_source: TaskTypeSource
    task_type_confidence: float | None
    task_type_reason: str | None = Field(description="Why the default type was used.")
    length: Length | None = Field(description="Length class of the input.")
    kind: DecisionKind
    chosen: str | None
    answered: str | None
    candidates: list[CandidateOut]
    excluded: list[ExclusionOut]
    calls: list[ModelCallOut] = Field(description="All calls made for the decision, in order.")
    margin: float | None
    quality: float | None = Field(description="Measured quality of the answer; null is unmeasured.")
    at: datetime


class LabelBody(Body):
    """A person's judgement of the answer."""

    label: Label
    output: Text | None = Field(None, min_length=1, max_length=500_000, description="For `edit`: the corrected answer.")
    reason: Text | None = Field(None, max_length=2000)


class LabelOut(BaseModel):
    label: Label
    output: str | None
    reason: str | None
    at: datetime


class TaskDetail(ListedTaskOut):
    system: str | None = Field(description="System prompt in place of the agent's own; null if not set.")
    checks: dict[str, JsonValue]
    label: LabelOut | None = Field(description="The newest label of the answer.")
    verdicts: list[VerdictOut]
    decisions: list[DecisionOut]
    events: list[EventOut]


class TaskPage(BaseModel):
    items: list[ListedTaskOut] = Field(
        description=f"The first {EXCERPT} characters of prompt, output and error; the task's own endpoint returns all."
    )
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class EventList(BaseModel):
    state: TaskState
    items: list[EventOut]


@routes.post("", status_code=201, responses={**responses(401, 403, 409, 413, 422, 503), 200: {"model": TaskOut}})
async def submit(
    services: ServicesDep,
    member: TasksWriter,
    body: TaskBody,
    response: Response,
    idempotency_key: Annotated[Text | None, Header(max_length=200)] = None,
    traceparent: Annotated[Text | None, Header(max_length=100)] = None,
    cache_control: Annotated[Text | None, Header(max_length=100)] = None,
) -> TaskOut:
    """Submit a task. For an `Idempotency-Key` that was used before, the existing task is returned with status 200."""
    disabled = ProjectSettings.of(member.project_settings).disabled_plugins
    new = await _new_task(services, member.project_id, disabled, body, idempotency_key, traceparent, cache_control)
    row, created = await services.submissions.submit(member.project_id, member.user_id, new)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/api/tasks/{row.id}"
    return _task(row)


@routes.get("", responses=responses(401, 403, 422, 503))
async def list_tasks(
    services: ServicesDep,
    member: TasksReader,
    state: Annotated[list[TaskState] | None, Query(description="Only these states; may be repeated.")] = None,
    agent: Annotated[Text | None, Query(max_length=100)] = None,
    model: Annotated[Text | None, Query(max_length=200)] = None,
    task_type: Annotated[Text | None, Query(max_length=100)] = None,
    q: Annotated[Text | None, Query(max_length=200, description="Text in the prompt, case-insensitive.")] = None,
    ended_since: Annotated[
        ZonedMoment | None, Query(description="Only tasks that ended at this time or later; with a time zone.")
    ] = None,
    labelled: Annotated[bool | None, Query(description="Only tasks with a label, or without one.")] = None,
    cursor: Annotated[UUID | None, Query(description="`next` of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TaskPage:
    """The project's tasks, newest first."""
    async with services.database.project(member.project_id) as session:
        rows = await tasks.page(
            session,
            before=cursor,
            limit=limit + 1,
            states=state or (),
            agent=agent,
            model=model,
            task_type=task_type,
            search=q or None,
            ended_since=ended_since,
            labelled=labelled,
        )
    more = len(rows) > limit
    return TaskPage(items=[_listed(row) for row in rows[:limit]], next=str(rows[limit - 1].id) if more else None)


@routes.get("/{task_id}", responses=responses(401, 403, 404, 422, 503))
async def show(services: ServicesDep, member: TasksReader, task_id: UUID) -> TaskDetail:
    """A task with its verdicts, routing decisions and events."""
    async with services.database.project(member.project_id) as session:
        row = await tasks.get(session, task_id)
        if row is None:
            raise NotFound(what="task", id=task_id)
        verdicts = await history.verdicts(session, task_id)
        decisions = await history.decisions(session, task_id)
        events = await history.events(session, task_id)
        label = await labels.get(session, task_id)
    return TaskDetail(
        **_task(row).model_dump(),
        cost_usd=_known_cost(decisions),
        system=row.options.get("system"),
        checks=row.checks,
        label=LabelOut.model_validate(label, from_attributes=True) if label else None,
        verdicts=[_verdict(verdict) for verdict in verdicts],
        decisions=[decision_out(decision) for decision in decisions],
        events=[_event(event) for event in events],
    )


@routes.get("/{task_id}/events", responses=responses(401, 403, 404, 422, 503))
async def list_events(
    services: ServicesDep,
    member: TasksReader,
    task_id: UUID,
    after: Annotated[Position, Query()] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = MOST_EVENTS,
) -> EventList:
    """The events of a task after the given id, oldest first, and the state of the task."""
    async with services.database.project(member.project_id) as session:
        row = await tasks.get(session, task_id)
        if row is None:
            raise NotFound(what="task", id=task_id)
        events = await history.events(session, task_id, after, limit)
    return EventList(state=TaskState(row.state), items=[_event(event) for event in events])


@routes.post("/{task_id}/cancel", responses=responses(401, 403, 404, 409, 422, 503))
async def cancel(services: ServicesDep, member: TasksWriter, task_id: UUID) -> TaskOut:
    """Cancel a task. The model call of a running task is aborted; `cancel_requested` is true until then."""
    return _task(await services.submissions.cancel(member.project_id, task_id))


@routes.post("/{task_id}/retry", responses=responses(401, 403, 404, 409, 422, 503))
async def retry(services: ServicesDep, member: TasksWriter, task_id: UUID) -> TaskOut:
    """Queue an ended task again, with its original number of attempts."""
    return _task(await services.submissions.retry(member.project_id, task_id))


@routes.post("/{task_id}/label", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def give_label(services: ServicesDep, member: LabellerDep, task_id: UUID, body: LabelBody) -> TaskDetail:
    """Accept, edit or reject the answer of an ended task.

    The label overrides the verdict and any earlier label, and updates the router; an edit becomes a row of the dataset.
    """
    if body.output and body.label is not Label.EDIT:
        raise InvalidInput(
            where="output", problem=f"it is not allowed with `{body.label}`", remedy="Leave it out, or use `edit`"
        )
    new = NewLabel(body.label, body.output, body.reason or None)
    await services.labels.save(member.project_id, member.user_id, TaskId(task_id), new)
    return await show(services, member, task_id)


async def _new_task(
    services: TaskServices,
    project_id: ProjectId,
    disabled: Collection[str],
    body: TaskBody,
    key: str | None,
    traceparent: str | None,
    cache_control: str | None,
) -> NewTask:
    """The validated submission. Raises `UnknownAgent`, `AgentDisabled`, `UnknownModel`, `InvalidInput`."""
    services.agents.find(body.agent, disabled)
    if body.model is not None:
        services.router.require(body.model, project_id)
    if body.lane is Lane.TRAIN:
        raise InvalidInput(where="lane", problem="`train` is for fine-tuning runs", remedy="Use interactive or batch")
    await accept(body.checks, project_id)
    return NewTask(
        prompt=body.prompt,
        agent=body.agent,
        task_type=body.task_type,
        spec=body.spec(cache_control),
        lane=body.lane,
        priority=body.priority,
        not_before=body.not_before,
        timeout_s=body.timeout_s,
        max_attempts=body.max_attempts,
        idempotency_key=key,
        traceparent=traceparent if traceparent and TRACEPARENT.match(traceparent) else None,
    )


def _listed(row: ListedTask) -> ListedTaskOut:
    return ListedTaskOut.model_validate(row, from_attributes=True)


def _task(row: object) -> TaskOut:
    return TaskOut.model_validate(row, from_attributes=True)


def _event(row: TaskEventRow) -> EventOut:
    return EventOut.model_validate(row, from_attributes=True)


def _verdict(row: VerdictRow) -> VerdictOut:
    return VerdictOut.model_validate(row, from_attributes=True)


def _known_cost(decisions: Sequence[DecisionRow]) -> float | None:
    """The sum that lists show (`tasks.KNOWN_COST`)."""
    costs = [call["cost_usd"] for decision in decisions for call in decision.calls if call["cost_usd"] is not None]
    return sum(costs) if costs else None


def decision_out(row: DecisionRow) -> DecisionOut:
    return DecisionOut.model_validate(row, from_attributes=True)
