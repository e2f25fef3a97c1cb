"""Endpoint for the daemons of the installation, with the configuration that each runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from kairos.api.access.auth import Member, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.db.engine import Database
from kairos.db.models import DaemonRole
from kairos.db.repositories import configuration
from kairos.db.repositories.queue import replicas
from kairos.db.repositories.queue.replicas import Replica
from kairos.tenancy import NOBODY

routes = APIRouter(prefix="/api/daemons", tags=["daemons"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class DaemonServices:
    database: Database


ServicesDep = Annotated[DaemonServices, depends_on(DaemonServices)]
ReaderDep = Annotated[Member, Depends(needs(Permission.AGENTS_READ))]


class DaemonOut(BaseModel):
    name: str
    role: DaemonRole
    alive: bool
    slots: int = Field(description="Tasks that it runs at the same time; 0 if it runs none.")
    version: str = Field(description="Version of Kairos.")
    started_at: datetime
    heartbeat_at: datetime
    config_version: int = Field(description="Version of the configuration that it runs.")
    config_newest: bool = Field(description="Whether this is the newest version.")
    config_error: str | None = Field(description="Why it does not run a newer version.")
    config_waiting: list[str] = Field(description="Keys whose new values it applies at its next start.")


class DaemonList(BaseModel):
    config_version: int = Field(description="The newest version of the configuration.")
    items: list[DaemonOut] = Field(description="Daemons that are alive or recently died, oldest first.")


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_daemons(services: ServicesDep, member: ReaderDep) -> DaemonList:
    """The daemons of the installation. They run tasks of all projects."""
    del member  # daemons and versions do not belong to a project
    async with services.database.scope(NOBODY) as session:
        newest = await configuration.newest_number(session, None)
        known = await replicas.known(session)
    return DaemonList(config_version=newest, items=[_response(daemon, newest) for daemon in known])


def _response(daemon: Replica, newest: int) -> DaemonOut:
    return DaemonOut(
        name=daemon.name,
        role=daemon.role,
        alive=daemon.alive,
        slots=daemon.slots,
        version=daemon.version,
        started_at=daemon.started_at,
        heartbeat_at=daemon.heartbeat_at,
        config_version=daemon.config_version,
        config_newest=daemon.config_version == newest,
        config_error=daemon.config_error,
        config_waiting=daemon.config_waiting,
    )
