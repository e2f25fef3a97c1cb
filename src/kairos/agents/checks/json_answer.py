"""Parses an answer as JSON (RFC 8259), strictly, with explanatory errors."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from typing import Any, NoReturn

from kairos.agents.checks.code_blocks import sole_block

LONGEST = 1_000_000
DEEPEST = 100
"""Maximum nesting depth. Deeper values make recursive readers fail."""
SPACE = string.whitespace + "\u00a0\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff"
"""Characters allowed around the value: white space, byte order mark, and zero-width characters that models copy."""
AROUND = re.compile(f"^[{re.escape(SPACE)}]+")
ALONE = "Answer with one JSON value and nothing else."


class NotJson(ValueError):
    """The answer is not one JSON value."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


def read_json(text: str) -> Any:
    """Return the value. White space around it or one enclosing fenced block is allowed; prose is not.

    Stricter than the standard library: NaN, Infinity and duplicate keys are refused, as readers disagree on
    them. Raises `NotJson`.
    """
    if len(text) > LONGEST:
        raise NotJson(f"It is longer than {LONGEST} characters.")
    source, offset = _source(text)
    try:
        value = json.loads(source, parse_constant=_no_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as fault:
        where = f"line {fault.lineno + offset}, column {fault.colno}"
        raise NotJson(f"{fault.msg} ({where}). {ALONE}", fault.lineno + offset) from None
    except RecursionError:
        raise NotJson(f"It is nested deeper than {DEEPEST} levels.") from None
    except NotJson:
        raise
    except ValueError:
        raise NotJson("It contains a number of more than 4300 digits.") from None
    if _deeper_than(value, DEEPEST):
        raise NotJson(f"It is nested deeper than {DEEPEST} levels.")
    return value


def _source(text: str) -> tuple[str, int]:
    """Return the JSON text, and the number of lines of the answer before it."""
    begun = AROUND.sub("", text, count=1)
    before = text[: len(text) - len(begun)].count("\n")
    inner = _without_space(begun)
    block = sole_block(inner)
    if block is None:
        return inner, before
    if block.language not in ("", "json"):
        raise NotJson(f"It is a block of {block.language}. {ALONE}", before + 1)
    source = AROUND.sub("", block.text, count=1)
    return _without_space(source), before + 1 + block.text[: len(block.text) - len(source)].count("\n")


def _without_space(text: str) -> str:
    return text.rstrip(SPACE)


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not a JSON value. Use null, or leave it out.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise NotJson(f"The key {twice!r} appears twice in one object.")
    return found


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
