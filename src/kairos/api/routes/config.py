"""The configuration: every value with its source, changes while the system runs, and what each replica runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from kairos import config_reference
from kairos.api.access.auth import Body, Member, NoProject, Principal, PrincipalDep, needs, require
from kairos.api.access.permissions import Permission
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.services import Services, ServicesDep
from kairos.config import ApplyMode
from kairos.config_reference import ValueSource, shown, source_of, value_of
from kairos.db.repositories import configuration, replicas
from kairos.db.repositories.configuration import Version
from kairos.db.repositories.excerpts import EXCERPT
from kairos.orchestration.configuration.config_changes import PROJECT, Author, ChangeResult, ConfigChange
from kairos.orchestration.configuration.plugin_rules import SETTINGS, shown_settings
from kairos.orchestration.configuration.project_settings import ProjectSettings
from kairos.tenancy import NOBODY, ProjectId, Scope
from kairos.text import LARGEST_INTEGER, JsonObject, Position, Text

routes = APIRouter(prefix="/api/config", tags=["configuration"], route_class=JsonRoute)

ReaderDep = Annotated[Member, Depends(needs(Permission.CONFIG_READ))]


def changer(who: PrincipalDep) -> Principal:
    """A dependency: an operator, or somebody who manages the active project. Which values they may change is decided by
    the values. Raises `NoProject`, `Forbidden`."""
    if not who.operator:
        if who.project_id is None:
            raise NoProject
        require(Permission.PROJECT_MANAGE, who)
    return who


changer.permission = Permission.PROJECT_MANAGE  # type: ignore[attr-defined]  # for the tests that walk the routes
ChangerDep = Annotated[Principal, Depends(changer)]


Why = Annotated[
    Text,
    Field(max_length=500, description="Stands in the history and in the audit log."),
]


class Whose(StrEnum):
    SYSTEM = "system"
    PROJECT = "project"


class ValueOut(BaseModel):
    key: str = Field(description="Dotted; those of the active project begin with `project.`.")
    whose: Whose
    kind: str = Field(description="Type and range in words.")
    value: Any = Field(description="In force in the replica that answers; of a secret only whether it is set.")
    default: Any
    source: ValueSource
    reach: ApplyMode = Field(description="live: within 2 s; restart: at the next start; file: not through the API.")
    description: str
    may_change: bool = Field(description="Whether you may.")
    waiting: bool = Field(description="Whether another value is set, which this replica takes at its next start.")


class ConfigOut(BaseModel):
    version: int = Field(description="Of the system's values; 0 where nothing was set above file and environment.")
    project_version: int
    values: list[ValueOut]


class ConfigBody(Body):
    changes: JsonObject = Field(
        min_length=1,
        description="Values by key, nested or dotted; null takes one back to file, environment or default.",
    )
    why: Why = ""
    version: Position | None = Field(None, description="The system's version that the change was made for.")
    project_version: Position | None = Field(None, description="The project's, where its values change.")
    dry_run: bool = Field(False, description="Validate, and say what would change.")


class RevertBody(Body):
    whose: Whose = Whose.SYSTEM
    to: Position = Field(description="The version whose values hold again; 0 is before anything was set.")
    why: Why = ""
    version: Position = Field(description="The newest one that you know of.")
    dry_run: bool = False


class Difference(BaseModel):
    before: Any
    after: Any


class ConfigChanged(BaseModel):
    version: int
    project_version: int
    changed: dict[str, Difference]
    restart: list[str] = Field(description="Those of the changed values that take effect at the next start.")
    dry_run: bool


class VersionOut(BaseModel):
    version: int
    at: datetime
    by: str | None = Field(description="E-mail; null where you may not see that person.")
    why: str
    changes: dict[str, Difference] = Field(
        description=f"Of a value longer than {EXCERPT} characters its beginning as text."
    )


class VersionList(BaseModel):
    items: list[VersionOut]
    next: int | None = Field(description="`before` of the next page; null at the end.")


class ReplicaOut(BaseModel):
    name: str
    role: str
    alive: bool
    slots: int
    heartbeat_at: datetime
    version: int = Field(description="Of the configuration that it runs.")
    newest: bool = Field(description="Whether that is the newest.")
    error: str | None = Field(description="Why it runs no newer one.")
    waiting: list[str] = Field(description="Keys whose new values it takes at its next start.")


class ReplicaList(BaseModel):
    version: int = Field(description="The newest.")
    items: list[ReplicaOut]


@routes.get("", responses=responses(401, 403, 409, 503))
async def show_config(services: ServicesDep, member: ReaderDep, principal: PrincipalDep) -> ConfigOut:
    """Every value of the system and of the active project."""
    async with services.database.project(member.project_id) as session:
        newest = await configuration.newest(session, None)
        of_project = await configuration.newest_number(session, member.project_id)
    values = _system_values(services, newest, principal.operator)
    own = _project_values(member.project_settings, Permission.PROJECT_MANAGE in member.permissions)
    return ConfigOut(version=newest.number if newest else 0, project_version=of_project, values=[*values, *own])


@routes.patch("", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_config(services: ServicesDep, who: ChangerDep, body: ConfigBody) -> ConfigChanged:
    """Set values while the system runs. Operators change the system's, admins and owners those of their project."""
    change = ConfigChange(body.changes, body.why, body.version, body.project_version, body.dry_run)
    return _changed(await services.config_changes.change(_author(who), change), body.dry_run)


