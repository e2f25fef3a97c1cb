"""Activity of a project: running tasks, daily figures, and work that waits for a person. In the project's scope.

Days are in UTC; `since` is the start of a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, and_, cast, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import (
    AdapterRow,
    AdapterState,
    DecisionRow,
    LabelRow,
    MetricRow,
    SampleRow,
    SampleState,
    TaskRow,
    TaskState,
)

RUNNING = TaskRow.state == TaskState.RUNNING
LIVE = (TaskState.QUEUED, TaskState.RUNNING)
MAX_RUNNING = 200
EXCERPT = 500


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A running task, with an excerpt of its prompt."""

    id: UUID
    agent: str
    prompt: str
    attempt: int
    started_at: datetime
    worker: str | None
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class AgentDay:
    """Figures of one agent's tasks for today; `queued` and `running` are the current numbers."""

    agent: str
    queued: int
    running: int
    succeeded: int
    rejected: int
    failed: int
    dead: int
    cancelled: int
    worked_s: float | None
    """Total seconds of all ended tasks, from the first start to the end."""
    worked: int
    cost_usd: float | None
    """Sum of the known costs; None if none is known."""


@dataclass(frozen=True, slots=True)
class Day:
    """Results of the tasks that ended on a day."""

    day: date
    approved: int
    rejected: int
    failed: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Decisions for one model and task type on one day."""

    day: date
    model: str
    task_type: str
    decisions: int
    cost_usd: float | None
    mean_quality: float | None


@dataclass(frozen=True, slots=True)
class PendingReviews:
    """Number of items that wait for a person."""

    samples_open: int
    rejected_tasks: int
    """Rejected tasks without a label."""
    adapters_need_approval: int


def _day(column: Any) -> Any:
    return cast(func.timezone("UTC", column), Date)


async def running(session: AsyncSession) -> list[RunningTask]:
    """Running tasks, newest first, at most `MAX_RUNNING`."""
    statement = (
        select(
            TaskRow.id,
            TaskRow.agent,
            func.left(TaskRow.prompt, EXCERPT),
            TaskRow.attempts,
            TaskRow.started_at,
            TaskRow.owner,
            TaskRow.lease_until,
        )
        .where(RUNNING)
        .order_by(TaskRow.started_at.desc())
        .limit(MAX_RUNNING)
    )
    return [RunningTask(*row) for row in await session.execute(statement)]


async def agents_today(session: AsyncSession, since: datetime) -> list[AgentDay]:
    ended = TaskRow.finished_at >= since
    worked = and_(ended, TaskRow.started_at.is_not(None))
    states = [func.count().filter(TaskRow.state == state) for state in TaskState]
    seconds = func.extract("epoch", TaskRow.finished_at - TaskRow.started_at)
    statement = (
        select(TaskRow.agent, *states, func.sum(seconds).filter(worked), func.count().filter(worked))
        .where(or_(TaskRow.state.in_(LIVE), ended))
        .group_by(TaskRow.agent)
    )
    costs = await _costs_by_agent(session, since)
    days = []
    for agent, *counts, worked_s, number in await session.execute(statement):
        by_state = dict(zip(map(str, TaskState), counts, strict=True))
        seconds_worked = float(worked_s) if worked_s is not None else None
        days.append(AgentDay(agent, **by_state, worked_s=seconds_worked, worked=number, cost_usd=costs.get(agent)))
    return days


async def _costs_by_agent(session: AsyncSession, since: datetime) -> dict[str, float | None]:
    statement = (
        select(TaskRow.agent, func.sum(MetricRow.cost_usd))
        .join(MetricRow, and_(MetricRow.project_id == TaskRow.project_id, MetricRow.task_id == TaskRow.id))
        .where(MetricRow.at >= since)
        .group_by(TaskRow.agent)
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


async def states_today(session: AsyncSession, since: datetime) -> dict[str, int]:
    """Number of tasks by state: live tasks, and tasks that ended since then."""
    statement = (
        select(TaskRow.state, func.count())
        .where(or_(TaskRow.state.in_(LIVE), TaskRow.finished_at >= since))
        .group_by(TaskRow.state)
    )
    found = {row[0]: row[1] for row in await session.execute(statement)}
    return {state: found.get(state, 0) for state in map(str, TaskState)}


async def days(session: AsyncSession, since: datetime) -> dict[date, Day]:
    """Results by day, for days on which a task ended."""
    day = _day(TaskRow.finished_at)
    counts = [
        func.count().filter(TaskRow.state.in_(states))
        for states in ((TaskState.SUCCEEDED,), (TaskState.REJECTED,), (TaskState.FAILED, TaskState.DEAD))
    ]
    statement = select(day, *counts).where(TaskRow.finished_at >= since).group_by(day)
    return {row[0]: Day(*row) for row in await session.execute(statement)}


async def cost_by_day(session: AsyncSession, since: datetime) -> dict[date, float | None]:
    """Sum of the known costs by day; None for a day without known costs."""
    day = _day(MetricRow.at)
    statement = select(day, func.sum(MetricRow.cost_usd)).where(MetricRow.at >= since).group_by(day)
    return {row[0]: row[1] for row in await session.execute(statement)}


async def answers_by_model(session: AsyncSession, since: datetime) -> dict[str, int]:
    """Number of successful calls of each model."""
    statement = (
        select(MetricRow.model, func.count()).where(MetricRow.at >= since, MetricRow.success).group_by(MetricRow.model)
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


async def waiting_for_people(session: AsyncSession) -> PendingReviews:
    labelled = exists().where(LabelRow.project_id == TaskRow.project_id, LabelRow.task_id == TaskRow.id)
    counts = (
        select(func.count()).select_from(SampleRow).where(SampleRow.state == SampleState.OPEN),
        select(func.count()).select_from(TaskRow).where(TaskRow.state == TaskState.REJECTED, ~labelled),
        select(func.count()).select_from(AdapterRow).where(AdapterRow.state == AdapterState.NEEDS_APPROVAL),
    )
    row = (await session.execute(select(*(count.scalar_subquery() for count in counts)))).one()
    return PendingReviews(*row)


async def traffic(session: AsyncSession, since: datetime) -> list[Traffic]:
    """Decisions by day, model and task type. The cost of a decision is the sum over all its calls."""
    cost = (
        select(MetricRow.decision_id, func.sum(MetricRow.cost_usd).label("usd"))
        .where(MetricRow.at >= since, MetricRow.decision_id.is_not(None))
        .group_by(MetricRow.decision_id)
        .subquery()
    )
    day, model = _day(DecisionRow.at), func.coalesce(DecisionRow.answered, DecisionRow.chosen)
    statement = (
        select(day, model, DecisionRow.task_type, func.count(), func.sum(cost.c.usd), func.avg(DecisionRow.quality))
        .outerjoin(cost, cost.c.decision_id == DecisionRow.id)
        .where(DecisionRow.at >= since, model.is_not(None))
        .group_by(day, model, DecisionRow.task_type)
        .order_by(day, model, DecisionRow.task_type)
    )
    return [Traffic(*row) for row in await session.execute(statement)]
