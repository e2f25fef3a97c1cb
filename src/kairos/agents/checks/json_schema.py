"""A JSON answer against the task's JSON Schema (draft 2020-12, or an earlier one that the schema declares).

The schema and the answer come from strangers, and together they can keep a validator busy for years (a regular
expression that backtracks, references that multiply). Schemas made of cheap keywords are applied at once; all others in
a process of their own (`schema_process.py`, about 0.2 s more) that is killed after a while. References to other
documents are never fetched.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from kairos.agents.checks.json_answer import NotJson, read_json
from kairos.agents.checks.json_formats import FORMATS
from kairos.agents.checks.opinion import Opinion, error, first
from kairos.errors import InvalidInput

CHECK = "schema"
SECONDS = 5.0
LONGEST_SCHEMA = 200_000
CHEAP_WORK = 20_000_000
"""Characters of the schema times those of the answer, an upper bound of the work; more goes to the process."""
DEEPEST_SCHEMA = 60
FAULTS = 10
COSTLY = frozenset(
    {
        *("pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef", "$recursiveRef"),
        *("unevaluatedProperties", "unevaluatedItems", "oneOf"),
    }
)
"""Keywords whose cost is not linear in the answer, or doubles with every nesting (jsonschema tries oneOf twice)."""
DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is data: what looks like a keyword in it is none."""


class SchemaCheckFailed(RuntimeError):
    """The schema could not be applied; it says nothing of the answer."""


def validate_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is no schema, before a task is accepted. Raises `InvalidInput`."""
    _within_bounds(schema)
    kind = _draft(schema)
    try:
        kind.check_schema(schema, format_checker=FORMATS)
        _resolve_references(schema)
    except SchemaError as fault:
        where = "/".join(["checks.schema", *map(str, fault.absolute_path)])
        remedy = f"Correct it; {fault.validator!r} of the meta-schema speaks of it."
        raise InvalidInput(where=where, problem=_short(fault.message), remedy=remedy) from None
    except RecursionError:
        raise InvalidInput(
            where="checks.schema", problem="it is nested too deeply", remedy="Make it flatter."
        ) from None


async def check_schema(schema: Mapping[str, Any], text: str) -> Opinion:
    """1 where the answer satisfies the schema, 1/(1 + faults) where it does not, 0 where it is not JSON.

    A schema that cannot be applied in time rejects the answer, since nothing is approved unchecked, and gives no score.
    """
    try:
        value = read_json(text)
    except NotJson as refused:
        return Opinion(CHECK, (error(CHECK, f"The answer is not JSON: {refused.problem}", refused.line),), 0.0)
    try:
        faults = faults_of(schema, value) if _is_cheap(schema, text) else await _faults_elsewhere(schema, value)
    except SchemaCheckFailed as failure:
        return Opinion(CHECK, (error(CHECK, str(failure)),))
    return Opinion(CHECK, first(error(CHECK, fault) for fault in faults), 1 / (1 + len(faults)))


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with the value, in words, with the path of each place, at most `FAULTS` of them.

    Raises `SchemaCheckFailed`.
    """
    validator: Validator = _draft(schema)(schema, registry=REGISTRY, format_checker=FORMATS)
    faults: list[str] = []
    try:
        for fault in validator.iter_errors(value):
            faults.append(_words(fault))
            if len(faults) == FAULTS:
                break
    except Unresolvable as missing:
        message = f"The schema refers to {missing.ref!r}, which it does not hold. References are not fetched."
        raise SchemaCheckFailed(message) from None
    except RecursionError:
        raise SchemaCheckFailed("The schema refers to itself without end, so the answer was not checked.") from None
    return faults


async def _faults_elsewhere(schema: Mapping[str, Any], value: Any) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "kairos.agents.checks.schema_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    question = json.dumps({"schema": schema, "value": value}).encode()
    try:
        reply, _ = await asyncio.wait_for(process.communicate(question), SECONDS)
    except TimeoutError:
        message = f"The answer was not checked: applying the schema took longer than {SECONDS:g} s. Make it simpler."
        raise SchemaCheckFailed(message) from None
    finally:
        await _end(process)
    return _reply(reply)


def _reply(reply: bytes) -> list[str]:
    try:
        answer = json.loads(reply)
    except ValueError:
        raise SchemaCheckFailed("The answer was not checked: applying the schema took too much memory.") from None
    if failure := answer.get("failure"):
        raise SchemaCheckFailed(failure)
    return answer["faults"]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await asyncio.shield(process.wait())


def _within_bounds(schema: Mapping[str, Any]) -> None:
    try:
        length = len(json.dumps(schema))
        depth = max((depth for _, _, depth in _keywords(schema, within_data=True)), default=0)
    except (RecursionError, TypeError, ValueError):
        length, depth = 0, DEEPEST_SCHEMA + 1
    if length > LONGEST_SCHEMA:
        problem = f"it is longer than {LONGEST_SCHEMA} characters"
        raise InvalidInput(where="checks.schema", problem=problem, remedy="Make it smaller.")
    if depth > DEEPEST_SCHEMA:
        problem = f"it is nested deeper than {DEEPEST_SCHEMA} levels"
        raise InvalidInput(where="checks.schema", problem=problem, remedy="Make it flatter, with $defs and $ref.")


def _draft(schema: Mapping[str, Any]) -> Any:
    """The validator class of the draft that the schema declares; 2020-12 where it declares none."""
    declared = schema.get("$schema")
    if declared is None:
        return Draft202012Validator
    unknown = object()
    kind: Any = validator_for({"$schema": declared} if isinstance(declared, str) else {}, default=unknown)  # type: ignore[arg-type]
    if kind is unknown:
        problem = f"{_short(repr(declared))} is no draft that is known"
        remedy = "Use https://json-schema.org/draft/2020-12/schema, or leave $schema out."
        raise InvalidInput(where="checks.schema/$schema", problem=problem, remedy=remedy)
    return kind


def _resolve_references(schema: Mapping[str, Any]) -> None:
    """Every `$ref` must lead somewhere within the schema or to a meta-schema. With `$id`s inside, use will tell."""
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
                remedy = "Put what it refers to under $defs."
                raise InvalidInput(where=f"checks.schema: {keyword}", problem=problem, remedy=remedy) from None


def _keywords(schema: Mapping[str, Any], *, within_data: bool = False) -> Iterator[tuple[str, Any, int]]:
    """Every key of every object in the schema, its value and its depth; what stands in data only where asked for.

    A property that is called like a keyword is taken for one: harmless, since it is then looked at more closely.
    """
    pending: list[tuple[Any, int]] = [(schema, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > 10 * DEEPEST_SCHEMA:
            raise RecursionError
        if isinstance(node, Mapping):
            for key, value in node.items():
                yield key, value, depth
                if within_data or key not in DATA:
                    pending.append((value, depth + 1))
        elif isinstance(node, list | tuple):
            pending += [(item, depth + 1) for item in node]


def _is_cheap(schema: Mapping[str, Any], text: str) -> bool:
    work = len(json.dumps(schema)) * len(text)
    return work <= CHEAP_WORK and not any(keyword in COSTLY for keyword, _, _ in _keywords(schema, within_data=True))


def _words(fault: ValidationError) -> str:
    return f"At {fault.json_path}: {_short(fault.message)}"


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]} … {text[-90:]}"
