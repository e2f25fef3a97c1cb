"""The response cache and the judge of the active project: what they did and what that saved or cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import Member, ModelsReader, needs
from kairos.api.access.permissions import Permission
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.services import ServicesDep

routes = APIRouter(prefix="/api", tags=["router"], route_class=JsonRoute)

FlusherDep = Annotated[Member, Depends(needs(Permission.CACHE_MANAGE))]


class CacheOut(BaseModel):
    entries: int
    bytes: int
    hits: int
    misses: int
    saved_input_tokens: int = Field(description="As the model's server had counted them.")
    saved_output_tokens: int
    saved_usd: float = Field(description="What the answers of known price would have cost again.")
    saved_s: float = Field(description="Seconds that the models would have taken.")


class Flushed(BaseModel):
    entries: int = Field(description="How many answers were forgotten.")


class JudgeOut(BaseModel):
    judged: int = Field(description="Answers whose quality is the judge's word.")
    share: float | None = Field(description="Of the answers that nothing else measured; null where there were none.")
    calls: int
    failures: int
    cost_usd: float = Field(description="Of the calls whose cost is known.")
    unpriced: int = Field(description="Calls whose cost is not known.")
    input_tokens: int
    output_tokens: int


@routes.get("/cache", responses=responses(401, 403, 503))
async def show_cache(services: ServicesDep, member: ModelsReader) -> CacheOut:
    """What the project's cache holds and what its hits saved."""
    return CacheOut.model_validate(await services.router.cache.stats(member.project_id), from_attributes=True)


@routes.post("/cache/flush", responses=responses(401, 403, 503))
async def flush_cache(services: ServicesDep, member: FlusherDep) -> Flushed:
    """Forget every answer of the project."""
    return Flushed(entries=await services.router.cache.flush(member.project_id))


@routes.get("/judge", responses=responses(401, 403, 422, 503))
async def show_judge(
    services: ServicesDep, member: ModelsReader, days: Annotated[int, Query(ge=1, le=365)] = 30
) -> JudgeOut:
    """How much the judge model measured in the project, and what it cost."""
    figures = await services.judge.figures(member.project_id, datetime.now(UTC) - timedelta(days=days))
    return JudgeOut.model_validate(figures, from_attributes=True)
