"""The OpenAPI description: FastAPI's own, with problem documents as shared components."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from kairos.api.live.messages import LiveMessageOut
from kairos.api.problems import DESCRIPTIONS, MEDIA_TYPE, Problem, responses

TEMPLATE = "#/components/schemas/{model}"
MODELS: tuple[type[BaseModel], ...] = (Problem, LiveMessageOut)
"""Models that no route returns, but clients receive."""


def install(app: FastAPI) -> None:
    """Let the application return this description."""
    own = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_shared_components(own())
        return app.openapi_schema

    app.openapi = describe  # the way that FastAPI documents


def with_shared_components(description: dict[str, Any]) -> dict[str, Any]:
    """The description with every problem response replaced by a reference to a component."""
    components = description.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **_schemas()}.items()))
    components["responses"] = {_name(status): responses(status)[status] for status in DESCRIPTIONS}
    for operations in description["paths"].values():
        for operation in operations.values():
            _share_responses(operation["responses"])
    return description


def _schemas() -> dict[str, Any]:
    _, found = models_json_schema([(model, "serialization") for model in MODELS], ref_template=TEMPLATE)
    return found["$defs"]


def _share_responses(found: dict[str, Any]) -> None:
    for status, response in found.items():
        if MEDIA_TYPE in response.get("content", {}):
            found[status] = {"$ref": f"#/components/responses/{_name(int(status))}"}


def _name(status: int) -> str:
    return "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())
