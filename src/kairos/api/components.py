"""The components that endpoints use. Each endpoint declares the ones it needs as a dependency:

@dataclass(frozen=True, slots=True)
class KeyServices:
    database: Database
    keys: TokenKeys

ServicesDep = Annotated[KeyServices, depends_on(KeyServices)]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_type_hints

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from kairos.config import Settings

Kind = TypeVar("Kind")


class ApiComponents:
    """The components of one application by type."""

    def __init__(self, settings: Settings, components: Iterable[object] = ()) -> None:
        """`settings` may be a view of the live settings."""
        self._by_type: dict[type[Any], Any] = {Settings: settings, **{type(one): one for one in components}}

    def install(self, app: FastAPI) -> None:
        """Provide the dependencies of this application's endpoints."""
        app.state.components = self

    def get(self, kind: type[Kind]) -> Kind:
        """The component of this type, or a new dataclass of components, which is kept.

        Raises `KeyError` for a type that is neither.
        """
        found = self._by_type.get(kind)
        if found is None:
            found = self._by_type[kind] = self._build(kind)
        return found

    def _build(self, kind: type[Any]) -> Any:
        if not is_dataclass(kind):
            raise KeyError(kind)
        return kind(**{name: self.get(hint) for name, hint in get_type_hints(kind).items()})


def component_of(connection: HTTPConnection, kind: type[Kind]) -> Kind:
    """The component of the application that handles this request."""
    return connection.app.state.components.get(kind)


def depends_on(kind: type[Any]) -> Any:
    """A dependency: the component of this type, or a dataclass whose fields are components."""

    # A coroutine, because FastAPI runs other functions in a thread.
    async def component(connection: HTTPConnection) -> Any:
        return component_of(connection, kind)

    component.kind = kind  # type: ignore[attr-defined]  # for tests that iterate over the routes
    return Depends(component)
