"""A section of the configuration, and the types that several sections use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]
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
