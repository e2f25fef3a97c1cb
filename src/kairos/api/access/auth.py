"""FastAPI dependencies for authentication and permissions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from kairos.api.access import api_keys
from kairos.api.access.permissions import Permission, granted
from kairos.api.access.tokens import TokenKeys, Unauthenticated
from kairos.api.components import depends_on
from kairos.api.live.event_listener import Right
from kairos.db.engine import Database
from kairos.db.models import Role
from kairos.db.repositories.access import people
from kairos.errors import KairosError
from kairos.tenancy import ProjectId, Scope, UserId


class Forbidden(KairosError):
    """This needs the permission {needed}, which {who} does not have here. Ask an owner of the project."""

    status, code, exit_code = 403, "forbidden", 6


class NoProject(KairosError):
    """The session has no active project. Switch to one: POST /api/projects/{{id}}/switch, or `kairos project use`."""

    status, code, exit_code = 409, "no_project", 5


class PeopleOnly(KairosError):
    """An API key cannot do this: it belongs to a person's account. Sign in with e-mail and password."""

    status, code, exit_code = 403, "people_only", 6


class OperatorsOnly(KairosError):
    """This changes the system for all projects, which only operators may do. Ask the operator of this installation."""

    status, code, exit_code = 403, "operators_only", 6


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller and the active project. Permissions are read from the membership for each request."""

    user_id: UserId
    session_id: UUID | None
    """None for an API key."""
    key_id: UUID | None
    """The API key, if the caller uses one."""
    email: str
    name: str
    operator: bool
    project_id: ProjectId | None
    project_name: str | None
    role: Role | None
    permissions: frozenset[Permission]
    project_settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A principal with an active project, and the permissions there."""

    user_id: UserId
    session_id: UUID | None
    key_id: UUID | None
    project_id: ProjectId
    role: Role
    permissions: frozenset[Permission]
    project_settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A principal with a session: a person who signed in, not an API key."""

    user_id: UserId
    session_id: UUID
    email: str
    project_id: ProjectId | None


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The resources that verify credentials."""

    database: Database
    keys: TokenKeys


bearer = HTTPBearer(auto_error=False, description="An access token from /api/auth/login, or an API key.")


async def principal(
    request: Request,
    authenticator: Annotated[Authenticator, depends_on(Authenticator)],
    credential: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    """Verify the credential, and read its user's current permissions. Raises `Unauthenticated`."""
    if credential is None:
        raise Unauthenticated(reason="The request has no access token")
    by = _by_key if api_keys.looks_like_key(credential.credentials) else _by_token
    request.state.principal = await by(authenticator, credential.credentials)
    return request.state.principal


async def _by_token(authenticator: Authenticator, token: str) -> Principal:
    claims = await authenticator.keys.read(token)
    async with authenticator.database.scope(Scope(claims.project_id, claims.user_id)) as session:
        rights = await people.rights(session, claims.user_id, claims.session_id, claims.project_id)
    if rights is None or not rights.session_live:
        raise Unauthenticated(reason="The session has ended")
    return Principal(
        user_id=claims.user_id,
        session_id=claims.session_id,
        key_id=None,
        email=rights.email,
        name=rights.name,
        operator=rights.operator,
        project_id=claims.project_id if rights.role else None,
        project_name=rights.project_name,
        role=rights.role,
        permissions=granted(rights.role),
        project_settings=rights.project_settings,
    )


async def _by_key(authenticator: Authenticator, text: str) -> Principal:
    """The principal of an API key: its scopes, limited to its creator's current permissions; never an operator."""
    found = await api_keys.find(authenticator.database, authenticator.keys, text)
    if found is None:
        raise Unauthenticated(reason="The API key is not valid, was revoked, or has expired")
    project_id, key = found
    async with authenticator.database.scope(Scope(project_id, UserId(key.created_by))) as session:
        rights = await people.rights(session, key.created_by, None, project_id)
    if rights is None or rights.role is None:
        raise Unauthenticated(reason="The creator of the API key is no longer a member")
    return Principal(
        user_id=UserId(key.created_by),
        session_id=None,
        key_id=key.id,
        email=rights.email,
        name=key.name,
        operator=False,
        project_id=project_id,
        project_name=rights.project_name,
        role=rights.role,
        permissions=granted(rights.role) & {Permission(scope) for scope in key.scopes},
        project_settings=rights.project_settings,
    )


PrincipalDep = Annotated[Principal, Depends(principal)]


def needs(permission: Permission) -> Callable[[Principal], Member]:
    """A dependency: the caller as a member with this permission. Raises `NoProject`, `Forbidden`."""

    def member(principal: PrincipalDep) -> Member:
        if principal.project_id is None or principal.role is None:
            raise NoProject
        require(permission, principal)
        return Member(
            principal.user_id,
            principal.session_id,
            principal.key_id,
            principal.project_id,
            principal.role,
            principal.permissions,
            principal.project_settings,
        )

    member.permission = permission  # type: ignore[attr-defined]  # for tests that iterate over the routes
    return member


def right_of(member: Member) -> Right:
    """The member's right, which is checked repeatedly during long responses."""
    return Right(member.user_id, member.session_id, member.project_id, member.key_id)


def require(permission: Permission, principal: Principal) -> None:
    """Raise `Forbidden` unless the principal has the permission."""
    if permission not in principal.permissions:
        who = f"the role {principal.role}" if principal.session_id else f"the key {principal.name!r}"
        raise Forbidden(needed=permission, who=who)


TasksReader = Annotated[Member, Depends(needs(Permission.TASKS_READ))]
TasksWriter = Annotated[Member, Depends(needs(Permission.TASKS_WRITE))]
ModelsReader = Annotated[Member, Depends(needs(Permission.MODELS_READ))]


def person(principal: PrincipalDep) -> Person:
    """A dependency: a person with a session. Raises `PeopleOnly`."""
    if principal.session_id is None:
        raise PeopleOnly
    return Person(principal.user_id, principal.session_id, principal.email, principal.project_id)


PersonDep = Annotated[Person, Depends(person)]


def operator(principal: PrincipalDep) -> Principal:
    """A dependency: an operator. Raises `OperatorsOnly`."""
    if not principal.operator:
        raise OperatorsOnly
    return principal


OperatorDep = Annotated[Principal, Depends(operator)]


class Body(BaseModel):
    """A request body; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")
