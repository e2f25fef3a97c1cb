"""Endpoints for members of the active project, their roles, and invitations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from kairos.api.access.auth import Body, Forbidden, Member, needs
from kairos.api.access.permissions import RANK, Permission
from kairos.api.access.public_address import link_base_for
from kairos.api.access.tokens import digest, new_secret
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import AuditAction, InvitationRow, Role
from kairos.db.repositories.access import members, people
from kairos.errors import KairosError, LimitReached, NotFound
from kairos.folding import email_forms
from kairos.tenancy import new_id
from kairos.text import Text

routes = APIRouter(prefix="/api", tags=["members"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class MemberServices:
    settings: Settings
    database: Database


ServicesDep = Annotated[MemberServices, depends_on(MemberServices)]

ReaderDep = Annotated[Member, Depends(needs(Permission.MEMBERS_READ))]
ManagerDep = Annotated[Member, Depends(needs(Permission.MEMBERS_MANAGE))]


class LastOwner(KairosError):
    """The project would have no owner. Make another member an owner first."""

    status, code, exit_code = 409, "last_owner", 5


class MemberOut(BaseModel):
    user_id: UUID
    email: str
    name: str
    role: Role
    since: datetime
    you: bool


class MemberList(BaseModel):
    items: list[MemberOut]


class RoleBody(Body):
    role: Role


class InvitationBody(Body):
    role: Role = Role.MEMBER
    email: Text | None = Field(
        None,
        max_length=320,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="The invited address; without it, the link is for anyone.",
    )
    days: int = Field(7, ge=1, le=90, description="Days until the link expires.")


class InvitationOut(BaseModel):
    id: UUID
    email: str | None
    role: Role
    created_at: datetime
    expires_at: datetime
    invited_by: str


class NewInvitation(InvitationOut):
    link: str = Field(description="Shown only once: send it to the person.")


class InvitationList(BaseModel):
    items: list[InvitationOut]


@routes.get("/members", responses=responses(401, 403, 409, 503))
async def list_members(services: ServicesDep, member: ReaderDep) -> MemberList:
    """All members of the project, oldest first."""
    async with services.database.project(member.project_id) as session:
        rows = await members.members(session, member.project_id)
    items = [
        MemberOut(
            user_id=row.user_id,
            email=row.email,
            name=row.name,
            role=row.role,
            since=row.since,
            you=row.user_id == member.user_id,
        )
        for row in rows
    ]
    return MemberList(items=items)


@routes.patch("/members/{user_id}", status_code=204, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_role(services: ServicesDep, member: ManagerDep, user_id: UUID, body: RoleBody) -> None:
    """Change a member's role. Nobody can grant or remove a role above their own, and one owner must remain."""
    async with services.database.project(member.project_id, member.user_id) as session:
        roles = await members.locked_roles(session, member.project_id)
        before = roles.get(user_id)
        if before is None:
            raise NotFound(what="member", id=user_id)
        _require_rank(member, before, body.role)
        _require_owner(roles | {user_id: body.role})
        await members.set_role(session, member.project_id, user_id, body.role)
        await people.audit(
            session,
            AuditAction.MEMBER_ROLE_CHANGED,
            user_id=member.user_id,
            project_id=member.project_id,
            target=str(user_id),
            data={"from": before, "to": body.role},
        )


@routes.delete("/members/{user_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_member(services: ServicesDep, member: ReaderDep, user_id: UUID) -> None:
    """Remove a member from the project, or leave it yourself. The member's API keys stop working."""
    leaving = user_id == member.user_id and member.session_id is not None
    if not leaving and Permission.MEMBERS_MANAGE not in member.permissions:
        raise Forbidden(needed=Permission.MEMBERS_MANAGE, who=f"the role {member.role}")
    async with services.database.project(member.project_id, member.user_id) as session:
        roles = await members.locked_roles(session, member.project_id)
        before = roles.pop(user_id, None)
        if before is None:
            raise NotFound(what="member", id=user_id)
        _require_rank(member, before)
        _require_owner(roles)
        await members.remove(session, member.project_id, user_id)
        await people.audit(
            session,
            AuditAction.MEMBER_LEFT if leaving else AuditAction.MEMBER_REMOVED,
            user_id=member.user_id,
            project_id=member.project_id,
            target=str(user_id),
            data={"role": before},
        )


@routes.get("/invitations", responses=responses(401, 403, 409, 503))
async def list_invitations(services: ServicesDep, member: ManagerDep) -> InvitationList:
    """All open invitations."""
    async with services.database.project(member.project_id) as session:
        rows = await members.open_invitations(session)
    return InvitationList(items=[_response(row, name) for row, name in rows])


@routes.post("/invitations", status_code=201, responses=responses(401, 403, 409, 413, 422, 503))
async def invite(services: ServicesDep, request: Request, member: ManagerDep, body: InvitationBody) -> NewInvitation:
    """Create a one-time link with which one person can join the project. No e-mail is sent."""
    _require_rank(member, body.role)
    token = new_secret()
    row = InvitationRow(
        project_id=member.project_id,
        id=new_id(),
        token_hash=digest(token),
        email=email_forms(body.email)[0] if body.email else None,
        role=body.role,
        created_by=member.user_id,
        expires_at=datetime.now(UTC) + timedelta(days=body.days),
    )
    most = services.settings.auth.invitations_per_project
    async with services.database.project(member.project_id, member.user_id) as session:
        await members.lock_project(session, member.project_id)
        if await members.count_invitations(session) >= most:
            raise LimitReached(most=most, what="open invitations", key="auth.invitations_per_project")
        row = await members.add_invitation(session, row)
        me = await people.user(session, member.user_id)
        await people.audit(
            session,
            AuditAction.MEMBER_INVITED,
            user_id=member.user_id,
            project_id=member.project_id,
            target=row.email,
            data={"role": body.role, "invitation": str(row.id)},
        )
    shown = _response(row, me.name if me else "")
    return NewInvitation(**shown.model_dump(), link=f"{link_base_for(request)}/join#{token}")


@routes.delete("/invitations/{invitation_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def revoke_invitation(services: ServicesDep, member: ManagerDep, invitation_id: UUID) -> None:
    """Revoke an invitation."""
    async with services.database.project(member.project_id, member.user_id) as session:
        if not await members.revoke_invitation(session, invitation_id):
            raise NotFound(what="invitation", id=invitation_id)
        await people.audit(
            session,
            AuditAction.MEMBER_INVITATION_REVOKED,
            user_id=member.user_id,
            project_id=member.project_id,
            target=str(invitation_id),
        )


def _require_rank(member: Member, *roles: Role) -> None:
    """Raise `Forbidden` if one of the roles is above the member's own."""
    if any(RANK[role] > RANK[member.role] for role in roles):
        raise Forbidden(needed=Permission.PROJECT_DELETE, who=f"the role {member.role}")


def _require_owner(roles: dict[UUID, Role]) -> None:
    if Role.OWNER not in roles.values():
        raise LastOwner


def _response(row: InvitationRow, invited_by: str) -> InvitationOut:
    return InvitationOut(
        id=row.id,
        email=row.email,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        invited_by=invited_by,
    )
