"""Endpoint for the audit log of the active project or, for operators, of the installation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, JsonValue

from kairos.api.access.auth import Principal, PrincipalDep, needs, operator
from kairos.api.access.permissions import Permission
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories.access import audit
from kairos.db.repositories.excerpts import EXCERPT
from kairos.tenancy import ProjectId, Scope
from kairos.text import LARGEST_INTEGER, Moment, Text

routes = APIRouter(prefix="/api/audit", tags=["audit"], route_class=JsonRoute)

DatabaseDep = Annotated[Database, depends_on(Database)]

System = Annotated[bool, Query(description="Entries of the installation instead of the project; for operators.")]
AUDIT_LIMIT = 200


class EntryOut(BaseModel):
    id: int
    at: datetime
    user_id: UUID | None = Field(description="Null for actions of the system and without sign-in.")
    who: str | None = Field(description="The user's e-mail; null if the user is not a member of the project.")
    action: AuditAction
    target: str | None
    data: dict[str, JsonValue] = Field(
        description=f"If longer than {EXCERPT} characters: `excerpt`, the beginning as text."
    )


class AuditPage(BaseModel):
    items: list[EntryOut]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


def reader(principal: PrincipalDep, system: System = False) -> tuple[Principal, ProjectId | None]:
    """A dependency: the caller, and the project whose log is read; None for the installation's log.

    Raises `Forbidden`, `NoProject`, `OperatorsOnly`.
    """
    if system:
        return operator(principal), None
    return principal, needs(Permission.AUDIT_READ)(principal).project_id


reader.permission = Permission.AUDIT_READ  # type: ignore[attr-defined]  # for tests that iterate over the routes
ReaderDep = Annotated[tuple[Principal, ProjectId | None], Depends(reader)]


@routes.get("", responses=responses(401, 403, 409, 422, 503))
async def list_entries(
    database: DatabaseDep,
    who: ReaderDep,
    action: Annotated[Text | None, Query(max_length=100)] = None,
    user_id: UUID | None = None,
    q: Annotated[Text | None, Query(max_length=200)] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    cursor: Annotated[int | None, Query(ge=1, le=LARGEST_INTEGER, description="`next` of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=AUDIT_LIMIT)] = 50,
) -> AuditPage:
    """The entries of the audit log, newest first."""
    principal, project_id = who
    wanted = audit.AuditFilter(action=action, user_id=user_id, search=q, since=since, until=until)
    scope = Scope(project_id) if project_id else Scope(user_id=principal.user_id, operator=True)
    async with database.scope(scope) as session:
        rows = await audit.page(session, project_id, wanted, before=cursor, limit=limit + 1)
    more = len(rows) > limit
    items = [EntryOut.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return AuditPage(items=items, next=str(rows[limit - 1].id) if more else None)
