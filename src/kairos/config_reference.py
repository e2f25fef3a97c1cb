"""Describe every configuration key for the API, the CLI and the docs, derived from the types in `config.py`."""

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
from kairos.config import ApplyMode, ModelSettings, PriceSettings, Section, Settings
from kairos.errors import did_you_mean


class ValueSource(StrEnum):
    """The source of a value, in ascending precedence."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    API = "api"


@dataclass(frozen=True, slots=True)
class Key:
    """A configuration key."""

    name: str
    """Dotted, such as `queue.interactive_slots`."""
    kind: str
    """Type and range as text: `integer, 1 to 1000`."""
    default: Any
    """As a JSON value; None also if there is no default."""
    description: str
    reach: ApplyMode
    secret: bool

    @property
    def section(self) -> str:
        """The table of `kairos.toml`; empty for top-level keys."""
        return self.name.rpartition(".")[0]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "KAIROS_" + self.name.upper().replace(".", "__")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of `kairos.toml`; the first has no name and contains the top-level keys."""

    name: str
    description: str
    keys: tuple[Key, ...]


@cache
def tables() -> tuple[Table, ...]:
    """All tables in the order of `Settings`, without `[[models]]`."""
    top = tuple(
        _key("", name, field, ApplyMode.FILE if name in Settings.only_in_file else ApplyMode.LIVE)
        for name, field in Settings.model_fields.items()
        if not _section(field) and name != "models"
    )
    sections = ((name, _section(field)) for name, field in Settings.model_fields.items())
    return (
        Table("", "", top),
        *(Table(name, _description(section), tuple(_keys(name, section))) for name, section in sections if section),
    )


@cache
def model_table() -> Table:
    """The keys of one `[[models]]` entry."""
    return Table("models", _description(ModelSettings), tuple(_keys("models", ModelSettings)))


@cache
def by_name() -> Mapping[str, Key]:
    """All keys by name, without those of `[[models]]`."""
    return {key.name: key for table in tables() for key in table.keys}


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """The remedy for an unknown key: the nearest known one, or how to list them."""
    return did_you_mean(name, known) or "`kairos config show` and `GET /api/config` list the keys"


def shown(value: Any) -> Any:
    """A value for JSON output, with a secret masked."""
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


def source_of(settings: Settings, key: Key) -> ValueSource:
    """The source of a key's value in settings returned by `config.load`."""
    section, _, name = key.name.rpartition(".")
    variables = {variable.upper() for variable in environment.names()}
    if {key.variable, f"KAIROS_{section.upper()}" if section else key.variable} & variables:
        return ValueSource.ENVIRONMENT
    given = getattr(settings, section).model_fields_set if section else settings.model_fields_set
    return ValueSource.FILE if name in given else ValueSource.DEFAULT


def _keys(name: str, section: type[Section]) -> Iterator[Key]:
    for field_name, field in section.model_fields.items():
        reach = ApplyMode.RESTART if field_name in section.restart else section.reach
        yield _key(name, field_name, field, ApplyMode.FILE if field_name in section.only_in_file else reach)


def _key(section: str, name: str, field: FieldInfo, reach: ApplyMode) -> Key:
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


def _description(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


TYPE_NAMES = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    SecretStr: "address with its password",
    PriceSettings: "table with `input` and `output`",
}


def kind_of(field: FieldInfo) -> str:
    """Type and range as text: `integer, 1 to 1000` for an `int` with `ge=1, le=1000`."""
    name, metadata = _type_name(field.annotation)
    return name + _range([*metadata, *field.metadata])


def _type_name(annotation: Any) -> tuple[str, list[Any]]:
    """The name of a type, and the constraints in its annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        name, inner = _type_name(arguments[0])
        return name, [*inner, *[part for given in arguments[1:] for part in getattr(given, "metadata", [given])]]
    if origin in (Union, types.UnionType):
        [one] = [argument for argument in arguments if argument is not type(None)]
        return _type_name(one)
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments), []
    if origin is list:
        return f"list of {_type_name(arguments[0])[0]}", []
    if origin is dict:
        return "table", []
    return TYPE_NAMES[annotation], []


def _range(metadata: list[Any]) -> str:
    least = next((part.ge for part in metadata if isinstance(part, Ge)), None)
    more = next((part.gt for part in metadata if isinstance(part, Gt)), None)
    most = next((part.le for part in metadata if isinstance(part, Le)), None)
    less = next((part.lt for part in metadata if isinstance(part, Lt)), None)
    if least is not None and most is not None:
        return f", {least} to {most}"
    limits = [
        f"at least {least}" if least is not None else "",
        f"more than {more}" if more is not None else "",
        f"at most {most}" if most is not None else "",
        f"less than {less}" if less is not None else "",
        next((f"at most {part.max_length} characters" for part in metadata if isinstance(part, MaxLen)), ""),
        "not empty" if any(isinstance(part, MinLen) and part.min_length for part in metadata) else "",
    ]
    return "".join(f", {limit}" for limit in limits if limit)
