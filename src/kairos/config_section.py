"""A section of the configuration, and the types that several sections use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kairos.text import storable_json

LONGEST_S = 30 * 86_400
MOST_BYTES = 2**50
"""A number that Lua in Redis keeps exactly."""
MOST_MB = 2**20
MOST_ROWS = 1_000_000

Seconds = Annotated[float, Field(ge=0.01, le=LONGEST_S)]
"""Long enough that a loop which waits so does not spin, and short enough for every timer, interval and date."""
Share = Annotated[float, Field(ge=0, le=1)]


class Reach(StrEnum):
    """When a value that is changed through the API takes effect."""

    LIVE = "live"
    """Within two seconds, in every replica."""
    RESTART = "restart"
    """At the next start of each replica."""
    FILE = "file"
    """Never: it is needed before the database can be reached, so it stands in `kairos.toml` or the environment."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    reach: ClassVar[Reach] = Reach.LIVE
    restart: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that are read once, at the start."""
    only_in_file: ClassVar[frozenset[str]] = frozenset()
    """Keys of a live section that the API does not change."""

    @field_validator("*", mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """Values reach the database, file names and headers: the same types as in requests."""
        return storable_json(value)
