"""Checks a JSON answer against the task's JSON Schema (draft 2020-12, or an earlier one that the schema declares).

Schema and answer are untrusted, and together they can keep a validator busy for years (regular expressions that
backtrack, references that multiply, alternatives that all fail). So schemas are parsed and applied only in the limited
process (`confined`). References to other documents are never fetched.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from kairos.agents.checks.check_result import CheckResult, error, first, result_from_dict, result_to_dict
from kairos.agents.checks.confined import TooMuchWork, confined
from kairos.agents.checks.json_answer import NotJson, read_json
from kairos.agents.checks.json_formats import FORMATS
from kairos.agents.checks.registry import Check, CheckedAnswer, Wording, register
from kairos.errors import InvalidInput
from kairos.text import JsonObject

CHECK = "schema"
LONGEST_SCHEMA = 200_000
DEEPEST_SCHEMA = 60
FAULTS = 10
DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is data, in which keywords have no meaning."""


class SchemaCheckFailed(RuntimeError):
    """The schema could not be applied to the answer."""


async def accept_schema(schema: Mapping[str, Any], owner: object = None) -> None:
    """Validate a schema before a task is accepted. Raises `InvalidInput`."""
    try:
        if refused := await confined("schema", {"schema": dict(schema)}, owner):
            raise InvalidInput(**refused["refused"])
    except TooMuchWork as limit:
        raise InvalidInput(
            where="checks.schema", problem=f"it {limit}", remedy="Make it simpler and flatter."
        ) from None


def validate_schema(schema: Mapping[str, Any]) -> None:
    """Validate a schema, in the limited process. Raises `InvalidInput`."""
    _within_bounds(schema)
    kind = _draft(schema)
    try:
        kind.check_schema(schema, format_checker=FORMATS)
        _resolve_references(schema)
    except SchemaError as fault:
        where = "/".join(["checks.schema", *map(str, fault.absolute_path)])
        remedy = f"Correct it; see {fault.validator!r} in the meta-schema."
        raise InvalidInput(where=where, problem=_short(fault.message), remedy=remedy) from None
    except RecursionError:
        raise InvalidInput(
            where="checks.schema", problem="it is nested too deeply", remedy="Make it flatter."
        ) from None


async def check_schema(schema: Mapping[str, Any], text: str, owner: object = None) -> CheckResult:
    """Check the answer. The score is 1/(1 + faults), or 0 if the answer is not JSON.

    If the schema cannot be applied in time, the answer is rejected, since it is unchecked, without a score.
    """
    try:
        return result_from_dict(await confined("answer", {"schema": dict(schema), "text": text}, owner))
    except TooMuchWork as limit:
        return CheckResult(
            CHECK, (error(CHECK, f"The answer was not checked: applying the schema {limit}. Make it simpler."),)
        )


def schema_result(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Compute the result of `check_schema`. Runs in the limited process."""
    return result_to_dict(_schema_result(schema, text))


def _schema_result(schema: Mapping[str, Any], text: str) -> CheckResult:
    try:
        value = read_json(text)
        faults = faults_of(schema, value)
    except NotJson as refused:
        return CheckResult(CHECK, (error(CHECK, f"The answer is not JSON: {refused.problem}", refused.line),), 0.0)
    except (SchemaCheckFailed, InvalidInput) as failure:
        return CheckResult(CHECK, (error(CHECK, str(failure)),))
    return CheckResult(CHECK, first(error(CHECK, fault) for fault in faults), 1 / (1 + len(faults)))


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Describe at most `FAULTS` faults of the value, each with its path. Raises `SchemaCheckFailed`."""
    validator: Validator = _frugal(_draft(schema))(schema, registry=REGISTRY, format_checker=FORMATS)
    faults: list[str] = []
    try:
        for fault in validator.iter_errors(value):
            faults.append(_described(fault))
            if len(faults) == FAULTS:
                break
    except Unresolvable as missing:
        message = f"The schema refers to {missing.ref!r}, which it does not contain. References are not fetched."
        raise SchemaCheckFailed(message) from None
    except RecursionError:
        raise SchemaCheckFailed("The schema recurses endlessly, so the answer was not checked.") from None
    except (ArithmeticError, re.error) as fault:
        raise SchemaCheckFailed(f"The schema could not be applied, so the answer was not checked: {fault}.") from None
    return faults


@cache
def _frugal(kind: Any) -> Any:
    """Return the validator class with `anyOf` and `oneOf` that stop at the first fault.

    jsonschema's own collect every fault of every branch: millions with a schema of 3 KB and an answer of 1 KB.
    """
    own = {"anyOf": _any_of, "oneOf": _one_of}
    return extend(kind, {name: rule for name, rule in own.items() if name in kind.VALIDATORS})


def _any_of(validator: Any, branches: list[Any], instance: Any, _: Any) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=branch).is_valid(instance) for branch in branches):
        yield ValidationError(f"{instance!r} is not valid under any of the given schemas")


