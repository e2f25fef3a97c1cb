"""Endpoint for the calls of one model over time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import ModelsReader
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.models import ModelName, ServicesDep
from kairos.db.repositories.monitoring import metrics
from kairos.monitoring.call_history import MAX_DAYS, Step, fill, periods, step_of

routes = APIRouter(prefix="/api/models", tags=["models"], route_class=JsonRoute)


class PeriodOut(BaseModel):
    """The calls of one hour or day (UTC)."""

    at: datetime = Field(description="Start of the period.")
    calls: int
    failures: dict[str, int] = Field(description="Number of failed calls by error code.")
    duration_s: float | None = Field(description="Mean of the calls that succeeded.")
    median_duration_s: float | None
    first_token_s: float | None = Field(description="Mean of the calls that succeeded.")
    median_first_token_s: float | None
    input_tokens: int | None = Field(description="As counted by the server; null if it did not count.")
    output_tokens: int | None
    cost_usd: float | None = Field(description="Sum of the known costs.")


class ModelHistory(BaseModel):
    """The calls of one model in this project, with a period for each hour or day."""

    model: str
    days: int
    step: Step = Field(description="Hours for at most two days.")
    items: list[PeriodOut] = Field(description="In order; periods without calls are included.")


@routes.get("/history", responses=responses(401, 403, 422, 503))
async def show_history(
    services: ServicesDep, member: ModelsReader, name: ModelName, days: Annotated[int, Query(ge=1, le=MAX_DAYS)] = 30
) -> ModelHistory:
    """The calls of a model by day, and by hour for at most two days: failures, times, tokens and cost."""
    services.router.require(name, member.project_id)
    step, empty = step_of(days), periods(days, datetime.now(UTC))
    async with services.database.project(member.project_id) as session:
        groups = await metrics.by_period(session, name, empty[0].at, step.value)
    items = [PeriodOut.model_validate(period, from_attributes=True) for period in fill(empty, groups)]
    return ModelHistory(model=name, days=days, step=step, items=items)
