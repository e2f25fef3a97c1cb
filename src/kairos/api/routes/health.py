"""Whether the daemon lives, and whether its parts do."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from kairos import __version__
from kairos.agents.checks.isolation import IsolationStatus
from kairos.agents.checks.sandbox.jail import IsolationMethod
from kairos.api.json_route import JsonRoute
from kairos.api.services import ServicesDep

routes = APIRouter(prefix="/api/health", tags=["health"], route_class=JsonRoute)


class Live(BaseModel):
    status: str = "ok"
    version: str = __version__


class PartOut(BaseModel):
    state: str = Field(description="ok, degraded or away.")
    detail: str = ""


class IsolationOut(BaseModel):
    """How this daemon's host keeps in the code of tests given with tasks."""

    way: IsolationMethod = Field(description="namespaces, landlock, or none.")
    full: bool = Field(description="Whether that code can reach no file, process or network of the host.")
    tests_run: bool = Field(description="Whether such tests are run here.")
    detail: str = Field(description="How, or what is missing.")

    @classmethod
    def of(cls, isolation: IsolationStatus) -> IsolationOut:
        return cls(way=isolation.method, full=isolation.full, tests_run=isolation.allowed, detail=isolation.detail)


class Ready(BaseModel):
    status: str = Field(description="ok; degraded when a part is missing; unavailable when nothing can be accepted.")
    parts: dict[str, PartOut]
    isolation: IsolationOut | None = Field(
        None, description="Null while PostgreSQL is away. It does not count for the status."
    )


@routes.get("/live")
async def live() -> Live:
    """Answers as long as the process does."""
    return Live()


@routes.get("/ready", responses={503: {"model": Ready, "description": "PostgreSQL is away: nothing can be accepted."}})
async def ready(services: ServicesDep, response: Response) -> Ready:
    """Each part and its state. 503 only where tasks cannot be accepted; a missing part else is `degraded`."""
    parts = {name: PartOut(**part) for name, part in (await services.probe()).items()}
    if parts["postgresql"].state == "away":
        response.status_code = 503
        return Ready(status="unavailable", parts=parts, isolation=None)
    whole = all(part.state == "ok" for part in parts.values())
    isolation = IsolationOut.of(await services.isolation.known())
    return Ready(status="ok" if whole else "degraded", parts=parts, isolation=isolation)
