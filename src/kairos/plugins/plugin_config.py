"""Configuration of a plugin: the system's values overridden by the project's, validated by the plugin's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kairos.agents.checks.json_schema import check_schema, validate_schema
from kairos.agents.finding import Severity
from kairos.errors import InvalidInput

Values = Mapping[str, Any]
HIDDEN = "***"
FAULT_HIDDEN = "At $: a value is not valid (details are hidden because they contain a secret)"
SCOPE = "x-kairos-scope"
PROJECT, OPERATOR = "project", "operator"
MAX_DEPTH = 50
SECRET_NAMES = re.compile(r"secret|token|passw|credential|api[_-]?key|auth|bearer|^key$|private", re.IGNORECASE)
NO_TEXT = frozenset({"boolean", "integer", "number", "null"})
PIECE = 4
"""Messages must not contain this many characters of a secret: validators repeat the value, or a part of it."""


def schema_fault(schema: Values) -> str | None:
    """The reason why a `config_schema` is invalid, or allows projects to set too much; None if it is fine."""
    try:
        validate_schema(schema)
    except InvalidInput as fault:
        return str(fault).replace("checks.schema", "config_schema")
    return _scope_fault(schema)


def project_level(schema: Values) -> frozenset[str]:
    """The top-level properties that a project may set: those with `"x-kairos-scope": "project"`."""
    return frozenset(name for name, about in _properties(schema) if about.get(SCOPE) == PROJECT)


def project_values(schema: Values, project: Values) -> dict[str, Any]:
    """The project's values that the schema allows it to set; others, set under an earlier schema, are ignored."""
    allowed = project_level(schema)
    return {name: value for name, value in project.items() if name in allowed}


def free_texts(schema: Values) -> frozenset[str]:
    """The project-level properties that accept free text, such as an address."""
    return frozenset(name for name, about in _properties(schema) if about.get(SCOPE) == PROJECT and not _closed(about))


async def config_faults(schema: Values, values: Values) -> list[str]:
    """Validation errors of values with defaults filled in: at most ten, each with its place, without secrets."""
    result = await check_schema(schema, json.dumps(values))
    texts = list(_texts([values[name] for name in secrets(schema) if name in values]))
    faults = [finding.message for finding in result.findings if finding.severity is Severity.ERROR]
    return [FAULT_HIDDEN if _reveals(fault, texts) else fault for fault in faults]


def merged(schema: Values, system: Values, project: Values) -> dict[str, Any]:
    """The system's values, overridden by the project's allowed values, with the schema's defaults filled in."""
    return with_defaults(schema, {**system, **project_values(schema, project)})


def with_defaults(schema: Values, values: Values) -> dict[str, Any]:
    """The values with each missing `default` of `properties` filled in, also in nested objects."""
    filled = dict(values)
    properties = schema.get("properties")
    for name, about in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(about, Mapping):
            continue
        if name not in filled and "default" in about:
            filled[name] = about["default"]
        if isinstance(filled.get(name), Mapping):
            filled[name] = with_defaults(about, filled[name])
    return filled


def secrets(schema: Values) -> frozenset[str]:
    """The top-level properties that are secrets (`writeOnly`) or contain one."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return frozenset()
    return frozenset(name for name, about in properties.items() if isinstance(about, Mapping) and _is_secret(about))


def shown(schema: Values, values: Values) -> dict[str, Any]:
    """The values as the API shows them, with secrets hidden."""
    hidden = secrets(schema)
    return {name: HIDDEN if name in hidden else value for name, value in values.items()}


def _properties(schema: Values) -> Iterator[tuple[str, Values]]:
    properties = schema.get("properties")
    for name, about in properties.items() if isinstance(properties, Mapping) else ():
        if isinstance(about, Mapping):
            yield name, about


def _scope_fault(schema: Values) -> str | None:
    """The reason why `x-kairos-scope` is invalid. A free text set by a project could be an address to which the plugin
    would send a secret."""
    for name, about in _properties(schema):
        if about.get(SCOPE) not in (None, PROJECT, OPERATOR):
            return f"config_schema.properties.{name}: {SCOPE} is neither {PROJECT!r} nor {OPERATOR!r}"
        if about.get(SCOPE) == PROJECT and _holds_secret(about, 0):
            return f"config_schema.properties.{name}: a secret (writeOnly) cannot be set by projects"
    if (texts := free_texts(schema)) and _holds_secret(schema, 0):
        return (
            f"config_schema.properties.{min(texts)}: the schema has a secret (writeOnly, or named like one), so "
            "projects may set only properties with `enum`, numbers and booleans: a text could send the secret elsewhere"
        )
    return None


def _closed(about: Values) -> bool:
    """Whether a property accepts fixed values only, or no text."""
    if isinstance(about.get("enum"), list) or "const" in about:
        return True
    types = about.get("type")
    return bool(types) and set(types if isinstance(types, list) else [types]) <= NO_TEXT


def _holds_secret(schema: Any, depth: int) -> bool:
    """Whether `writeOnly` or the name of a secret occurs anywhere; True if nested deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        return True
    if isinstance(schema, Mapping):
        named = any(name for name, _ in _properties(schema) if SECRET_NAMES.search(str(name)))
        return (
            named or schema.get("writeOnly") is True or any(_holds_secret(item, depth + 1) for item in schema.values())
        )
    return isinstance(schema, list) and any(_holds_secret(item, depth + 1) for item in schema)


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _reveals(message: str, texts: list[str]) -> bool:
    """Whether the message contains a piece of one of the texts, or a shorter text as a whole."""
    pieces = (text[at : at + PIECE] for text in texts for at in range(max(1, len(text) - PIECE + 1)))
    return any(piece and piece in message for piece in pieces)


def _is_secret(about: Values) -> bool:
    return about.get("writeOnly") is True or bool(secrets(about))
