"""Endpoints to join a project by an invitation: show it, register with it, or accept it with an existing account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from kairos.api.access.accounts import Accounts
from kairos.api.access.auth import Body, PersonDep
from kairos.api.access.tokens import digest
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.api.routes.sign_in import AsCookie, Password, Tokens, client_of, token_response
from kairos.config import Settings
from kairos.db.engine import Database, Session
from kairos.db.models import AuditAction, Role
from kairos.db.repositories.access import members, passwords, people
from kairos.errors import InvalidInput, KairosError
from kairos.folding import fold_email
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId, new_id
from kairos.text import Text

routes = APIRouter(prefix="/api/auth", tags=["auth"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class JoiningServices:
    settings: Settings
    database: Database
    accounts: Accounts


ServicesDep = Annotated[JoiningServices, depends_on(JoiningServices)]

LinkToken = Annotated[
    Text, Field(max_length=200, description="The token from the invitation link.", examples=["q1w2e3…"])
]


class InvitationGone(KairosError):
    """The invitation was already used or revoked, has expired, or is not valid. Ask for a new link."""

    status, code, exit_code = 404, "invitation_gone", 4


class NotYourInvitation(KairosError):
    """The invitation is for {email}, but you are signed in as {yours}. Sign in as {email}, or ask for another link."""

    status, code, exit_code = 409, "not_your_invitation", 5


class MemberAlready(KairosError):
    """You are already a member of this project. Switch to it."""

    status, code, exit_code = 409, "member_already", 5


class EmailTaken(KairosError):
    """There is already an account with this e-mail. Sign in with it, then open the invitation link again."""

    status, code, exit_code = 409, "email_taken", 5


class TokenBody(Body):
    token: LinkToken


class RegisterBody(Body):
    token: LinkToken
    email: Text = Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$", examples=["ada@example.org"])
    name: Text = Field(min_length=1, max_length=100, pattern=r"\S", examples=["Ada"])
    password: Password
    cookie: AsCookie = False


class InvitedTo(BaseModel):
    project_name: str
    role: Role
    email: str | None = Field(description="The invited address; null if the link is for anyone.")
    invited_by: str
    expires_at: datetime


class Joined(BaseModel):
    project_id: UUID
    project_name: str
    role: Role


@routes.post("/invitation", responses=responses(404, 413, 422, 503))
async def show_invitation(services: ServicesDep, body: TokenBody) -> InvitedTo:
    """The project and role of an invitation."""
    return InvitedTo.model_validate(await _open(services, body.token), from_attributes=True)


@routes.post("/register", responses=responses(404, 409, 413, 422, 429, 503))
async def register(services: ServicesDep, request: Request, response: Response, body: RegisterBody) -> Tokens:
    """Create an account with an invitation, join its project, and sign in."""
    invitation = await _open(services, body.token)
    if invitation.email and fold_email(invitation.email) != fold_email(body.email):
        raise InvalidInput(
            where="email", problem=f"the invitation is for {invitation.email}", remedy="Use that address"
        )
    async with services.database.system() as connection:
        if await passwords.by_email(connection, body.email):
            raise EmailTaken
    hashed = await services.accounts.first_hash(digest(body.token), body.password, body.email, body.name)
    user_id = UserId(new_id())
    async with services.database.scope(Scope(ProjectId(invitation.project_id), user_id)) as session:
        name = body.name.strip()
        await people.add_user(session, user_id, body.email, name, operator=False, password_hash=hashed)
        await people.audit(session, AuditAction.USER_CREATED, user_id=user_id, target=fold_email(body.email))
        await _join(session, invitation, user_id)
    signed_in = await services.accounts.open_session(user_id, client_of(request), ProjectId(invitation.project_id))
    return token_response(signed_in, services.settings, request, response, body.cookie)


@routes.post("/accept", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def accept(services: ServicesDep, who: PersonDep, body: TokenBody) -> Joined:
    """Join the project of an invitation with your current account."""
    invitation = await _open(services, body.token)
    if not await _is_for(services, invitation, who.user_id):
        raise NotYourInvitation(email=invitation.email, yours=who.email)
    project_id = ProjectId(invitation.project_id)
    async with services.database.scope(Scope(project_id, who.user_id)) as session:
        if who.user_id in await members.locked_roles(session, project_id):
            raise MemberAlready
        await _join(session, invitation, who.user_id)
    return Joined(project_id=project_id, project_name=invitation.project_name, role=invitation.role)


async def _is_for(services: JoiningServices, invitation: members.OpenInvitation, user_id: UserId) -> bool:
    """Whether the invitation is open to anyone, or its address belongs to the account."""
    if invitation.email is None:
        return True
    async with services.database.system() as connection:
        account = await passwords.by_email(connection, invitation.email)
    return account is not None and account.id == user_id


async def _open(services: JoiningServices, token: str) -> members.OpenInvitation:
    async with services.database.scope(NOBODY) as session:
        invitation = await members.invitation_by_token(session, digest(token))
    if invitation is None:
        raise InvitationGone
    return invitation


async def _join(session: Session, invitation: members.OpenInvitation, user_id: UserId) -> None:
    if not await members.accept_invitation(session, invitation.id, user_id):
        raise InvitationGone
    await members.add_member(session, invitation.project_id, user_id, invitation.role)
    await people.audit(
        session,
        AuditAction.MEMBER_JOINED,
        user_id=user_id,
        project_id=invitation.project_id,
        target=str(user_id),
        data={"role": invitation.role, "invited_by": invitation.invited_by},
    )
