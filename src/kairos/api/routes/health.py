"""Endpoints for liveness and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from kairos import __version__
from kairos.agents.checks.isolation import HostIsolation, IsolationStatus
from kairos.agents.checks.sandbox.jail import IsolationMethod
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.readiness import Readiness
from kairos.components import ComponentState, ComponentStatus

routes = APIRouter(prefix="/api/health", tags=["health"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class HealthServices:
    isolation: HostIsolation
    readiness: Readiness


ServicesDep = Annotated[HealthServices, depends_on(HealthServices)]


class ReadyState(StrEnum):
    """`degraded`: a component is impaired; `unavailable`: no tasks are accepted."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Live(BaseModel):
    status: Literal["ok"] = "ok"
    version: str = __version__


class ComponentOut(BaseModel):
    state: ComponentState
    detail: str = ""

    @classmethod
    def of(cls, component: ComponentStatus) -> ComponentOut:
        return cls(state=component.state, detail=component.detail)


class IsolationOut(BaseModel):
    """The isolation of supplied tests on this daemon's host."""

    way: IsolationMethod = Field(description="namespaces, landlock, or none.")
    full: bool = Field(description="Whether test code is cut off from files, processes and network of the host.")
    tests_run: bool = Field(description="Whether tests are run on this host.")
    detail: str = Field(description="The method, or the missing feature.")

    @classmethod
    def of(cls, isolation: IsolationStatus) -> IsolationOut:
        return cls(way=isolation.method, full=isolation.full, tests_run=isolation.allowed, detail=isolation.detail)


class Ready(BaseModel):
    status: ReadyState
    parts: dict[str, ComponentOut]
    isolation: IsolationOut | None = Field(
        None, description="Null while PostgreSQL is unavailable. It does not affect the status."
    )


@routes.get("/live")
async def live() -> Live:
    """Whether the process is running."""
    return Live()


@routes.get(
    "/ready", responses={503: {"model": Ready, "description": "PostgreSQL is unavailable: no tasks are accepted."}}
)
async def ready(services: ServicesDep, response: Response) -> Ready:
    """The state of each component. 503 only if tasks cannot be accepted; otherwise the status is `degraded`."""
    parts = {name: ComponentOut.of(part) for name, part in (await services.readiness.components()).items()}
    if parts["postgresql"].state is ComponentState.AWAY:
        response.status_code = 503
        return Ready(status=ReadyState.UNAVAILABLE, parts=parts, isolation=None)
    whole = all(part.state is ComponentState.OK for part in parts.values())
    isolation = IsolationOut.of(await services.isolation.status())
    return Ready(status=ReadyState.OK if whole else ReadyState.DEGRADED, parts=parts, isolation=isolation)
