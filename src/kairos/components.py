"""State of a component of the system, such as PostgreSQL, Redis or the models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ComponentState(StrEnum):
    """`degraded`: impaired; `away`: unavailable."""

    OK = "ok"
    DEGRADED = "degraded"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """A component's state, with its cause as text."""

    state: ComponentState
    detail: str = ""
