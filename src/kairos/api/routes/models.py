"""Endpoints for the active project's model catalogue: each model with its health and measurements.

The name of a model is in the query or the body, because a path cannot carry every name: clients and proxies resolve
`..`, merge slashes and refuse `%2F`, and a name may end like the path of another endpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from kairos.api.access.auth import Body, ModelsReader, OperatorDep
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.db.engine import Database
from kairos.db.repositories.monitoring import metrics
from kairos.llm.catalog.catalog import Model, ModelOrigin
from kairos.llm.health.breaker import BreakerState
from kairos.llm.health.health import ModelHealthState
from kairos.llm.routing.llm_router import LLMRouter
from kairos.text import Text

routes = APIRouter(prefix="/api/models", tags=["models"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ModelServices:
    database: Database
    router: LLMRouter


ServicesDep = Annotated[ModelServices, depends_on(ModelServices)]
ModelName = Annotated[Text, Query(description="The model's name in the catalogue.")]


class PriceOut(BaseModel):
    input: float = Field(description="USD per million tokens.")
    output: float


class FiguresOut(BaseModel):
    """Measurements of a model in this project."""

    calls: int
    successes: int
    quality: float | None = Field(description="Mean quality of the measured answers, in [0, 1].")
    measured: int = Field(description="Answers whose quality was measured.")
    first_token_s: float | None
    duration_s: float | None
    cost_usd: float | None = Field(description="Sum of the known costs.")
    input_tokens: int | None
    output_tokens: int | None


class ModelOut(BaseModel):
    name: str
    upstream: str
    local: bool
    price: PriceOut | None = Field(description="Null is unknown, which is never treated as free.")
    price_at: date | None = Field(description="The day of the price; null is unknown.")
    price_source: str | None
    price_per_hour: float | None = Field(description="USD per hour that a local server costs.")
    context: int = Field(description="Tokens of prompt and answer together, as served by its server.")
    answer_limit: int = Field(description="Default limit of answer tokens for tasks without max_tokens.")
    specialties: list[str]
    capabilities: list[str]
    origin: ModelOrigin = Field(
        description="The source of its entry: kairos.toml, the embedded engine, a stored provider."
    )
    provider_id: UUID | None = Field(description="The stored provider, if it has one.")
    own: bool = Field(description="Whether only this project has it.")
    base: str | None = Field(description="The base model, if it is an adapter. Adapters belong to one project.")
    adapter_id: UUID | None
    share: float = Field(
        description="Share of the requests for which it is a candidate, in (0, 1]; below 1 for a canary."
    )
    health: ModelHealthState
    health_detail: str
    breaker: BreakerState = Field(description="State of its circuit breaker.")
    retry_at: datetime | None = Field(
        description="When an open circuit breaker lets the next call try; null if unknown."
    )
    adjustments: list[str] = Field(
        description="Changes to requests because its server refused the original parameters."
    )
    figures: FiguresOut | None


class ModelList(BaseModel):
    items: list[ModelOut]


class ResetBody(Body):
    name: Text = Field(description="The model's name in the catalogue.")


@routes.get("", responses=responses(401, 403, 503))
async def list_models(services: ServicesDep, member: ModelsReader) -> ModelList:
    """The models of the project in configuration order, its adapters after their base model."""
    async with services.database.project(member.project_id) as session:
        figures = {row.model: row for row in await metrics.by_model(session)}
    models = services.router.catalog.of(member.project_id)
    return ModelList(items=[_response(services, model, figures.get(model.name)) for model in models])


@routes.post("/reset", status_code=204, responses=responses(401, 403, 413, 422, 503))
async def reset_model(services: ServicesDep, who: OperatorDep, body: ResetBody) -> None:
    """Close a model's circuit breaker after its key or server was fixed, and send it all parameters again.

    Applies to all daemons; for an adapter of the active project, only to the responding daemon.
    """
    services.router.reset(services.router.require(body.name, who.project_id))


@routes.get("/details", responses=responses(401, 403, 422, 503))
async def show_model(services: ServicesDep, member: ModelsReader, name: ModelName) -> ModelOut:
    """One model. 422 if the project's catalogue does not have it."""
    model = services.router.require(name, member.project_id)
    async with services.database.project(member.project_id) as session:
        figures = {row.model: row for row in await metrics.by_model(session)}
    return _response(services, model, figures.get(model.name))


def _response(services: ModelServices, model: Model, figures: object | None) -> ModelOut:
    now, health = time.time(), services.router.health
    status = health.status(model.name, now)
    breaker, _ = health.snapshot(model.name)
    state, retry_at = breaker.state(now), breaker.retry_at(now)
    return ModelOut(
        name=model.name,
        upstream=model.upstream,
        local=model.local,
        price=PriceOut(input=model.price.input, output=model.price.output) if model.price else None,
        price_at=model.price_at,
        price_source=model.price_source,
        price_per_hour=model.price_per_hour,
        context=services.router.contexts.of(model),
        answer_limit=services.router.answer_limit(model),
        specialties=sorted(model.specialties),
        capabilities=sorted(model.capabilities),
        origin=model.origin,
        provider_id=model.provider_id,
        own=model.project_id is not None,
        base=model.base,
        adapter_id=model.adapter_id,
        share=model.share,
        health=status.state,
        health_detail=status.detail,
        breaker=state,
        retry_at=None if state is BreakerState.CLOSED or retry_at is None else datetime.fromtimestamp(retry_at, UTC),
        adjustments=services.router.adjustments(model),
        figures=FiguresOut.model_validate(figures, from_attributes=True) if figures else None,
    )
