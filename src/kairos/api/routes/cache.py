"""Endpoints for statistics of the active project's response cache and judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from kairos.agents.judge import Judge
from kairos.api.access.auth import Member, ModelsReader, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.llm.routing.llm_router import LLMRouter

routes = APIRouter(prefix="/api", tags=["router"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class CacheServices:
    router: LLMRouter
    judge: Judge


ServicesDep = Annotated[CacheServices, depends_on(CacheServices)]

FlusherDep = Annotated[Member, Depends(needs(Permission.CACHE_MANAGE))]


class CacheOut(BaseModel):
    entries: int
    bytes: int
    hits: int
    misses: int
    saved_input_tokens: int = Field(description="As counted by the model server.")
    saved_output_tokens: int
    saved_usd: float = Field(description="Saved cost of answers with a known price.")
    saved_s: float = Field(description="Saved seconds of model time.")


class Flushed(BaseModel):
    entries: int = Field(description="Number of deleted answers.")


class JudgeOut(BaseModel):
    judged: int = Field(description="Answers whose quality was measured by the judge.")
    share: float | None = Field(
        description="Judged share of the otherwise unmeasured answers; null if there were none."
    )
    calls: int
    failures: int
    cost_usd: float = Field(description="Cost of the calls with a known cost.")
    unpriced: int = Field(description="Calls with an unknown cost.")
    input_tokens: int
    output_tokens: int


@routes.get("/cache", responses=responses(401, 403, 503))
async def show_cache(services: ServicesDep, member: ModelsReader) -> CacheOut:
    """Size and savings of the project's response cache."""
    return CacheOut.model_validate(await services.router.cache.stats(member.project_id), from_attributes=True)


@routes.post("/cache/flush", responses=responses(401, 403, 503))
async def flush_cache(services: ServicesDep, member: FlusherDep) -> Flushed:
    """Delete all cached answers of the project."""
    return Flushed(entries=await services.router.cache.flush(member.project_id))


@routes.get("/judge", responses=responses(401, 403, 422, 503))
async def show_judge(
    services: ServicesDep, member: ModelsReader, days: Annotated[int, Query(ge=1, le=365)] = 30
) -> JudgeOut:
    """Number and cost of the judge model's calls in the project."""
    figures = await services.judge.figures(member.project_id, datetime.now(UTC) - timedelta(days=days))
    return JudgeOut.model_validate(figures, from_attributes=True)
