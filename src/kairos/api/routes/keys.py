"""Endpoints for API keys of the active project: create, list, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from kairos.api.access.api_keys import new_key
from kairos.api.access.auth import Body, Forbidden, Member, needs
from kairos.api.access.permissions import NOT_FOR_KEYS, Permission
from kairos.api.access.tokens import TokenKeys
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import ApiKeyRow, AuditAction
from kairos.db.repositories.access import members, people
from kairos.errors import InvalidInput, LimitReached, NotFound
from kairos.tenancy import new_id
from kairos.text import Text

routes = APIRouter(prefix="/api/keys", tags=["keys"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class KeyServices:
    settings: Settings
    database: Database
    keys: TokenKeys


ServicesDep = Annotated[KeyServices, depends_on(KeyServices)]

ManagerDep = Annotated[Member, Depends(needs(Permission.KEYS_MANAGE))]


class KeyBody(Body):
    name: Text = Field(min_length=1, max_length=100, pattern=r"\S", examples=["nightly build"])
    scopes: list[Permission] = Field(min_length=1, max_length=20, examples=[["tasks:read", "tasks:write"]])
    days: int | None = Field(
        None, ge=1, le=3650, description="Days until it expires; without it, the key does not expire."
    )


class KeyOut(BaseModel):
    id: UUID
    name: str
    prefix: str
    scopes: list[Permission]
    created_at: datetime
    created_by: str = Field(description="E-mail of the creator, whose current permissions limit the key.")
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Accurate to the minute.")


class NewKey(KeyOut):
    key: str = Field(description="Shown only once.")


class KeyList(BaseModel):
    items: list[KeyOut]


@routes.get("", responses=responses(401, 403, 409, 503))
async def list_keys(services: ServicesDep, member: ManagerDep) -> KeyList:
    """The project's keys, without revoked ones, newest first."""
    async with services.database.project(member.project_id) as session:
        rows = await members.live_keys(session)
    return KeyList(items=[_response(row, email) for row, email in rows])


@routes.post("", status_code=201, responses=responses(401, 403, 409, 413, 422, 503))
async def create_key(services: ServicesDep, member: ManagerDep, body: KeyBody) -> NewKey:
    """Create a key for this project. Its text is returned only here."""
    scopes = sorted(set(body.scopes))
    if refused := NOT_FOR_KEYS.intersection(scopes):
        raise InvalidInput(
            where="scopes", problem=f"API keys cannot have {', '.join(sorted(refused))}", remedy="Leave it out"
        )
    for scope in scopes:
        if scope not in member.permissions:
            raise Forbidden(needed=scope, who=f"the role {member.role}")
    text, prefix = new_key()
    row = ApiKeyRow(
        project_id=member.project_id,
        id=new_id(),
        name=body.name.strip(),
        prefix=prefix,
        key_hash=await services.keys.keyed_hash(text),
        scopes=[str(scope) for scope in scopes],
        created_by=member.user_id,
        expires_at=datetime.now(UTC) + timedelta(days=body.days) if body.days else None,
    )
    most = services.settings.auth.keys_per_project
    async with services.database.project(member.project_id, member.user_id) as session:
        await members.lock_project(session, member.project_id)
        if await members.count_keys(session) >= most:
            raise LimitReached(most=most, what="API keys", key="auth.keys_per_project")
        row = await members.add_key(session, row)
        me = await people.user(session, member.user_id)
        await people.audit(
            session,
            AuditAction.KEY_CREATED,
            user_id=member.user_id,
            project_id=member.project_id,
            target=row.name,
            data={"prefix": prefix, "scopes": row.scopes},
        )
    return NewKey(**_response(row, me.email if me else "").model_dump(), key=text)


@routes.delete("/{key_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def revoke_key(services: ServicesDep, member: ManagerDep, key_id: UUID) -> None:
    """Revoke a key with immediate effect."""
    async with services.database.project(member.project_id, member.user_id) as session:
        name = await members.revoke_key(session, key_id)
        if name is None:
            raise NotFound(what="key", id=key_id)
        await people.audit(
            session, AuditAction.KEY_REVOKED, user_id=member.user_id, project_id=member.project_id, target=name
        )


def _response(row: ApiKeyRow, created_by: str) -> KeyOut:
    return KeyOut(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=[Permission(scope) for scope in row.scopes],
        created_at=row.created_at,
        created_by=created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
