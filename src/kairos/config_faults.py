"""What is wrong with a configuration, and where: the words, the line of the file, the nearest known key."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from kairos.errors import did_you_mean

PREFIX, NESTED = "KAIROS_", "__"
"""Of the environment variables that set a key: KAIROS_SERVER__PORT."""
LONGEST_SHOWN = 200
"""Characters of a refused value."""


def problem(error: Any) -> str:
    """What pydantic found wrong, in words."""
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "a value is required"
    if error["type"] == "unusable":  # it may hold a credential
        return error["msg"]
    # Neither a whole table nor a text that cannot be stored is shown: a password may be in it.
    shown = isinstance(error["input"], (str, int, float)) and error["type"] != "value_error"
    got = f", got {_shown(error['input'])}" if shown else ""
    found = error["msg"].removeprefix("Value error, ")
    return f"{found[0].lower()}{found[1:]}{got}"


def _shown(value: str | float) -> str:
    """A value, or the beginning of a long one."""
    if isinstance(value, int) and value.bit_length() > LONGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " …"


def foremost(errors: list[Any]) -> Any:
    """The error to name: a value that is missed may stand there under a misspelt key."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def remedy(root: type[BaseModel], where: tuple[int | str, ...], kind: str) -> str:
    """With the nearest known key of the same table, where the key is unknown."""
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


def given_by(where: tuple[int | str, ...], environ: Mapping[str, str]) -> str | None:
    """The environment variable that gave the value at this place; None where none did.

    That is the key's own, one below it, or one of a section around it, whose JSON holds the key.
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
    """The section or the key that a variable names first."""
    return name.upper().removeprefix(PREFIX).partition(NESTED)[0].lower()


def stray_variable(environ: Iterable[str], known: Container[str]) -> str | None:
    """A variable such as KAIROS_QEUE__LEASE_S, whose section does not exist.

    One without two underscores may belong to something else, as Kubernetes' KAIROS_SERVICE_HOST does.
    """
    nested = (name for name in environ if name.upper().startswith(PREFIX) and NESTED in name)
    return next((name for name in nested if section_of(name) not in known), None)


def unread_variable(complaint: str, environ: Mapping[str, str]) -> str:
    """The variable whose value pydantic-settings could not read, by its complaint."""
    found = re.search(r'field "(\w+)"', complaint)
    where = (found[1],) if found else ()
    return given_by(where, environ) or variable(where)


def _holds(text: str, where: tuple[int | str, ...]) -> bool:
    """Whether the JSON has something at this place, or could not have it because it is of another kind."""
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
    """`:12` for the line that sets the key, else for its table's; empty where the text shows neither."""
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
