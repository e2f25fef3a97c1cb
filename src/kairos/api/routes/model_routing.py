"""Endpoint for what the router would do with one model now, by task type, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import ModelsReader
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.models import ModelName
from kairos.api.routes.router import NINETY_FIVE
from kairos.api.routes.tasks import CandidateOut, ExclusionOut
from kairos.db.engine import Database
from kairos.db.repositories.routing import leaderboard
from kairos.db.repositories.routing.leaderboard import TypeTraffic
from kairos.llm.routing.llm_router import LLMRouter
from kairos.llm.routing.routing_preview import (
    ModelRouting,
    PreviewedScore,
    RoutingPreview,
    RoutingReason,
    TypicalRequest,
)
from kairos.llm.routing.scoring import Term
from kairos.llm.routing.task_types import GENERAL
from kairos.monitoring.call_history import MAX_DAYS
from kairos.project_settings import ProjectSettings

routes = APIRouter(prefix="/api/models", tags=["models"], route_class=JsonRoute)

MAX_TYPES = 30
"""Maximum task types in a response: callers choose their names freely."""


@dataclass(frozen=True, slots=True)
class RoutingServices:
    database: Database
    router: LLMRouter
    preview: RoutingPreview


ServicesDep = Annotated[RoutingServices, depends_on(RoutingServices)]


class PreviewedScoreOut(CandidateOut):
    """A candidate's score with its weighted terms."""

    interval: float = Field(description="Half-width of the 95 % interval of `mu`.")
    terms: dict[Term, float] = Field(description="Weighted terms; their sum is the utility.")


class TaskTypeRoutingOut(BaseModel):
    """What the router would do with the model for a typical request of a task type."""

    task_type: str
    calls: int = Field(description="Recent calls of this task type to the model.")
    share: float | None = Field(description="Their share of all recent calls of the type; null if there were none.")
    reason: RoutingReason
    chosen: str | None = Field(description="The model that would be chosen; null if none can be called.")
    own: PreviewedScoreOut | None = Field(description="The model's score; null if it is excluded.")
    rival: PreviewedScoreOut | None = Field(
        description="The chosen candidate; for the chosen model, the best other one."
    )
    deciding: Term | None = Field(description="The term in which the better of both is furthest ahead.")
    exclusion: ExclusionOut | None


class ModelRoutingOut(BaseModel):
    model: str
    days: int = Field(description="Period of `calls` and `share`.")
    items: list[TaskTypeRoutingOut] = Field(
        description=f"The {MAX_TYPES} task types with the most recent calls; `{GENERAL}` if there were none."
    )


@routes.get("/routing", responses=responses(401, 403, 422, 503))
async def show_routing(
    services: ServicesDep, member: ModelsReader, name: ModelName, days: Annotated[int, Query(ge=1, le=MAX_DAYS)] = 30
) -> ModelRoutingOut:
    """The model's score at each task type of the project if a typical request were routed now, and the reason why the
    model would or would not be chosen.

    Uses the statistics and health known to the responding daemon. Nothing is counted as a decision.
    """
    model = services.router.require(name, member.project_id)
    async with services.database.project(member.project_id) as session:
        since = datetime.now(UTC) - timedelta(days=days)
        traffic = await leaderboard.traffic_of(session, name, since, MAX_TYPES)
    types = traffic or [TypeTraffic(GENERAL, 0, 0, None)]
    found = await services.preview.of(
        member.project_id,
        model,
        [TypicalRequest(each.task_type, each.input_tokens) for each in types],
        local_only=ProjectSettings.of(member.project_settings).local_only,
    )
    items = [_response(each, routing) for each, routing in zip(types, found, strict=True)]
    return ModelRoutingOut(model=name, days=days, items=items)


def _response(traffic: TypeTraffic, routing: ModelRouting) -> TaskTypeRoutingOut:
    exclusion = routing.exclusion
    return TaskTypeRoutingOut(
        task_type=routing.task_type,
        calls=traffic.of_model,
        share=traffic.of_model / traffic.calls if traffic.calls else None,
        reason=routing.reason,
        chosen=routing.chosen,
        own=_score(routing.own),
        rival=_score(routing.rival),
        deciding=routing.deciding,
        exclusion=None if exclusion is None else ExclusionOut.model_validate(exclusion, from_attributes=True),
    )


def _score(previewed: PreviewedScore | None) -> PreviewedScoreOut | None:
    if previewed is None:
        return None
    interval = NINETY_FIVE * previewed.uncertainty
    return PreviewedScoreOut(**asdict(previewed.score), interval=interval, terms=dict(previewed.terms))
