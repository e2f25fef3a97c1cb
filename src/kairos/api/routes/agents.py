"""Endpoints for agents in the active project: current tasks and today's statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from kairos.agents.registry import AgentRegistry
from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.repositories.queue import replicas
from kairos.db.repositories.queue.replicas import Replica
from kairos.db.repositories.tasks import activity
from kairos.db.repositories.tasks.activity import AgentDay, RunningTask
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator

routes = APIRouter(prefix="/api/agents", tags=["agents"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class AgentServices:
    settings: Settings
    database: Database
    agents: AgentRegistry
    coordinator: AgentCoordinator


ServicesDep = Annotated[AgentServices, depends_on(AgentServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.AGENTS_READ))]


class AgentState(StrEnum):
    """`working`: runs a task of this project; `idle`: has none; `offline`: no daemon runs tasks."""

    WORKING = "working"
    IDLE = "idle"
    OFFLINE = "offline"


class AgentTaskOut(BaseModel):
    id: UUID
    prompt: str = Field(description="The beginning of the prompt.")
    attempt: int
    started_at: datetime
    worker: str | None = Field(description="The daemon that runs it.")


class AgentDayOut(BaseModel):
    """Statistics since midnight (UTC); `running` and `queued` are current."""

    succeeded: int
    rejected: int
    failed: int = Field(description="Finally failed, or out of attempts.")
    cancelled: int
    running: int
    queued: int
    cost_usd: float | None = Field(description="Sum of the known costs; null if none is known.")
    mean_s: float | None = Field(description="Mean seconds of ended tasks, from the first start to the end.")


class AgentOut(BaseModel):
    name: str
    capabilities: list[str]
    state: AgentState
    tasks: list[AgentTaskOut]
    last_heartbeat: datetime | None = Field(description="Of the daemons that run its tasks, or else of any daemon.")
    today: AgentDayOut


class AgentList(BaseModel):
    items: list[AgentOut]


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_agents(services: ServicesDep, member: ReaderDep) -> AgentList:
    """All agents with their tasks of this project, over all daemons."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    async with services.database.project(member.project_id) as session:
        running = await activity.running(session)
        days = await activity.agents_today(session, midnight)
        daemons = await replicas.known(session)
    here = services.coordinator.running(member.project_id)
    names = services.coordinator.agent_of
    tasks = _grouped(services, running)
    figures: dict[str, list[AgentDay]] = {}
    for day in days:
        figures.setdefault(names(day.agent), []).append(day)
    capabilities = {agent.name: sorted(agent.capabilities) for agent in services.agents}
    lease = timedelta(seconds=services.settings.queue.lease_s)
    items = [
        AgentOut(
            name=name,
            capabilities=capabilities.get(name, []),
            state=_state(tasks.get(name, []), daemons),
            tasks=[AgentTaskOut.model_validate(_task(task)) for task in tasks.get(name, [])],
            last_heartbeat=_heartbeat(tasks.get(name, []), daemons, lease, bool(here.get(name))),
            today=today_of(figures.get(name, [])),
        )
        for name in dict.fromkeys([*capabilities, *tasks, *figures])
    ]
    return AgentList(items=items)


def _grouped(services: AgentServices, running: Iterable[RunningTask]) -> Mapping[str, list[RunningTask]]:
    groups: dict[str, list[RunningTask]] = {}
    for task in running:
        groups.setdefault(services.coordinator.agent_of(task.agent), []).append(task)
    return groups


def _state(tasks: Sequence[RunningTask], daemons: Iterable[Replica]) -> AgentState:
    if tasks:
        return AgentState.WORKING
    return AgentState.IDLE if any(daemon.works for daemon in daemons) else AgentState.OFFLINE


def _heartbeat(
    tasks: Sequence[RunningTask], daemons: Iterable[Replica], lease: timedelta, here: bool
) -> datetime | None:
    """The last heartbeat: the end of the lease minus its length; for tasks of this daemon, now."""
    if here:
        return datetime.now(UTC)
    if tasks:
        return max(task.lease_until for task in tasks) - lease
    return max((daemon.heartbeat_at for daemon in daemons if daemon.works), default=None)


def _task(task: RunningTask) -> dict[str, object]:
    names = ("id", "prompt", "attempt", "started_at", "worker")
    return {name: getattr(task, name) for name in names}


def today_of(days: Sequence[AgentDay]) -> AgentDayOut:
    """The sum of tasks that requested the agent by name or by a capability."""
    costs = [day.cost_usd for day in days if day.cost_usd is not None]
    worked = sum(day.worked for day in days)
    return AgentDayOut(
        succeeded=sum(day.succeeded for day in days),
        rejected=sum(day.rejected for day in days),
        failed=sum(day.failed + day.dead for day in days),
        cancelled=sum(day.cancelled for day in days),
        running=sum(day.running for day in days),
        queued=sum(day.queued for day in days),
        cost_usd=sum(costs) if costs else None,
        mean_s=sum(day.worked_s or 0 for day in days) / worked if worked else None,
    )
