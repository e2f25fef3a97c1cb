"""Validated types for text, integers and times that PostgreSQL, JSON and Python can all store.

PostgreSQL stores neither NUL nor half of a surrogate pair, and its largest integer has 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, JsonValue

from kairos.storable_text import is_storable

LARGEST_INTEGER = 2**63 - 1
SMALLEST_INTEGER = -(2**63)
FIRST_YEAR, LAST_YEAR = 2, 9998
"""One year less than Python's range on either side, so that converting the time zone cannot overflow."""
DEEPEST = 100
"""Levels of nested JSON. orjson writes 254, Python's parser reads about 1,000."""

POINTER_NAMES, NAME_LENGTH = 8, 100

Place: TypeAlias = "tuple[Place | None, str | int]"
"""The place of the parent (None for the document itself) and the name below it."""


def fault_in(text: str) -> str | None:
    """The reason why the text cannot be stored, or None."""
    if is_storable(text):
        return None
    if "\x00" in text:
        return "it contains a NUL character"
    return "it contains half of a surrogate pair, which is not a character"


def storable_text(text: str) -> str:
    """The text. Raises `ValueError` if it cannot be stored."""
    if fault := fault_in(text):
        raise ValueError(fault)
    return text


def storable_json(value: Any) -> Any:
    """The JSON value. Raises `ValueError` with the first place that cannot be stored."""
    for pointer, fault in faults_in(value):
        raise ValueError(f"{fault} (at {pointer})" if pointer else fault)
    return value


def faults_in(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the place (`pointer_of`) and the reason of each value that cannot be stored.

    Iterative. A place links to its parent, so that a long name is not copied for each value below it.
    """
    stack: list[tuple[Place | None, Any, int]] = [(None, value, 0)]
    while stack:
        place, piece, depth = stack.pop()
        if fault := _fault(piece):
            yield pointer_of(_names(place)), fault
        elif isinstance(piece, (Mapping, list, tuple)) and depth == DEEPEST:
            yield pointer_of(_names(place)), f"it is nested deeper than {DEEPEST} levels"
        elif isinstance(piece, Mapping):
            for name, child in reversed(list(piece.items())):
                if fault := _fault(name):
                    yield pointer_of(_names(place)), f"a name in it cannot be stored: {fault}"
                stack.append(((place, name), child, depth + 1))
        elif isinstance(piece, (list, tuple)):
            stack += [((place, n), child, depth + 1) for n, child in reversed(list(enumerate(piece)))]


def pointer_of(names: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901) without its first slash, of at most 8 names of 100 characters."""
    shown = [_shortened(str(name)).replace("~", "~0").replace("/", "~1") for name in names[:POINTER_NAMES]]
    return "/".join([*shown, "…"] if len(names) > POINTER_NAMES else shown)


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH]}…"


def _names(place: Place | None) -> list[str | int]:
    names: list[str | int] = []
    while place is not None:
        place, name = place
        names.append(name)
    return names[::-1]


def _fault(value: Any) -> str | None:
    if isinstance(value, str):
        return fault_in(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        return "it is an integer beyond 64 bits"
    if isinstance(value, float) and value - value != 0:  # infinite, or not a number
        return "it is not a finite number"
    return None


def _moment(value: datetime) -> datetime:
    try:
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"its year is not between {FIRST_YEAR} and {LAST_YEAR}") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"its year is not between {FIRST_YEAR} and {LAST_YEAR}")
    return moment


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("it has no time zone; add one, such as Z")
    return value


Text = Annotated[str, AfterValidator(storable_text)]
"""Text in requests, headers, addresses and the configuration."""
Json = Annotated[JsonValue, AfterValidator(storable_json)]
"""A JSON value of any shape."""
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(storable_json)]
Position = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
"""An id, version or count that PostgreSQL stores as bigint."""
ZonedMoment = Annotated[datetime, AfterValidator(_with_zone), AfterValidator(_moment)]
"""A time with its zone, as UTC."""
Moment = Annotated[datetime, AfterValidator(_moment)]
"""A time as UTC. A time without a zone is UTC, like every time that the API returns."""
