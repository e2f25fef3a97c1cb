"""The configuration of a plugin: the system's values with the project's over them, by the plugin's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kairos.agents.base import Severity
from kairos.agents.checks.json_schema import check_schema, validate_schema
from kairos.errors import InvalidInput

Values = Mapping[str, Any]
HIDDEN = "***"
UNSAID = "At $: a value is not valid, and why would tell a secret"
PIECE = 4
"""Characters of a secret that no message may hold: a validator's words repeat the value, or a part of it."""


def schema_fault(schema: Values) -> str | None:
    """Why a `config_schema` is none, in words."""
    try:
        validate_schema(schema)
    except InvalidInput as fault:
        return str(fault).replace("checks.schema", "config_schema")
    return None


async def config_faults(schema: Values, values: Values) -> list[str]:
    """What is wrong with the values, defaults filled in: at most ten, each with its place; no secret is told."""
    opinion = await check_schema(schema, json.dumps(values))
    texts = list(_texts([values[name] for name in secrets(schema) if name in values]))
    faults = [finding.message for finding in opinion.findings if finding.severity is Severity.ERROR]
    return [UNSAID if _tells(fault, texts) else fault for fault in faults]


def merged(schema: Values, system: Values, project: Values) -> dict[str, Any]:
    """Top-level values of the project in place of the system's, and the schema's defaults where neither has one."""
    return with_defaults(schema, {**system, **project})


def with_defaults(schema: Values, values: Values) -> dict[str, Any]:
    """The values with every `default` of `properties` that is missing, in objects within objects too."""
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
    """The top-level properties that are secrets (`writeOnly`), or hold one."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return frozenset()
    return frozenset(name for name, about in properties.items() if isinstance(about, Mapping) and _is_secret(about))


def shown(schema: Values, values: Values) -> dict[str, Any]:
    """The values as the API shows them."""
    hidden = secrets(schema)
    return {name: HIDDEN if name in hidden else value for name, value in values.items()}


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _tells(message: str, texts: list[str]) -> bool:
    """Whether the message holds a piece of one of the texts, or the whole of one that is shorter."""
    pieces = (text[at : at + PIECE] for text in texts for at in range(max(1, len(text) - PIECE + 1)))
    return any(piece and piece in message for piece in pieces)


def _is_secret(about: Values) -> bool:
    return about.get("writeOnly") is True or bool(secrets(about))
