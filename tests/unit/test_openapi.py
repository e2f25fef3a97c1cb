"""The OpenAPI description: problem documents are shared components, and fixed sets of values are enums.

`test_openapi_file.py` compares the file with the API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kairos.api.live.messages import EventOut
from kairos.api.problems import MEDIA_TYPE
from kairos.api.routes.audit import EntryOut
from kairos.db.models import AuditAction, EventKind
from scripts.openapi import FILE

NOW = "2026-01-01T00:00:00Z"
DESCRIPTION = json.loads(FILE.read_text())
SCHEMAS = DESCRIPTION["components"]["schemas"]
ENUMS = {
    "AgentOut.state": "AgentState",
    "ComponentOut.state": "ComponentState",
    "DaemonOut.role": "DaemonRole",
    "DecisionOut.kind": "DecisionKind",
    "DecisionOut.length": "Length",
    "DecisionOut.task_type_source": "TaskTypeSource",
    "EntryOut.action": "AuditAction",
    "EventOut.kind": "EventKind",
    "ExclusionOut.reason": "Reason",
    "FindingOut.severity": "Severity",
    "ModelOut.health": "ModelHealthState",
    "PluginOut.source": "Origin",
    "PluginOut.state": "PluginState",
    "ProgressOut.phase": "TrainingPhase",
    "PullOut.phase": "PullPhase",
    "PullOut.state": "PullState",
    "Ready.status": "ReadyState",
    "RotationOut.source": "KeySource",
    "ServerProblemOut.kind": "ServerProblemKind",
}
NAMES_OF_ENUMS = {"action", "health", "kind", "phase", "result", "role", "severity", "source", "state", "status"}
FREE_TEXT = {"SecretOut.kind", "ValueOut.kind", "DatedPriceOut.source", "PriceBody.source"}
"""Descriptions for people: the shape of a secret, the type and range of a value, and where a price was found."""


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def references(value: Any) -> Iterator[str]:
    """Yield every reference of the description."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def is_text(schema: dict[str, Any]) -> bool:
    """Whether a value may be any string."""
    options = schema.get("anyOf", [schema])
    return any(one.get("type") == "string" and not {"const", "enum"} & one.keys() for one in options)


def test_every_problem_response_is_a_reference():
    responses = [(name, r) for name, operation in operations() for r in operation["responses"].values()]
    assert [name for name, response in responses if MEDIA_TYPE in response.get("content", {})] == []
    assert sum("$ref" in response for _, response in responses) > 300


def test_shared_responses_contain_a_problem():
    for response in DESCRIPTION["components"]["responses"].values():
        assert response["content"] == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert set(SCHEMAS["Problem"]["required"]) == {"type", "title", "status", "detail", "code", "instance"}


def test_every_reference_resolves():
    found = set(references(DESCRIPTION))
    assert len(found) > 100
    for reference in found:
        part: Any = DESCRIPTION
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize(("where", "enum"), ENUMS.items(), ids=list(ENUMS))
def test_fixed_set_of_values_is_a_named_enum(where: str, enum: str):
    model, field = where.split(".")
    assert f"#/components/schemas/{enum}" in set(references(SCHEMAS[model]["properties"][field]))
    assert SCHEMAS[enum]["enum"]


def test_no_state_or_kind_is_a_plain_string():
    plain = [
        f"{model}.{field}"
        for model, schema in SCHEMAS.items()
        for field, value in schema.get("properties", {}).items()
        if field in NAMES_OF_ENUMS and is_text(value)
    ]
    assert set(plain) == FREE_TEXT


def test_kind_and_action_of_a_newer_daemon_are_read_as_other():
    event = EventOut.model_validate({"id": 1, "attempt": 1, "kind": "memory_used", "data": {}, "at": NOW})
    entry = {"id": 1, "at": NOW, "user_id": None, "who": None, "action": "memory.erased", "target": None, "data": {}}
    assert (event.kind, EntryOut.model_validate(entry).action) == (EventKind.OTHER, AuditAction.OTHER)


def test_live_events_contain_the_rows_of_lists():
    task = "#/components/schemas/ListedTaskOut"
    assert SCHEMAS["LiveEventOut"]["properties"]["task"] == {"$ref": task}
    assert SCHEMAS["TaskPage"]["properties"]["items"]["items"] == {"$ref": task}
    kinds = SCHEMAS["LiveMessageOut"]["discriminator"]["mapping"]
    assert set(kinds) == {"hello", "event", "delta", "ping"}