def _one_of(validator: Any, branches: list[Any], instance: Any, _: Any) -> Iterator[ValidationError]:
    valid = [branch for branch in branches if validator.evolve(schema=branch).is_valid(instance)]
    if not valid:
        yield ValidationError(f"{instance!r} is not valid under any of the given schemas")
    elif len(valid) > 1:
        reprs = ", ".join(_short(repr(branch)) for branch in valid[:FAULTS])
        yield ValidationError(f"{instance!r} is valid under each of {reprs}")


def _within_bounds(schema: Mapping[str, Any]) -> None:
    try:
        length = len(json.dumps(schema))
        depth, finite = _depth(schema), all(map(_is_finite, _values(schema)))
    except (RecursionError, TypeError, ValueError):
        length, depth, finite = 0, DEEPEST_SCHEMA + 1, True
    if length > LONGEST_SCHEMA:
        problem = f"it is longer than {LONGEST_SCHEMA} characters"
        raise InvalidInput(where="checks.schema", problem=problem, remedy="Make it smaller.")
    if depth > DEEPEST_SCHEMA:
        problem = f"it is nested deeper than {DEEPEST_SCHEMA} levels"
        raise InvalidInput(where="checks.schema", problem=problem, remedy="Make it flatter, with $defs and $ref.")
    if not finite:
        problem = "it contains a number that is not finite"
        raise InvalidInput(where="checks.schema", problem=problem, remedy="Use numbers below 1.8e308.")


def _draft(schema: Mapping[str, Any]) -> Any:
    """Return the validator class of the draft that the schema declares, or of 2020-12."""
    declared = schema.get("$schema")
    if declared is None:
        return Draft202012Validator
    unknown = object()
    kind: Any = validator_for({"$schema": declared} if isinstance(declared, str) else {}, default=unknown)  # type: ignore[arg-type]
    if kind is unknown:
        problem = f"{_short(repr(declared))} is not a known draft"
        remedy = "Use https://json-schema.org/draft/2020-12/schema, or leave $schema out."
        raise InvalidInput(where="checks.schema/$schema", problem=problem, remedy=remedy)
    return kind


def _resolve_references(schema: Mapping[str, Any]) -> None:
    """Check that every `$ref` resolves in the schema or a meta-schema. Schemas with inner `$id`s are not checked."""
    keywords = list(_keywords(schema))
    if sum(keyword == "$id" for keyword, _, _ in keywords) > ("$id" in schema):
        return
    resource = _draft(schema)(schema, registry=REGISTRY)._resolver
    for keyword, value, _ in keywords:
        if keyword in ("$ref", "$dynamicRef") and isinstance(value, str):
            try:
                resource.lookup(value)
            except (Unresolvable, ValueError):
                problem = f"{_short(repr(value))} is not in the schema, and other documents are not fetched"
                remedy = "Put the referenced schema under $defs."
                raise InvalidInput(where=f"checks.schema: {keyword}", problem=problem, remedy=remedy) from None


def _keywords(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Yield the keys of all objects in the schema, outside data, with value and depth.

    A property named like a keyword is included, which only makes validation stricter.
    """
    pending: list[tuple[Any, int]] = [(schema, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > 10 * DEEPEST_SCHEMA:
            raise RecursionError
        if isinstance(node, Mapping):
            for key, value in node.items():
                yield key, value, depth
                if key not in DATA:
                    pending.append((value, depth + 1))
        elif isinstance(node, list | tuple):
            pending += [(item, depth + 1) for item in node]


def _depth(schema: Any) -> int:
    """Return the nesting depth of objects and lists, at most `DEEPEST_SCHEMA + 1`."""
    depth, level = 0, [schema]
    while level and depth <= DEEPEST_SCHEMA:
        level = [node for node in level if isinstance(node, Mapping | list | tuple) and node]
        depth += bool(level)
        level = [inner for node in level for inner in (node.values() if isinstance(node, Mapping) else node)]
    return depth


def _values(schema: Any) -> Iterator[Any]:
    """Yield all scalar values in the schema."""
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            pending += node.values()
        elif isinstance(node, list | tuple):
            pending += node
        else:
            yield node


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _described(fault: ValidationError) -> str:
    return f"At {fault.json_path}: {_short(fault.message)}"


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]} … {text[-90:]}"


async def _run(schema: Mapping[str, Any], answer: CheckedAnswer) -> CheckResult:
    return await check_schema(schema, answer.text, answer.task.project_id)


SCHEMA: Check[Mapping[str, Any]] = register(
    Check(
        name=CHECK,
        order=4,
        weight=2.0,
        parameter=JsonObject,
        description="JSON Schema (2020-12) that the answer must satisfy.",
        examples=[{"type": "object", "required": ["city"]}],
        option="File with the JSON Schema of the answer.",
        label=Wording("JSON Schema", "JSON Schema"),
        run=_run,
        accept=accept_schema,
    )
)
