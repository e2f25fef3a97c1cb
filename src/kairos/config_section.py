"""The base class of configuration sections, and types that several sections use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kairos.text import storable_json

LONGEST_S = 30 * 86_400
MOST_BYTES = 2**50
"""Exactly representable in Lua, as in Redis scripts."""
MOST_MB = 2**20
MOST_ROWS = 1_000_000

Seconds = Annotated[float, Field(ge=0.01, le=LONGEST_S)]
"""Long enough that a waiting loop does not spin, and short enough for every timer, interval and date."""
Share = Annotated[float, Field(ge=0, le=1)]


class ApplyMode(StrEnum):
    """When a value changed through the API takes effect."""

    LIVE = "live"
    """Within two seconds, on every daemon."""
    RESTART = "restart"
    """At the next start of each daemon."""
    FILE = "file"
    """Never: it is needed before the database is reachable, so only `kairos.toml` and the environment set it."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    reach: ClassVar[ApplyMode] = ApplyMode.LIVE
    restart: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that are read only at the start."""
    only_in_file: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that the API cannot change."""

    @field_validator("*", mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """Validate that the value can be stored: settings reach the database, file names and headers."""
        return storable_json(value)
