"""The catalogue as the active project sees it: each model with its health and what was measured here."""

from __future__ import annotations

import time
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from kairos.api.access.auth import ModelsReader, OperatorDep
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.services import ServicesDep
from kairos.db.repositories import metrics
from kairos.llm.catalog.catalog import Model
from kairos.text import Text

routes = APIRouter(prefix="/api/models", tags=["models"], route_class=JsonRoute)


class PriceOut(BaseModel):
    input: float = Field(description="USD per million tokens.")
    output: float


class FiguresOut(BaseModel):
    """What was measured in this project."""

    calls: int
    successes: int
    quality: float | None = Field(description="Mean of the measured ones, in [0, 1].")
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
    context: int = Field(description="Tokens of prompt and answer together, as its server really serves them.")
    answer_limit: int = Field(description="Default answer limit: tokens of an answer where a task sets no max_tokens.")
    specialties: list[str]
    capabilities: list[str]
    base: str | None = Field(description="The model that it is an adapter of: this project alone has it.")
    adapter_id: UUID | None
    share: float = Field(description="Of the requests that may go to it, in (0, 1]; less than 1 for one on trial.")
    health: str = Field(description="healthy, degraded or unhealthy.")
    health_detail: str
    adjustments: list[str] = Field(
        description="How requests to it differ from what is asked for, because its server refused the rest."
    )
    figures: FiguresOut | None


class ModelList(BaseModel):
    items: list[ModelOut]


@routes.get("", responses=responses(401, 403, 503))
async def list_models(services: ServicesDep, member: ModelsReader) -> ModelList:
    """What the project may call, in the order of the configuration; its own adapters behind their base."""
    async with services.database.project(member.project_id) as session:
        figures = {row.model: row for row in await metrics.by_model(session)}
    models = services.router.catalog.of(member.project_id)
    return ModelList(items=[_shown(services, model, figures.get(model.name)) for model in models])


@routes.post("/{name:path}/reset", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def reset_model(services: ServicesDep, who: OperatorDep, name: Text) -> None:
    """Try a model again whose breaker is open, after its key or its server was mended, and send it every parameter
    again.

    In every replica; an adapter of the active project in the one that is asked.
    """
    services.router.reset(services.router.require(name, who.project_id))


@routes.get("/{name:path}", responses=responses(401, 403, 422, 503))
async def show_model(services: ServicesDep, member: ModelsReader, name: str) -> ModelOut:
    """One of them. 422 for a name that the project's catalogue does not have."""
    model = services.router.require(name, member.project_id)
    async with services.database.project(member.project_id) as session:
        figures = {row.model: row for row in await metrics.by_model(session)}
    return _shown(services, model, figures.get(model.name))


def _shown(services: ServicesDep, model: Model, figures: object | None) -> ModelOut:
    status = services.router.health.status(model.name, time.time())
    return ModelOut(
        name=model.name,
        upstream=model.upstream,
        local=model.local,
        price=PriceOut(input=model.price.input, output=model.price.output) if model.price else None,
        context=services.router.contexts.of(model),
        answer_limit=services.router.answer_limit(model),
        specialties=sorted(model.specialties),
        capabilities=sorted(model.capabilities),
        base=model.base,
        adapter_id=model.adapter_id,
        share=model.share,
        health=status.state,
        health_detail=status.detail,
        adjustments=services.router.adjustments(model),
        figures=FiguresOut.model_validate(figures, from_attributes=True) if figures else None,
    )
