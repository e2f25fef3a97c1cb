"""Endpoints for operators: accounts and signing keys of the installation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from kairos.api.access.accounts import Accounts
from kairos.api.access.auth import Body, OperatorDep
from kairos.api.access.public_address import link_base_for
from kairos.api.access.tokens import TokenKeys
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories.access import people, sessions
from kairos.errors import KairosError, NotFound
from kairos.tenancy import Scope, UserId

routes = APIRouter(prefix="/api", tags=["operators"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class UserServices:
    database: Database
    keys: TokenKeys
    accounts: Accounts


ServicesDep = Annotated[UserServices, depends_on(UserServices)]


class LastOperator(KairosError):
    """The installation would have no operator. Make another account an operator first."""

    status, code, exit_code = 409, "last_operator", 5


class UserOut(BaseModel):
    id: UUID
    email: str
    name: str
    operator: bool
    disabled: bool
    created_at: datetime
    projects: int


class UserList(BaseModel):
    items: list[UserOut]


class UserBody(Body):
    operator: bool | None = None
    disabled: bool | None = None


class EmailBody(Body):
    email: str = Field(max_length=320, description="The account's e-mail.", examples=["admin@localhost"])


class ResetLink(BaseModel):
    link: str
    expires_at: datetime


class RotatedKey(BaseModel):
    kid: str


@routes.get("/users", responses=responses(401, 403, 503))
async def list_users(services: ServicesDep, who: OperatorDep) -> UserList:
    """All accounts."""
    async with services.database.scope(Scope(user_id=who.user_id, operator=True)) as session:
        rows = await people.all_users(session)
    items = [
        UserOut(
            id=row.id,
            email=row.email,
            name=row.name,
            operator=row.operator,
            disabled=row.disabled_at is not None,
            created_at=row.created_at,
            projects=number,
        )
        for row, number in rows
    ]
    return UserList(items=items)


@routes.patch("/users/{user_id}", status_code=204, responses=responses(401, 403, 404, 409, 413, 422, 503))
async def change_user(services: ServicesDep, who: OperatorDep, user_id: UUID, body: UserBody) -> None:
    """Grant or revoke operator rights; disable an account, which ends its sessions, or enable it."""
    async with services.database.scope(Scope(user_id=who.user_id, operator=True)) as session:
        operators = await people.locked_operators(session)
        user = await people.user(session, user_id)
        if user is None:
            raise NotFound(what="user", id=user_id)
        operator = user.operator if body.operator is None else body.operator
        disabled = user.disabled_at is not None if body.disabled is None else body.disabled
        left = operators | {user_id} if operator and not disabled else operators - {user_id}
        if not left:
            raise LastOperator
        await people.set_account_flags(session, user_id, operator=operator, disabled=disabled)
        if disabled:
            await sessions.revoke_all(session, user_id)
        await people.audit(
            session,
            AuditAction.USER_CHANGED,
            user_id=who.user_id,
            target=user.email,
            data={"operator": operator, "disabled": disabled},
        )


@routes.post("/users/{user_id}/reset-link", responses=responses(401, 403, 404, 409, 422, 503))
async def reset_link(services: ServicesDep, request: Request, who: OperatorDep, user_id: UUID) -> ResetLink:
    """Create a one-time link with which a user can set a new password. No e-mail is sent."""
    token, expires_at = await services.accounts.reset_link(who.user_id, UserId(user_id))
    return ResetLink(link=f"{link_base_for(request)}/reset#{token}", expires_at=expires_at)


@routes.post("/users/reset-link", responses=responses(401, 403, 404, 409, 413, 422, 503))
async def reset_link_by_email(services: ServicesDep, request: Request, who: OperatorDep, body: EmailBody) -> ResetLink:
    """Create a reset link for the account with this e-mail, as `kairos user reset-password` does."""
    async with services.database.scope(Scope(user_id=who.user_id, operator=True)) as session:
        user_id = await people.id_of_email(session, body.email)
    if user_id is None:
        raise NotFound(what="user", id=body.email)
    return await reset_link(services, request, who, user_id)


@routes.post("/system/signing-keys/rotate", responses=responses(401, 403, 503))
async def rotate_signing_key(services: ServicesDep, who: OperatorDep) -> RotatedKey:
    """Create a new signing key for access tokens; existing tokens stay valid until they expire."""
    kid = await services.keys.rotate(services.accounts.access_life_s)
    async with services.database.scope(Scope(user_id=who.user_id, operator=True)) as session:
        await people.audit(session, AuditAction.SIGNING_KEY_ROTATED, user_id=who.user_id, target=kid)
    return RotatedKey(kid=kid)
