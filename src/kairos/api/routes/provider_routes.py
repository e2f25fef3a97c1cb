"""Registers each endpoint twice: for the shared providers, which operators manage, and for those of the active project,
which its owners manage.

An endpoint gets the `ProviderOwner` and does not check who calls. Each of its two routes has the dependency that does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request

from kairos.api.access.auth import Member, OperatorDep, needs
from kairos.api.access.permissions import Permission
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.orchestration.providers.provider_store import ProviderOwner

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


async def operator_as_owner(request: Request, who: OperatorDep) -> None:
    """A dependency: the caller manages the shared providers. Raises `OperatorsOnly`."""
    request.state.provider_owner = ProviderOwner(who.user_id)


async def member_as_owner(
    request: Request, who: Annotated[Member, Depends(needs(Permission.PROVIDERS_MANAGE))]
) -> None:
    """A dependency: the caller manages the providers of the active project. Raises `NoProject`, `Forbidden`."""
    request.state.provider_owner = ProviderOwner(who.user_id, who.project_id)


async def provider_owner(request: Request) -> ProviderOwner:
    """A dependency: the owner that the route's own dependency has found."""
    return request.state.provider_owner


OwnerDep = Annotated[ProviderOwner, Depends(provider_owner)]


@dataclass(frozen=True, slots=True)
class OwnerRoutes:
    """The routes for one kind of owners."""

    routes: APIRouter
    check: Callable[..., Any]
    """The dependency that checks the caller and finds the owner."""
    statuses: tuple[int, ...]
    """Of every route."""
    infix: str
    """Follows the verb in the names of the endpoints."""
    providers: str
    """Replaces `{providers}` in the docstrings of the endpoints."""

    def add(self, endpoint: Callable[..., Any], path: str, statuses: tuple[int, ...], **options: Any) -> None:
        verb, _, noun = getattr(endpoint, "__name__", "").partition("_")
        self.routes.add_api_route(
            path,
            endpoint,
            name=f"{verb}_{self.infix}{noun}",
            description=(getdoc(endpoint) or "").format(providers=self.providers),
            dependencies=[Depends(self.check)],
            responses=responses(*sorted({*statuses, *self.statuses})),
            **options,
        )


class ProviderRoutes:
    """The routes of a file below `/api/providers` and `/api/project/providers`."""

    def __init__(self, path: str = "") -> None:
        self.shared = _router(f"/api/providers{path}")
        self.project = _router(f"/api/project/providers{path}")
        self._owners = (
            OwnerRoutes(self.shared, operator_as_owner, (401, 403, 503), "", "The shared providers"),
            OwnerRoutes(self.project, member_as_owner, (401, 403, 409, 503), "project_", "The project's own providers"),
        )

    def route(self, method: str, path: str, *statuses: int, status_code: int = 200) -> Callable[[Endpoint], Endpoint]:
        """Register an endpoint. `statuses` are those of its problems, besides the ones that every route has."""

        def register(endpoint: Endpoint) -> Endpoint:
            for routes in self._owners:
                routes.add(endpoint, path, statuses, methods=[method], status_code=status_code)
            return endpoint

        return register


def _router(prefix: str) -> APIRouter:
    return APIRouter(prefix=prefix, tags=["providers"], route_class=JsonRoute)
