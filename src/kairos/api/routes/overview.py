"""Endpoint for the dashboard's overview: recent results, cost, pending reviews, and health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.readiness import Readiness
from kairos.api.routes.health import ComponentOut
from kairos.components import ComponentState
from kairos.db.engine import Database, Session
from kairos.db.repositories.queue import replicas
from kairos.db.repositories.tasks import activity
from kairos.errors import EngineUnavailable
from kairos.llm.routing.llm_router import LLMRouter
from kairos.tenancy import ProjectId

routes = APIRouter(prefix="/api/overview", tags=["overview"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class OverviewServices:
    database: Database
    router: LLMRouter
    readiness: Readiness


ServicesDep = Annotated[OverviewServices, depends_on(OverviewServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.TASKS_READ))]
DAYS = 14


class Today(BaseModel):
    """Tasks ended since midnight (UTC); `queued` and `running` are current."""

    queued: int
    running: int
    succeeded: int
    rejected: int
    failed: int
    dead: int
    cancelled: int


class DayOut(BaseModel):
    day: date
    approved: int
    rejected: int
    failed: int = Field(description="Finally failed, or out of attempts.")
    cost_usd: float | None = Field(description="Sum of the known costs; null if none is known.")


class Saved(BaseModel):
    hits: int | None = Field(description="Since the project was created; null while Redis is unavailable.")
    usd: float | None = Field(description="Null if the models have no known price.")


class PendingReviewsOut(BaseModel):
    samples_open: int = Field(description="Samples without a label.")
    rejected_tasks: int = Field(description="Rejected tasks without a label.")
    adapters_need_approval: int = Field(description="Adapters that need a person's approval.")


class SystemState(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class SystemHealth(BaseModel):
    state: SystemState
    parts: dict[str, ComponentOut]


class Overview(BaseModel):
    today: Today
    days: list[DayOut] = Field(description="Fourteen days (UTC), oldest first, today last.")
    spend_today_usd: float | None = Field(description="Sum of the known costs; null if none is known.")
    saved_by_cache: Saved
    local_share: float | None = Field(
        description="Share of these days' answers from local models; null without answers."
    )
    waiting: PendingReviewsOut
    health: SystemHealth


@routes.get("", responses=responses(401, 403, 409, 503))
async def show_overview(services: ServicesDep, member: ReaderDep) -> Overview:
    """The data of the dashboard's first page."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=DAYS - 1)
    async with services.database.project(member.project_id) as session:
        today = await activity.states_today(session, midnight)
        days = await _days(session, since)
        answers = await activity.answers_by_model(session, since)
        waiting = await activity.waiting_for_people(session)
        daemons = await replicas.known(session)
    return Overview(
        today=Today(**today),
        days=days,
        spend_today_usd=days[-1].cost_usd,
        saved_by_cache=await _saved(services, member.project_id),
        local_share=_local_share(services, member.project_id, answers),
        waiting=PendingReviewsOut.model_validate(waiting, from_attributes=True),
        health=await _health(services, daemons),
    )


async def _days(session: Session, since: datetime) -> list[DayOut]:
    """All days, including days without ended tasks."""
    ended = await activity.days(session, since)
    costs = await activity.cost_by_day(session, since)
    days = []
    for day in [since.date() + timedelta(days=n) for n in range(DAYS)]:
        counts = ended.get(day) or activity.Day(day, 0, 0, 0)
        days.append(
            DayOut(
                day=day,
                approved=counts.approved,
                rejected=counts.rejected,
                failed=counts.failed,
                cost_usd=costs.get(day),
            )
        )
    return days


async def _saved(services: OverviewServices, project_id: ProjectId) -> Saved:
    try:
        stats = await services.router.cache.stats(project_id)
    except EngineUnavailable:
        return Saved(hits=None, usd=None)
    # The counter includes only answers with a price: 0 is exact if all models have one, otherwise unknown.
    priced = all(model.local or model.price for model in services.router.catalog.of(project_id))
    known = stats.saved_usd > 0 or not stats.hits or priced
    return Saved(hits=stats.hits, usd=stats.saved_usd if known else None)


def _local_share(services: OverviewServices, project_id: ProjectId, answers: dict[str, int]) -> float | None:
    """The share of answers from local models, among models that are still in the catalogue."""
    known = {model.name: model.local for model in services.router.catalog.of(project_id)}
    counted = {name: count for name, count in answers.items() if name in known}
    every = sum(counted.values())
    return sum(count for name, count in counted.items() if known[name]) / every if every else None


async def _health(services: OverviewServices, daemons: list[replicas.Replica]) -> SystemHealth:
    parts = {name: ComponentOut.of(part) for name, part in (await services.readiness.components()).items()}
    working = sum(daemon.works for daemon in daemons)
    detail = "" if working else "no daemon runs tasks: start one with `kairos start`"
    parts["workers"] = ComponentOut(state=ComponentState.OK if working else ComponentState.AWAY, detail=detail)
    if parts["postgresql"].state is ComponentState.AWAY:
        return SystemHealth(state=SystemState.DOWN, parts=parts)
    whole = all(part.state is ComponentState.OK for part in parts.values())
    return SystemHealth(state=SystemState.OK if whole else SystemState.DEGRADED, parts=parts)
