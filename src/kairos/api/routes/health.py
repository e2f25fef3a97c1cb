"""Endpoints for liveness and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from kairos import __version__
from kairos.agents.checks.isolation import HostIsolation, IsolationStatus
from kairos.agents.checks.sandbox.jail import IsolationMethod
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.readiness import Readiness

routes = APIRouter(prefix="/api/health", tags=["health"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class HealthServices:
    isolation: HostIsolation
    readiness: Readiness


ServicesDep = Annotated[HealthServices, depends_on(HealthServices)]


class Live(BaseModel):
    status: str = "ok"
    version: str = __version__


class ComponentOut(BaseModel):
    state: str = Field(description="ok, degraded or away (unavailable).")
    detail: str = ""


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
    status: str = Field(description="ok; degraded: a component is impaired; unavailable: no tasks are accepted.")
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
    parts = {name: ComponentOut(**part) for name, part in (await services.readiness.components()).items()}
    if parts["postgresql"].state == "away":
        response.status_code = 503
        return Ready(status="unavailable", parts=parts, isolation=None)
    whole = all(part.state == "ok" for part in parts.values())
    isolation = IsolationOut.of(await services.isolation.status())
    return Ready(status="ok" if whole else "degraded", parts=parts, isolation=isolation)
