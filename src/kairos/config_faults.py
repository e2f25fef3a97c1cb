"""Error messages for an invalid configuration: the problem, the line of the file, and the nearest known key."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from kairos.errors import did_you_mean

PREFIX, NESTED = "KAIROS_", "__"
"""Prefix and separator of environment variables that set a key: KAIROS_SERVER__PORT."""
LONGEST_SHOWN = 200
"""Characters of an invalid value that a message repeats."""


def problem(error: Any) -> str:
    """A pydantic error as text."""
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "a value is required"
    if error["type"] == "unusable":  # the value may contain a credential
        return error["msg"]
    # Whole tables and texts that cannot be stored are not shown: they may contain a password.
    shown = isinstance(error["input"], (str, int, float)) and error["type"] != "value_error"
    got = f", got {_shown(error['input'])}" if shown else ""
    found = error["msg"].removeprefix("Value error, ")
    return f"{found[0].lower()}{found[1:]}{got}"


def _shown(value: str | float) -> str:
    """The value as text, shortened if it is long."""
    if isinstance(value, int) and value.bit_length() > LONGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " …"


def first_error(errors: list[Any]) -> Any:
    """The error to report: an unknown key first, because a missing value may be present under a misspelt key."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def remedy(root: type[BaseModel], where: tuple[int | str, ...], kind: str) -> str:
    """The remedy; for an unknown key, the nearest known key of the same table."""
    if kind != "extra_forbidden":
        return "Correct the value"
    known = _known_keys(root, where[:-1])
    return did_you_mean(str(where[-1]), known) or f"Known keys here: {', '.join(sorted(known))}"


def _known_keys(root: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    model: Any = root
    for part in where:
        if isinstance(part, int) or model is None:
            continue
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0] if inner else None
    return list(model.model_fields) if model else []


def variable(where: tuple[int | str, ...]) -> str:
    """The name of a key in the environment."""
    return PREFIX + NESTED.join(str(part).upper() for part in where)


def variable_for(where: tuple[int | str, ...], environ: Mapping[str, str]) -> str | None:
    """The environment variable that set the value at this key, or None.

    This is the key's own variable, one below it, or one of an enclosing section whose JSON contains the key.
    """
    names = {name.upper(): name for name in environ}
    own = variable(where)
    for name in sorted(names):
        if where and (name == own or name.startswith(f"{own}{NESTED}")):
            return names[name]
    for length in range(len(where) - 1, 0, -1):
        name = names.get(variable(where[:length]))
        if name and _holds(environ[name], where[length:]):
            return name
    return None


def section_of(name: str) -> str:
    """The first section or key in the name of a variable."""
    return name.upper().removeprefix(PREFIX).partition(NESTED)[0].lower()


def unknown_variable(environ: Iterable[str], known: Container[str]) -> str | None:
    """The first variable whose section does not exist, such as KAIROS_QEUE__LEASE_S, or None.

    Variables without a double underscore may belong to another program, such as KAIROS_SERVICE_HOST of Kubernetes.
    """
    nested = (name for name in environ if name.upper().startswith(PREFIX) and NESTED in name)
    return next((name for name in nested if section_of(name) not in known), None)


def invalid_variable(message: str, environ: Mapping[str, str]) -> str:
    """The variable whose value pydantic-settings could not parse, according to its error message."""
    found = re.search(r'field "(\w+)"', message)
    where = (found[1],) if found else ()
    return variable_for(where, environ) or variable(where)


def _holds(text: str, where: tuple[int | str, ...]) -> bool:
    """Whether the JSON has a value at this path, or has a value of another type in the middle of it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    for part in where:
        if isinstance(value, dict):
            if part not in value:
                return False
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return True
    return True


def line(text: str, where: tuple[int | str, ...]) -> str:
    """`:12` for the line that sets the key, or for the line of its table; empty if the text has neither."""
    names = [str(part) for part in where if not isinstance(part, int)]
    section, number_in_section = ".".join(names[:-1]), next((p for p in where if isinstance(p, int)), 0)
    assignment = re.compile(rf"\s*[\"']?{re.escape(names[-1])}[\"']?\s*=")
    current, seen, table = "", -1, ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line):
            current = header.group(1)
            seen += current == section
            table = f":{number}" if current == section and seen <= number_in_section else table
            if current == ".".join(names):
                return f":{number}"
        elif current == section and (seen >= number_in_section or not section) and assignment.match(line):
            return f":{number}"
    return table
