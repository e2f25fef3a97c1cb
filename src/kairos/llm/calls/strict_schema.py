"""Converts JSON schemas to OpenAI's strict subset, where every object is closed and every property required."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 10
"""Levels of nesting that the subset allows."""
MAX_PROPERTIES = 1000
ANNOTATIONS = frozenset({"title", "description", "$schema", "$id", "$comment", "examples", "default"})
PLAIN = frozenset(
    {
        *("type", "enum", "const", "$ref", "pattern", "format", "multipleOf", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
NESTED = frozenset({"properties", "required", "additionalProperties", "items", "anyOf", "$defs", "definitions"})
LEFT_OUT = frozenset({"$schema", "$id", "$comment", "examples", "default"})
"""Annotations that strict servers refuse and that do not affect answers."""


class NotStrict(Exception):
    """The schema cannot be expressed in the subset without changing its meaning."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema in the strict subset; None if its meaning would change.

    An object without `additionalProperties` is closed, which keeps its description. Optional properties must stay
    optional, which the subset cannot express; nor can it express maps, tuples, `allOf`, `oneOf`, `not` and conditions.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return None
    try:
        return _Strict().of(schema, 1)
    except NotStrict:
        return None


class _Strict:
    """One conversion, with a limit on the total number of properties."""

    def __init__(self) -> None:
        self._properties = 0

    def of(self, schema: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            raise NotStrict
        if set(schema) - PLAIN - NESTED - ANNOTATIONS or not set(schema) & {"type", "enum", "const", "anyOf", "$ref"}:
            raise NotStrict
        result = {key: value for key, value in schema.items() if key in (PLAIN | ANNOTATIONS) - LEFT_OUT}
        for key in ("$defs", "definitions"):
            if key in schema:
                result[key] = self._named(schema[key], depth)
        if "anyOf" in schema:
            result["anyOf"] = self._each(schema["anyOf"], depth)
        if "items" in schema:
            result["items"] = self.of(schema["items"], depth + 1)
        return result | self._object(schema, depth)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        types = schema.get("type")
        if types != "object" and not (isinstance(types, list) and "object" in types):
            if "properties" in schema or "required" in schema or "additionalProperties" in schema:
                raise NotStrict
            return {}
        properties, required = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties", False) is not False or not isinstance(required, list):
            raise NotStrict
        if not isinstance(properties, Mapping) or not properties or set(required) != set(properties):
            raise NotStrict
        named = self._named(properties, depth)
        return {"properties": named, "required": list(required), "additionalProperties": False}

    def _named(self, schemas: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schemas, Mapping):
            raise NotStrict
        self._count(len(schemas))
        return {name: self.of(schema, depth + 1) for name, schema in schemas.items()}

    def _each(self, schemas: Any, depth: int) -> list[dict[str, Any]]:
        if not isinstance(schemas, list):
            raise NotStrict
        self._count(len(schemas))
        return [self.of(schema, depth + 1) for schema in schemas]

    def _count(self, more: int) -> None:
        self._properties += more
        if self._properties > MAX_PROPERTIES:
            raise NotStrict
