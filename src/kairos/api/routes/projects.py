"""Endpoints for the caller's projects: list, create, switch, change, archive, export, delete."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from kairos.agents.checks.isolation import HostIsolation
from kairos.api.access.accounts import Accounts
from kairos.api.access.auth import Body, Forbidden, PersonDep, PrincipalDep
from kairos.api.access.permissions import Permission, granted
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.live.event_feed import EventFeed
from kairos.api.live.event_listener import Right
from kairos.api.live.watched_download import WatchedDownload
from kairos.api.problems import responses
from kairos.api.routes.health import IsolationOut
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import AuditAction, Role
from kairos.db.repositories.access import people
from kairos.db.repositories.projects import projects
from kairos.errors import InvalidInput, LimitReached, NotFound
from kairos.orchestration.configuration.config_changes import write_project
from kairos.orchestration.configuration.plugin_rules import check_project
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.projects.project_export import Exports
from kairos.plugins.plugin_loader import PluginLoader
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, Scope, UserId, new_id
from kairos.text import Text

routes = APIRouter(prefix="/api/projects", tags=["projects"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class ProjectServices:
    settings: Settings
    database: Database
    accounts: Accounts
    events: EventFeed
    limits: ProjectLimits
    exports: Exports
    plugins: PluginLoader
    isolation: HostIsolation


ServicesDep = Annotated[ProjectServices, depends_on(ProjectServices)]

Name = Annotated[Text, Field(min_length=1, max_length=100, pattern=r"\S", examples=["Search team"])]
ARCHIVE = "application/gzip"


class ProjectBody(Body):
    name: Name


class ProjectChanges(Body):
    """Changes of a project; omitted fields are unchanged."""

    name: Name | None = None
    settings: ProjectSettings | None = Field(None, description="Omitted settings are unchanged.")


class ProjectOut(BaseModel):
    id: UUID
    name: str
    role: Role
    active: bool = Field(description="Whether it is the project of the token in use.")
    created_at: datetime
    archived_at: datetime | None


class ProjectDetail(ProjectOut):
    settings: ProjectSettings
    isolation: IsolationOut


class ProjectList(BaseModel):
    items: list[ProjectOut]


class Switched(BaseModel):
    access_token: str = Field(description="For the new project; the old token stays valid for the old one.")
    expires_in: int = Field(description="Seconds.")
    project_id: UUID


@dataclass(frozen=True, slots=True)
class ProjectMember:
    """The caller as a member of the project in the path, which need not be the active one."""

    user_id: UserId
    project_id: ProjectId
    active: ProjectId | None
    project: projects.MemberProject
    right: Right

    @property
    def scope(self) -> Scope:
        return Scope(self.project_id, self.user_id)


def project_member(permission: Permission) -> Callable[..., Coroutine[Any, Any, ProjectMember]]:
    """A dependency: a member of the project in the path, with this permission.

    Raises `NotFound` for non-members, exactly as for a project that does not exist, and `Forbidden`.
    """

    async def member(services: ServicesDep, principal: PrincipalDep, project_id: UUID) -> ProjectMember:
        by_key = principal.session_id is None
        async with services.database.scope(Scope(user_id=principal.user_id)) as session:
            found = await projects.member_project(session, principal.user_id, project_id)
        if found is None or (by_key and principal.project_id != project_id):
            raise NotFound(what="project", id=project_id)
        if permission not in (principal.permissions if by_key else granted(found.role)):
            who = f"the key {principal.name!r}" if by_key else f"the role {found.role}"
            raise Forbidden(needed=permission, who=who)
        right = Right(principal.user_id, principal.session_id, ProjectId(project_id), principal.key_id)
        return ProjectMember(principal.user_id, ProjectId(project_id), principal.project_id, found, right)

    member.permission = permission  # type: ignore[attr-defined]  # for tests that iterate over the routes
    return member


ReaderDep = Annotated[ProjectMember, Depends(project_member(Permission.TASKS_READ))]
ManagerDep = Annotated[ProjectMember, Depends(project_member(Permission.PROJECT_MANAGE))]
ExporterDep = Annotated[ProjectMember, Depends(project_member(Permission.PROJECT_EXPORT))]
DeleterDep = Annotated[ProjectMember, Depends(project_member(Permission.PROJECT_DELETE))]


@routes.get("", responses=responses(401, 503))
async def list_projects(services: ServicesDep, who: PrincipalDep) -> ProjectList:
    """The projects of which you are a member, oldest first; for an API key, its own project."""
    async with services.database.scope(Scope(user_id=who.user_id)) as session:
        mine = await people.projects_of(session, who.user_id)
    if who.key_id is not None:
        mine = [project for project in mine if project.id == who.project_id]
    return ProjectList(items=[_response(project, who.project_id) for project in mine])


@routes.post("", status_code=201, responses=responses(401, 403, 409, 413, 422, 503))
async def create_project(services: ServicesDep, who: PersonDep, body: ProjectBody) -> ProjectOut:
    """Create a project; you become its owner."""
    project_id = ProjectId(new_id())
    most = services.settings.auth.projects_per_user
    async with services.database.scope(Scope(project_id, who.user_id)) as session:
        await people.lock(session, who.user_id)
        if await people.owned_projects(session, who.user_id) >= most:
            raise LimitReached(most=most, what="projects that you own", key="auth.projects_per_user")
        await people.add_project(session, project_id, body.name.strip(), who.user_id)
        await people.audit(
            session, AuditAction.PROJECT_CREATED, user_id=who.user_id, project_id=project_id, target=body.name.strip()
        )
        mine = await people.projects_of(session, who.user_id)
    return next(_response(project, who.project_id) for project in mine if project.id == project_id)


@routes.get("/{project_id}", responses=responses(401, 403, 404, 422, 503))
async def show_project(services: ServicesDep, member: ReaderDep) -> ProjectDetail:
    """A project with its settings, and the isolation of supplied tests on the responding daemon."""
    return await _detail(services, member.project, member)


@routes.patch("/{project_id}", responses=responses(401, 403, 404, 413, 422, 503))
async def change_project(services: ServicesDep, member: ManagerDep, body: ProjectChanges) -> ProjectDetail:
    """Rename a project, or change its settings. Limits take effect at once on all daemons.

    The configuration of a plugin must satisfy its schema.
    """
    if body.settings:  # before the transaction: validation may take a while, and its result is cached
        known = ProjectSettings.of(member.project.settings)
        await check_project(services.plugins, known, known.changed(body.settings))
    async with services.database.scope(member.scope) as session:
        row = await projects.locked(session, member.project_id)
        if row is None:
            raise NotFound(what="project", id=member.project_id)
        before = ProjectSettings.of(row.settings)
        after = before.changed(body.settings) if body.settings else before
        await check_project(services.plugins, before, after)
        await write_project(session, member.scope, row, after, why="", name=body.name and body.name.strip())
    await services.limits.changed(member.project_id)
    return await _detail(services, await _reload(services, member), member)


@routes.post("/{project_id}/archive", responses=responses(401, 403, 404, 422, 503))
async def archive_project(services: ServicesDep, member: ManagerDep) -> ProjectOut:
    """Archive a project: it accepts no tasks. Running tasks finish; queued ones wait until it is restored."""
    return await _set_archived(services, member, True)


@routes.post("/{project_id}/restore", responses=responses(401, 403, 404, 422, 503))
async def restore_project(services: ServicesDep, member: ManagerDep) -> ProjectOut:
    """Restore an archived project and continue its queued tasks."""
    return await _set_archived(services, member, False)


@routes.delete("/{project_id}", status_code=202, responses=responses(401, 403, 404, 422, 503))
async def delete_project(
    services: ServicesDep,
    member: DeleterDep,
    confirm: Annotated[Text, Query(max_length=100, description="The project's name, as confirmation.")],
) -> None:
    """Delete a project immediately. Its rows, keys and files are erased permanently in the background."""
    async with services.database.scope(member.scope) as session:
        row = await projects.locked(session, member.project_id)
        if row is None:
            raise NotFound(what="project", id=member.project_id)
        if confirm != row.name:
            raise InvalidInput(where="confirm", problem="it is not the project's name", remedy="Enter it exactly")
        await projects.mark_deleted(session, member.project_id)
        # In the installation's log: the project's own entries are erased with it, and the id reveals nothing.
        await people.audit(session, AuditAction.PROJECT_DELETED, user_id=member.user_id, target=str(member.project_id))
    await services.limits.changed(member.project_id)


@routes.get(
    "/{project_id}/export",
    response_class=StreamingResponse,
    responses={**responses(401, 403, 404, 422, 503), 200: {"content": {ARCHIVE: {}}}},
)
async def export_project(services: ServicesDep, member: ExporterDep) -> Response:
    """Export all data of a project as a .tar.gz with JSON lines for each table and a manifest. It is streamed."""
    await services.exports.ready()
    async with services.database.scope(member.scope) as session:
        await people.audit(session, AuditAction.PROJECT_EXPORTED, user_id=member.user_id, project_id=member.project_id)
    name = f"kairos-{member.project_id}-{datetime.now(UTC):%Y%m%d}.tar.gz"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    archive = StreamingResponse(services.exports.stream(member.project_id), media_type=ARCHIVE, headers=headers)
    return WatchedDownload(archive, services.events, member.right)


@routes.post("/{project_id}/switch", responses=responses(401, 403, 404, 422, 503))
async def switch_project(services: ServicesDep, who: PersonDep, project_id: UUID) -> Switched:
    """An access token for another of your projects; 404 for projects of which you are not a member."""
    async with services.database.scope(Scope(user_id=who.user_id)) as session:
        mine = {project.id for project in await people.projects_of(session, who.user_id)}
    if project_id not in mine:
        raise NotFound(what="project", id=project_id)
    token = await services.accounts.switch(who.user_id, who.session_id, ProjectId(project_id))
    return Switched(access_token=token, expires_in=services.accounts.access_life_s, project_id=project_id)


async def _set_archived(services: ProjectServices, member: ProjectMember, archived: bool) -> ProjectOut:
    async with services.database.scope(member.scope) as session:
        row = await projects.locked(session, member.project_id)
        if row is None:
            raise NotFound(what="project", id=member.project_id)
        if (row.archived_at is not None) != archived:
            await projects.set_archived(session, member.project_id, archived)
            action = AuditAction.PROJECT_ARCHIVED if archived else AuditAction.PROJECT_RESTORED
            await people.audit(session, action, user_id=member.user_id, project_id=member.project_id)
    await services.limits.changed(member.project_id)
    return _response(await _reload(services, member), member.active)


async def _reload(services: ProjectServices, member: ProjectMember) -> projects.MemberProject:
    """The project after the change. Raises `NotFound` if it was deleted meanwhile."""
    async with services.database.scope(Scope(user_id=member.user_id)) as session:
        found = await projects.member_project(session, member.user_id, member.project_id)
    if found is None:
        raise NotFound(what="project", id=member.project_id)
    return found


def _response(project: people.MyProject | projects.MemberProject, active: UUID | None) -> ProjectOut:
    return ProjectOut(
        id=project.id,
        name=project.name,
        role=project.role,
        active=project.id == active,
        created_at=project.created_at,
        archived_at=project.archived_at,
    )


async def _detail(services: ProjectServices, project: projects.MemberProject, member: ProjectMember) -> ProjectDetail:
    shown = _response(project, member.active)
    isolation = IsolationOut.of(await services.isolation.status())
    return ProjectDetail(**shown.model_dump(), settings=ProjectSettings.of(project.settings), isolation=isolation)
