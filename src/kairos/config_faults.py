"""What is wrong with a configuration, and where: the words, the line of the file, the nearest known key."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel

from kairos.errors import did_you_mean


def problem(error: Any) -> str:
    """What pydantic found wrong, in words."""
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "a value is required"
    if error["type"] == "unusable":  # it may hold a credential
        return error["msg"]
    # A whole table is not shown: a password may stand in it.
    got = f", got {error['input']!r}" if isinstance(error["input"], (str, int, float)) else ""
    return f"{error['msg'][0].lower()}{error['msg'][1:]}{got}"


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
    return "KAIROS_" + "__".join(str(part).upper() for part in where)


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
