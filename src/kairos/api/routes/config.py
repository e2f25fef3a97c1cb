"""Endpoints for the configuration: values and their sources, live changes, and history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from kairos import config_reference
from kairos.api.access.auth import Body, Member, NoProject, Principal, PrincipalDep, needs, require
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.config import ApplyMode
from kairos.config_reference import ValueSource, shown, source_of, value_of
from kairos.db.engine import Database
from kairos.db.repositories import configuration
from kairos.db.repositories.configuration import Version
from kairos.db.repositories.excerpts import EXCERPT
from kairos.orchestration.configuration.config_changes import PROJECT, Author, ChangeResult, ConfigChange, ConfigChanges
from kairos.orchestration.configuration.configuration import Configuration
from kairos.orchestration.configuration.plugin_rules import SETTINGS, shown_settings
from kairos.plugins.plugin_loader import PluginLoader
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, Scope
from kairos.text import LARGEST_INTEGER, JsonObject, Position, Text

routes = APIRouter(prefix="/api/config", tags=["configuration"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ConfigServices:
    database: Database
    configuration: Configuration
    config_changes: ConfigChanges
    plugins: PluginLoader


ServicesDep = Annotated[ConfigServices, depends_on(ConfigServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.CONFIG_READ))]


def config_editor(who: PrincipalDep) -> Principal:
    """A dependency: an operator, or a manager of the active project. Permissions on values are checked separately.

    Raises `NoProject`, `Forbidden`.
    """
    if not who.operator:
        if who.project_id is None:
            raise NoProject
        require(Permission.PROJECT_MANAGE, who)
    return who


config_editor.permission = Permission.PROJECT_MANAGE  # type: ignore[attr-defined]  # for tests that iterate over the routes
EditorDep = Annotated[Principal, Depends(config_editor)]


Why = Annotated[
    Text,
    Field(max_length=500, description="The reason, shown in the history and in the audit log."),
]


class ConfigScope(StrEnum):
    """The scope of a value: the whole system or one project."""

    SYSTEM = "system"
    PROJECT = "project"


class ValueOut(BaseModel):
    key: str = Field(description="Dotted key; keys of the active project begin with `project.`.")
    whose: ConfigScope
    kind: str = Field(description="Type and range as text.")
    value: Any = Field(description="The value in force on the responding daemon; secrets are masked.")
    default: Any
    source: ValueSource
    reach: ApplyMode = Field(description="live: within 2 s; restart: at the next start; file: not through the API.")
    description: str
    may_change: bool = Field(description="Whether you may change it.")
    waiting: bool = Field(description="Whether another value is set that this daemon applies at its next start.")


class ConfigOut(BaseModel):
    version: int = Field(description="Version of the system's values; 0 if nothing was changed through the API.")
    project_version: int
    values: list[ValueOut]


class ConfigBody(Body):
    changes: JsonObject = Field(
        min_length=1,
        description="Values by key, nested or dotted; null resets a key to file, environment or default.",
    )
    why: Why = ""
    version: Position | None = Field(None, description="The system's version on which the change is based.")
    project_version: Position | None = Field(None, description="The project's version on which the change is based.")
    dry_run: bool = Field(False, description="Only validate, and return what would change.")


class RevertBody(Body):
    whose: ConfigScope = ConfigScope.SYSTEM
    to: Position = Field(description="The version whose values are restored; 0 is the state before any change.")
    why: Why = ""
    version: Position = Field(description="The newest version that you know.")
    dry_run: bool = False


class Difference(BaseModel):
    before: Any
    after: Any


class ConfigChanged(BaseModel):
    version: int
    project_version: int
    changed: dict[str, Difference]
    restart: list[str] = Field(description="Changed keys that take effect at the next start.")
    dry_run: bool


class VersionOut(BaseModel):
    version: int
    at: datetime
    by: str | None = Field(description="E-mail of the author; null if you may not see it.")
    why: str
    changes: dict[str, Difference] = Field(
        description=f"Values longer than {EXCERPT} characters are replaced by their beginning as text."
    )


class VersionList(BaseModel):
    items: list[VersionOut]
    next: int | None = Field(description="`before` of the next page; null at the end.")


@routes.get("", responses=responses(401, 403, 409, 503))
async def show_config(services: ServicesDep, member: ReaderDep, principal: PrincipalDep) -> ConfigOut:
    """All values of the system and of the active project."""
    async with services.database.project(member.project_id) as session:
        newest = await configuration.newest(session, None)
        of_project = await configuration.newest_number(session, member.project_id)
    values = _system_values(services, newest, principal.operator)
    own = _project_values(member.project_settings, Permission.PROJECT_MANAGE in member.permissions)
    return ConfigOut(version=newest.number if newest else 0, project_version=of_project, values=[*values, *own])


@routes.patch("", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_config(services: ServicesDep, who: EditorDep, body: ConfigBody) -> ConfigChanged:
    """Change values while the system runs. Operators change the system's, admins and owners those of their project."""
    change = ConfigChange(body.changes, body.why, body.version, body.project_version, body.dry_run)
    return _changed(await services.config_changes.change(_author(who), change), body.dry_run)


