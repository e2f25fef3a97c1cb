"""Endpoint that lists the checks a task may request, from which the dashboard builds its form."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, JsonValue

from kairos.agents.checks.registry import Check, Wording
from kairos.agents.checks.requested import in_order
from kairos.api.access.auth import TasksReader
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses

routes = APIRouter(prefix="/api/checks", tags=["tasks"], route_class=JsonRoute)


class WordingOut(BaseModel):
    en: str
    tr: str


class CheckOut(BaseModel):
    name: str = Field(description="The key in `checks` of a task.")
    weight: float = Field(description="Weight in the score of the verdict.")
    schema_: dict[str, JsonValue] = Field(serialization_alias="schema", description="JSON Schema of the parameter.")
    label: WordingOut
    hint: WordingOut | None


class CheckList(BaseModel):
    items: list[CheckOut]


@routes.get("", responses=responses(401, 403, 503))
async def list_checks(member: TasksReader) -> CheckList:
    """The checks that a task may request, in the order in which they run."""
    del member
    return CheckList(items=[_check(check) for check in in_order()])


def _check(check: Check[Any]) -> CheckOut:
    hint = _wording(check.hint) if check.hint else None
    return CheckOut(
        name=check.name, weight=check.weight, schema_=check.schema(), label=_wording(check.label), hint=hint
    )


def _wording(text: Wording) -> WordingOut:
    return WordingOut(en=text.en, tr=text.tr)
