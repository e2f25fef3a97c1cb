"""Schemas converted to the strict subset, and schemas whose meaning would change by it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.checks.json_schema import validate_schema
from kairos.llm.calls.strict_schema import strict_schema

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def closed(schema: Any) -> bool:
    """Check OpenAI's rule for every object in a schema."""
    if isinstance(schema, list):
        return all(map(closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or set(schema["required"]) != set(schema["properties"])
    ):
        return False
    return all(map(closed, schema.values()))


def test_object_without_additional_properties_is_closed():
    assert strict_schema(CITY) == {**CITY, "additionalProperties": False}


def test_nested_objects_are_closed():
    schema = {
        "type": "object",
        "properties": {
            "cities": {"type": "array", "items": {"$ref": "#/$defs/city"}},
            "best": {"anyOf": [CITY, {"type": "null"}]},
        },
        "required": ["best", "cities"],
        "$defs": {"city": CITY},
    }
    strict = strict_schema(schema)
    assert strict is not None
    assert closed(strict)
    assert strict["$defs"]["city"]["additionalProperties"] is False
    assert strict["properties"]["best"]["anyOf"][0]["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema",
    [
        {**CITY, "required": []},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {**CITY, "additionalProperties": True},
        {**CITY, "patternProperties": {"^x": {}}},
        {**CITY, "not": {"required": ["x"]}},
        {**CITY, "anyOf": [CITY]},
        {**CITY, "required": "city"},
        {"type": "array", "items": CITY},
        {"type": "string"},
        {},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"items": {"type": "string"}}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"allOf": [CITY]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"properties": {"b": {}}, "$ref": "#"}}, "required": ["a"]},
    ],
)
def test_schema_whose_meaning_would_change_is_not_made_strict(schema: dict[str, Any]):
    assert strict_schema(schema) is None


def test_deep_schema_is_refused_quickly():
    schema: dict[str, Any] = CITY
    for _ in range(5_000):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    assert strict_schema(schema) is None


TYPES = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"enum": ["a", 1, None]}, {"type": ["string", "null"]}]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    every = names.map(lambda found: {"type": "object", "properties": found, "required": sorted(found)})
    some = names.map(lambda found: {"type": "object", "properties": found, "required": sorted(found)[:1]})
    return every | some | inner.map(lambda found: {"type": "array", "items": found})


@given(st.recursive(TYPES, objects, max_leaves=12))
def test_strict_schema_is_closed_and_has_the_same_properties(schema: dict[str, Any]):
    strict = strict_schema(schema)
    if strict is None:
        return
    validate_schema(strict)
    assert closed(strict)
    assert set(strict["properties"]) == set(schema["properties"])
