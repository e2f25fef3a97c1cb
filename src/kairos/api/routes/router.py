"""Endpoints for routing decisions, and for the models' results by task type."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import ModelsReader
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.tasks import DecisionOut, decision_out
from kairos.db.engine import Database
from kairos.db.repositories.routing import leaderboard
from kairos.db.repositories.tasks import activity, history
from kairos.errors import NotFound

routes = APIRouter(prefix="/api", tags=["router"], route_class=JsonRoute)

DatabaseDep = Annotated[Database, depends_on(Database)]

NINETY_FIVE = 1.96
"""Standard errors on each side of a 95 % interval (normal approximation)."""


class ModelResultOut(BaseModel):
    """The results of one model for one task type."""

    model: str
    calls: int
    share: float = Field(description="Share of the calls of this task type, in [0, 1].")
    failures: int
    measured: int = Field(description="Answers whose quality was measured.")
    quality: float | None = Field(description="Mean quality of the measured answers, in [0, 1].")
    interval: float | None = Field(description="Half-width of its 95 % interval; null below two measured answers.")
    first_token_s: float | None
    duration_s: float | None
    cost_usd: float | None


class TaskTypeOut(BaseModel):
    task_type: str
    models: list[ModelResultOut]


class Leaderboard(BaseModel):
    days: int
    items: list[TaskTypeOut]


class TrafficOut(BaseModel):
    """Decisions for one model and task type on one day (UTC)."""

    day: date
    model: str
    task_type: str
    decisions: int
    cost_usd: float | None = Field(description="Known cost of their calls; null is unknown.")
    mean_quality: float | None = Field(description="Mean quality of the measured answers, in [0, 1].")


class TrafficList(BaseModel):
    items: list[TrafficOut]


@routes.get("/router/traffic", responses=responses(401, 403, 409, 422, 503))
async def show_traffic(
    database: DatabaseDep, member: ModelsReader, days: Annotated[int, Query(ge=1, le=365)] = 14
) -> TrafficList:
    """The project's decisions by day, model and task type."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    async with database.project(member.project_id) as session:
        rows = await activity.traffic(session, midnight - timedelta(days=days - 1))
    return TrafficList(items=[TrafficOut.model_validate(row, from_attributes=True) for row in rows])


@routes.get("/decisions/{decision_id}", responses=responses(401, 403, 404, 422, 503))
async def show_decision(database: DatabaseDep, member: ModelsReader, decision_id: UUID) -> DecisionOut:
    """A routing decision with all terms of every candidate's score."""
    async with database.project(member.project_id) as session:
        row = await history.decision(session, decision_id)
    if row is None:
        raise NotFound(what="decision", id=decision_id)
    return decision_out(row)


@routes.get("/leaderboard", responses=responses(401, 403, 422, 503))
async def show_leaderboard(
    database: DatabaseDep, member: ModelsReader, days: Annotated[int, Query(ge=1, le=365)] = 30
) -> Leaderboard:
    """The results of the models in this project by task type, best quality first."""
    async with database.project(member.project_id) as session:
        rows = await leaderboard.rows(session, datetime.now(UTC) - timedelta(days=days))
    types = {row.task_type: [other for other in rows if other.task_type == row.task_type] for row in rows}
    items = [
        TaskTypeOut(task_type=name, models=[_response(row, group) for row in group]) for name, group in types.items()
    ]
    return Leaderboard(days=days, items=items)


def _response(row: leaderboard.LeaderboardRow, group: list[leaderboard.LeaderboardRow]) -> ModelResultOut:
    return ModelResultOut(
        model=row.model,
        calls=row.calls,
        share=row.calls / sum(other.calls for other in group),
        failures=row.failures,
        measured=row.measured,
        quality=row.quality,
        interval=None if row.deviation is None else NINETY_FIVE * row.deviation / math.sqrt(row.measured),
        first_token_s=row.first_token_s,
        duration_s=row.duration_s,
        cost_usd=row.cost_usd,
    )