@routes.get("/history", responses=responses(401, 403, 409, 422, 503))
async def show_history(
    services: ServicesDep,
    member: ReaderDep,
    whose: ConfigScope = ConfigScope.SYSTEM,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_INTEGER)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> VersionList:
    """The changes with author, time and reason, newest first."""
    of_project = member.project_id if whose is ConfigScope.PROJECT else None
    scope = Scope(member.project_id, member.user_id)
    found = await services.config_changes.history(scope, of_project, before, limit)
    return VersionList(
        items=[_version(version) for version in found], next=found[-1].number if len(found) == limit else None
    )


@routes.post("/revert", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def revert_config(services: ServicesDep, who: EditorDep, body: RevertBody) -> ConfigChanged:
    """Create a new version with the values of an old one."""
    of_project = ProjectId(who.project_id) if body.whose is ConfigScope.PROJECT and who.project_id else None
    if body.whose is ConfigScope.PROJECT and of_project is None:
        raise NoProject
    why = body.why or f"revert to version {body.to}"
    version, project_version = (None, body.version) if of_project else (body.version, None)
    change = ConfigChange({}, why, version, project_version, body.dry_run)
    return _changed(await services.config_changes.revert(_author(who), of_project, body.to, change), body.dry_run)


def _system_values(services: ConfigServices, newest: Version | None, operator: bool) -> list[ValueOut]:
    running, set_ = services.configuration, newest.values if newest else {}
    return [
        ValueOut(
            key=key.name,
            whose=ConfigScope.SYSTEM,
            kind=key.kind,
            value=_value(services, key.name),
            default=key.default,
            source=ValueSource.API if key.name in set_ else source_of(running.base, key),
            reach=key.reach,
            description=key.description,
            may_change=operator and key.reach is not ApplyMode.FILE,
            waiting=key.name in running.status.waiting,
        )
        for key in config_reference.by_name().values()
    ]


def _value(services: ConfigServices, key: str) -> Any:
    value = value_of(services.configuration.live.now, key)
    return shown_settings(services.plugins, value) if key == SETTINGS else shown(value)


def _project_values(stored: Any, manages: bool) -> list[ValueOut]:
    now, defaults = ProjectSettings.of(stored), ProjectSettings.of({})
    return [
        ValueOut(
            key=f"{PROJECT}{name}",
            whose=ConfigScope.PROJECT,
            kind=config_reference.kind_of(entry),
            value=shown(getattr(now, name)),
            default=shown(getattr(defaults, name)),
            source=ValueSource.API if getattr(now, name) != getattr(defaults, name) else ValueSource.DEFAULT,
            reach=ApplyMode.LIVE,
            description=entry.description or "",
            may_change=manages,
            waiting=False,
        )
        for name, entry in ProjectSettings.model_fields.items()
    ]


def _author(who: Principal) -> Author:
    manages = Permission.PROJECT_MANAGE in who.permissions
    return Author(who.user_id, who.operator, who.project_id, manages)


def _changed(changed: ChangeResult, dry_run: bool) -> ConfigChanged:
    return ConfigChanged(
        version=changed.version,
        project_version=changed.project_version,
        changed={key: Difference(**difference) for key, difference in changed.differences.items()},
        restart=list(changed.restart),
        dry_run=dry_run,
    )


def _version(version: Version) -> VersionOut:
    return VersionOut(
        version=version.number,
        at=version.at,
        by=version.by,
        why=version.why,
        changes={key: _excerpt(Difference(**difference)) for key, difference in version.changes.items()},
    )


def _excerpt(difference: Difference) -> Difference:
    """The difference with shortened values, so that a page of the history stays small."""
    texts = {name: orjson.dumps(value, default=str).decode() for name, value in difference.model_dump().items()}
    return difference.model_copy(update={name: text[:EXCERPT] for name, text in texts.items() if len(text) > EXCERPT})