@routes.get("/history", responses=responses(401, 403, 409, 422, 503))
async def show_history(
    services: ServicesDep,
    member: ReaderDep,
    whose: Whose = Whose.SYSTEM,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_INTEGER)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> VersionList:
    """Who set what, when and why, newest first."""
    of_project = member.project_id if whose is Whose.PROJECT else None
    scope = Scope(member.project_id, member.user_id)
    found = await services.config_changes.history(scope, of_project, before, limit)
    return VersionList(
        items=[_version(version) for version in found], next=found[-1].number if len(found) == limit else None
    )


@routes.post("/revert", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def revert_config(services: ServicesDep, who: ChangerDep, body: RevertBody) -> ConfigChanged:
    """Make a new version of what held in an old one."""
    of_project = ProjectId(who.project_id) if body.whose is Whose.PROJECT and who.project_id else None
    if body.whose is Whose.PROJECT and of_project is None:
        raise NoProject
    why = body.why or f"back to version {body.to}"
    version, project_version = (None, body.version) if of_project else (body.version, None)
    change = ConfigChange({}, why, version, project_version, body.dry_run)
    return _changed(await services.config_changes.revert(_author(who), of_project, body.to, change), body.dry_run)


@routes.get("/replicas", responses=responses(401, 403, 409, 503))
async def show_replicas(services: ServicesDep, member: ReaderDep) -> ReplicaList:
    """The daemons, and the version of the configuration that each runs."""
    del member  # daemons and versions are of no project
    async with services.database.scope(NOBODY) as session:
        newest = await configuration.newest_number(session, None)
        known = await replicas.known(session)
    items = [
        ReplicaOut(
            name=replica.name,
            role=replica.role,
            alive=replica.alive,
            slots=replica.slots,
            heartbeat_at=replica.heartbeat_at,
            version=replica.config_version,
            newest=replica.config_version == newest,
            error=replica.config_error,
            waiting=replica.config_waiting,
        )
        for replica in known
    ]
    return ReplicaList(version=newest, items=items)


def _system_values(services: Services, newest: Version | None, operator: bool) -> list[ValueOut]:
    running, set_ = services.configuration, newest.values if newest else {}
    return [
        ValueOut(
            key=key.name,
            whose=Whose.SYSTEM,
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


def _value(services: Services, key: str) -> Any:
    value = value_of(services.configuration.live.now, key)
    return shown_settings(services.plugins, value) if key == SETTINGS else shown(value)


def _project_values(stored: Any, manages: bool) -> list[ValueOut]:
    now, defaults = ProjectSettings.of(stored), ProjectSettings.of({})
    return [
        ValueOut(
            key=f"{PROJECT}{name}",
            whose=Whose.PROJECT,
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
    """The difference without long values: a page of the history must not carry megabytes of every version."""
    texts = {name: orjson.dumps(value, default=str).decode() for name, value in difference.model_dump().items()}
    return difference.model_copy(update={name: text[:EXCERPT] for name, text in texts.items() if len(text) > EXCERPT})
