"""Reads all data of a project for its export, table by table, in the project's scope.

Hashes of keys and links, and encrypted keys of providers, are credentials and are not exported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import PROJECT_OWNED, AuditRow, DatasetImportRow, MembershipRow, ProjectRow, UserRow
from kairos.tenancy import ProjectId

PAGE = 100
"""Rows in memory at once: a prompt or an answer may have half a million characters."""
EXCLUDED_COLUMNS = {"key_hash", "token_hash", "sealed", "master_key"}
LOCKS = (DatasetImportRow,)
"""Locks of running requests, which are not exported."""
TABLES: tuple[Table, ...] = tuple(
    row.__table__  # type: ignore[misc]
    for row in (*PROJECT_OWNED, AuditRow, MembershipRow)
    if row not in LOCKS
)


async def pages(session: AsyncSession, table: Table, project_id: ProjectId) -> AsyncIterator[list[dict[str, Any]]]:
    """The project's rows of a table in pages, ordered by primary key."""
    columns = [column for column in table.columns if column.name not in EXCLUDED_COLUMNS]
    keys: list[ColumnElement[Any]] = [column for column in table.primary_key.columns if column.name != "project_id"]
    statement = select(*columns).where(table.c.project_id == project_id).order_by(*keys).limit(PAGE)
    names = [column.name for column in table.primary_key.columns if column.name != "project_id"]
    last: list[Any] | None = None
    while True:
        after = statement if last is None else statement.where(tuple_(*keys) > tuple_(*last))
        rows = [dict(row) for row in (await session.execute(after)).mappings()]
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        last = [rows[-1][name] for name in names]


async def people_of(session: AsyncSession, project_id: ProjectId) -> list[dict[str, Any]]:
    """The members, to resolve the user ids in the other tables."""
    statement = (
        select(UserRow.id, UserRow.email, UserRow.name)
        .join(MembershipRow, MembershipRow.user_id == UserRow.id)
        .where(MembershipRow.project_id == project_id)
    )
    return [dict(row) for row in (await session.execute(statement)).mappings()]


async def project(session: AsyncSession, project_id: ProjectId) -> dict[str, Any]:
    """The project's row, and the time of the snapshot."""
    statement = select(
        ProjectRow.id,
        ProjectRow.name,
        ProjectRow.settings,
        ProjectRow.created_at,
        ProjectRow.archived_at,
        func.now().label("exported_at"),
    ).where(ProjectRow.id == project_id)
    return dict((await session.execute(statement)).mappings().one())
