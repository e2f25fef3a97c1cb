"""Endpoints for plugins and built-in agents in the active project: capabilities, errors, and today's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, JsonValue

from kairos.api.access.auth import Member, OperatorDep, PrincipalDep, needs
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.agents import AgentDayOut, today_of
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.repositories.tasks import activity
from kairos.db.repositories.tasks.activity import AgentDay
from kairos.orchestration.configuration.config_changes import ConfigChanges
from kairos.orchestration.tasks.agent_coordinator import AgentCoordinator
from kairos.plugins.plugin_agent import PluginAgent
from kairos.plugins.plugin_config import merged, shown
from kairos.plugins.plugin_errors import PluginMisconfigured
from kairos.plugins.plugin_loader import PluginEntry, PluginLoader
from kairos.plugins.sources import Origin
from kairos.project_settings import ProjectSettings
from kairos.text import Text

routes = APIRouter(prefix="/api/plugins", tags=["plugins"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class PluginPageServices:
    settings: Settings
    database: Database
    config_changes: ConfigChanges
    coordinator: AgentCoordinator
    plugins: PluginLoader


ServicesDep = Annotated[PluginPageServices, depends_on(PluginPageServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.AGENTS_READ))]


class PluginState(StrEnum):
    """`failed`: it runs no tasks, see `error`; `set_aside`: paused after consecutive failures until `tried_again_at`;
    `disabled`: by this project."""

    LOADED = "loaded"
    FAILED = "failed"
    SET_ASIDE = "set_aside"
    DISABLED = "disabled"


class PluginOut(BaseModel):
    name: str
    source: Origin
    file: str = Field(description="File name in the plugin folder, or package and entry point; empty for built-ins.")
    state: PluginState
    description: str
    capabilities: list[str]
    is_async: bool = Field(description="Runs in the daemon; otherwise in a process of its own per task.")
    config_schema: dict[str, JsonValue] = Field(description="JSON Schema of its configuration.")
    config: dict[str, JsonValue] = Field(description="The values in force in this project; secrets are masked.")
    error: str | None
    trace: str | None = Field(description="Only for operators.")
    tried_again_at: datetime | None
    today: AgentDayOut


class ReloadedOut(BaseModel):
    """Number of plugins of the responding daemon after the scan."""

    loaded: int
    failed: int


class PluginList(BaseModel):
    items: list[PluginOut]


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_plugins(services: ServicesDep, member: ReaderDep, principal: PrincipalDep) -> PluginList:
    """The built-in agents and plugins of the responding daemon, including plugins that could not be loaded."""
    days = await _days(services, member)
    items = [await _out(services, member, entry, principal.operator, days) for entry in services.plugins.entries]
    return PluginList(items=items)


@routes.get("/{name}", responses=responses(401, 403, 404, 409, 422, 503))
async def show_plugin(services: ServicesDep, member: ReaderDep, principal: PrincipalDep, name: Text) -> PluginOut:
    """One plugin, by its name or its file."""
    entry = services.plugins.entry(name)
    return await _out(services, member, entry, principal.operator, await _days(services, member))


@routes.post("/reload", responses=responses(401, 403, 409, 503))
async def reload_plugins(services: ServicesDep, who: OperatorDep) -> ReloadedOut:
    """Scan for plugins again on every daemon. Running tasks continue with the old version of a plugin."""
    await services.config_changes.raise_reloads(who.user_id)
    entries = services.plugins.entries
    return ReloadedOut(
        loaded=sum(isinstance(entry.agent, PluginAgent) or entry.provider is not None for entry in entries),
        failed=sum(not entry.loaded for entry in entries),
    )


async def _out(
    services: PluginPageServices, member: Member, entry: PluginEntry, operator: bool, days: Mapping[str, list[AgentDay]]
) -> PluginOut:
    project = ProjectSettings.of(member.project_settings)
    own = project.plugin_settings.get(entry.name, {})
    system = services.settings.plugins.settings.get(entry.name, {})
    fault = await _config_fault(entry, own)
    again = entry.agent.set_aside_until if isinstance(entry.agent, PluginAgent) else None
    return PluginOut(
        name=entry.name,
        source=entry.origin,
        file=entry.label,
        state=_state(entry, project, fault, again),
        description=entry.description,
        capabilities=sorted(entry.capabilities),
        is_async=entry.is_async,
        config_schema=dict(entry.schema),
        config=shown(entry.schema, merged(entry.schema, system, own)),
        error=entry.error or fault or (_last(entry) if again else None),
        trace=entry.trace if operator else None,
        tried_again_at=again,
        today=today_of(days.get(entry.name, []) if entry.agent else []),
    )


async def _config_fault(entry: PluginEntry, own: Mapping[str, JsonValue]) -> str | None:
    if not isinstance(entry.agent, PluginAgent):
        return None
    try:
        await entry.agent.configuration(own)
    except PluginMisconfigured as fault:
        return str(fault)
    return None


def _state(entry: PluginEntry, project: ProjectSettings, fault: str | None, again: datetime | None) -> PluginState:
    if not entry.loaded or fault:
        return PluginState.FAILED
    if entry.name in project.disabled_plugins:
        return PluginState.DISABLED
    return PluginState.SET_ASIDE if again else PluginState.LOADED


def _last(entry: PluginEntry) -> str | None:
    return entry.agent.last_failure if isinstance(entry.agent, PluginAgent) else None


async def _days(services: PluginPageServices, member: Member) -> Mapping[str, list[AgentDay]]:
    """Today's statistics by agent."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    async with services.database.project(member.project_id) as session:
        days = await activity.agents_today(session, midnight)
    groups: dict[str, list[AgentDay]] = {}
    for day in days:
        groups.setdefault(services.coordinator.agent_of(day.agent), []).append(day)
    return groups
