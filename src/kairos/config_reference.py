"""Every key of the configuration, read from the types of `config.py`: what the API, the CLI and the docs tell of it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from kairos import environment
from kairos.config import ModelSettings, PriceSettings, Reach, Section, Settings
from kairos.errors import did_you_mean


class Source(StrEnum):
    """Where a value comes from; the later ones stand above the earlier."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    API = "api"


@dataclass(frozen=True, slots=True)
class Key:
    """One value that may be set."""

    name: str
    """Dotted, as `queue.interactive_slots`."""
    kind: str
    """Its type and range in words: `integer, 1 to 1000`."""
    default: Any
    """As JSON has it; None also where there is none."""
    description: str
    reach: Reach
    secret: bool

    @property
    def section(self) -> str:
        """The table of `kairos.toml`; empty for the keys above all tables."""
        return self.name.rpartition(".")[0]

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "KAIROS_" + self.name.upper().replace(".", "__")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of `kairos.toml`; the first has no name and holds the keys above all tables."""

    name: str
    description: str
    keys: tuple[Key, ...]


@cache
def tables() -> tuple[Table, ...]:
    """In the order of `Settings`, `[[models]]` left out."""
    top = tuple(
        _key("", name, field, Reach.FILE if name in Settings.only_in_file else Reach.LIVE)
        for name, field in Settings.model_fields.items()
        if not _section(field) and name != "models"
    )
    sections = ((name, _section(field)) for name, field in Settings.model_fields.items())
    return (
        Table("", "", top),
        *(Table(name, _words(section), tuple(_keys(name, section))) for name, section in sections if section),
    )


@cache
def model_table() -> Table:
    """The keys of one `[[models]]` entry."""
    return Table("models", _words(ModelSettings), tuple(_keys("models", ModelSettings)))


@cache
def by_name() -> Mapping[str, Key]:
    """All keys but those of `[[models]]`."""
    return {key.name: key for table in tables() for key in table.keys}


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """The remedy for an unknown key."""
    return did_you_mean(name, known) or "`kairos config show` and `GET /api/config` list the keys"


def shown(value: Any) -> Any:
    """A value as JSON has it, a secret as what it is: set or not."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


def value_of(settings: Settings, name: str) -> Any:
    """The value at a dotted key."""
    place: Any = settings
    for part in name.split("."):
        place = getattr(place, part)
    return place


def source_of(settings: Settings, key: Key) -> Source:
    """Of a value of settings that `config.load` gave."""
    section, _, name = key.name.rpartition(".")
    variables = {variable.upper() for variable in environment.names()}
    if {key.variable, f"KAIROS_{section.upper()}" if section else key.variable} & variables:
        return Source.ENVIRONMENT
    given = getattr(settings, section).model_fields_set if section else settings.model_fields_set
    return Source.FILE if name in given else Source.DEFAULT


def _keys(name: str, section: type[Section]) -> Iterator[Key]:
    for field_name, field in section.model_fields.items():
        reach = Reach.RESTART if field_name in section.restart else section.reach
        yield _key(name, field_name, field, Reach.FILE if field_name in section.only_in_file else reach)


def _key(section: str, name: str, field: FieldInfo, reach: Reach) -> Key:
    return Key(
        name=f"{section}.{name}" if section else name,
        kind=kind_of(field),
        default=None if field.is_required() else shown(field.default),
        description=field.description or "",
        reach=reach,
        secret=SecretStr in (field.annotation, *get_args(field.annotation)),
    )


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _words(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


WORDS = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    SecretStr: "address with its password",
    PriceSettings: "table with `input` and `output`",
}


def kind_of(field: FieldInfo) -> str:
    """`integer, 1 to 1000` for an `int` with `ge=1, le=1000`."""
    word, metadata = _word(field.annotation)
    return word + _range([*metadata, *field.metadata])


def _word(annotation: Any) -> tuple[str, list[Any]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        word, inner = _word(arguments[0])
        return word, [*inner, *[part for given in arguments[1:] for part in getattr(given, "metadata", [given])]]
    if origin in (Union, types.UnionType):
        [one] = [argument for argument in arguments if argument is not type(None)]
        return _word(one)
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments), []
    if origin is list:
        return f"list of {_word(arguments[0])[0]}", []
    if origin is dict:
        return "table", []
    return WORDS[annotation], []


def _range(metadata: list[Any]) -> str:
    least = next((part.ge for part in metadata if isinstance(part, Ge)), None)
    more = next((part.gt for part in metadata if isinstance(part, Gt)), None)
    most = next((part.le for part in metadata if isinstance(part, Le)), None)
    less = next((part.lt for part in metadata if isinstance(part, Lt)), None)
    if least is not None and most is not None:
        return f", {least} to {most}"
    words = [
        f"at least {least}" if least is not None else "",
        f"more than {more}" if more is not None else "",
        f"at most {most}" if most is not None else "",
        f"less than {less}" if less is not None else "",
        next((f"at most {part.max_length} characters" for part in metadata if isinstance(part, MaxLen)), ""),
        "not empty" if any(isinstance(part, MinLen) and part.min_length for part in metadata) else "",
    ]
    return "".join(f", {word}" for word in words if word)
