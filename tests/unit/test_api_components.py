"""Endpoints declare the components that they use, and reach no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant

from kairos.api import routes
from kairos.api.app import ROUTERS
from kairos.api.components import ApiComponents
from kairos.config import Settings

MOST_FIELDS = 8
FORBIDDEN = ("app.state", "ApiComponents", "component_of")


class Clock:
    """A component."""


class Calendar:
    """Another component."""


@dataclass(frozen=True, slots=True)
class ClockServices:
    settings: Settings
    clock: Clock


def _kinds(dependant: Dependant) -> Iterator[type[Any]]:
    """The types that an endpoint declares with `depends_on`, also through its other dependencies."""
    if kind := getattr(dependant.call, "kind", None):
        yield kind
    for inner in dependant.dependencies:
        yield from _kinds(inner)


def _declared() -> dict[str, set[type[Any]]]:
    return {
        f"{module.prefix} {route.name}": set(_kinds(route.dependant))  # type: ignore[attr-defined]
        for module in ROUTERS
        for route in module.routes
    }


def test_dataclass_gets_its_components_only():
    clock = Clock()
    components = ApiComponents(Settings(), [clock, Calendar()])
    built = components.get(ClockServices)
    assert built.clock is clock
    assert components.get(ClockServices) is built


def test_unknown_component_is_an_error():
    with pytest.raises(KeyError):
        ApiComponents(Settings()).get(Clock)
    with pytest.raises(KeyError):
        ApiComponents(Settings()).get(ClockServices)


def test_no_endpoint_declares_more_than_eight_components():
    declared = _declared()
    assert sum(bool(kinds) for kinds in declared.values()) > 80, "the dependencies were not found"
    for endpoint, kinds in declared.items():
        for kind in kinds:
            assert not is_dataclass(kind) or len(fields(kind)) <= MOST_FIELDS, (endpoint, kind)


@pytest.mark.parametrize("file", sorted(Path(routes.__path__[0]).glob("*.py")), ids=lambda file: file.name)
def test_no_endpoint_reaches_undeclared_components(file: Path):
    text = file.read_text()
    assert [name for name in FORBIDDEN if name in text] == []
