"""Reads, changes, archives and deletes a project.

`member_project` runs in the user's scope, all other functions in the project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import MembershipRow, ProjectRow, Role
from kairos.tenancy import ProjectId

ERASER_LOCK = 0x6572_6173_65


@dataclass(frozen=True, slots=True)
class MemberProject:
    """A project with the role of one of its members."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    archived_at: datetime | None
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """The settings of a project, and if it is archived or deleted."""

    settings: Mapping[str, Any]
    archived: bool
    deleted: bool

    @property
    def open(self) -> bool:
        return not (self.archived or self.deleted)


async def member_project(session: AsyncSession, user_id: UUID, project_id: UUID) -> MemberProject | None:
    """The project; None if it does not exist, is deleted, or the user is not a member, without distinction."""
    statement = (
        select(
            ProjectRow.id,
            ProjectRow.name,
            MembershipRow.role,
            ProjectRow.created_at,
            ProjectRow.archived_at,
            ProjectRow.settings,
        )
        .join(MembershipRow, MembershipRow.project_id == ProjectRow.id)
        .where(MembershipRow.user_id == user_id, ProjectRow.id == project_id, ProjectRow.deleted_at.is_(None))
    )
    row = (await session.execute(statement)).one_or_none()
    return MemberProject(row[0], row[1], Role(row[2]), *row[3:]) if row else None


async def status(session: AsyncSession, project_id: UUID, *, lock: bool = False) -> ProjectStatus | None:
    """The project's status; None if it is erased. `lock` prevents archiving and deletion until the transaction ends."""
    statement = select(ProjectRow.settings, ProjectRow.archived_at, ProjectRow.deleted_at)
    statement = statement.where(ProjectRow.id == project_id)
    row = (await session.execute(statement.with_for_update(read=True) if lock else statement)).one_or_none()
    return ProjectStatus(row[0], row[1] is not None, row[2] is not None) if row else None


async def locked(session: AsyncSession, project_id: UUID) -> ProjectRow | None:
    """The project's row, locked; None if it is deleted."""
    statement = select(ProjectRow).where(ProjectRow.id == project_id, ProjectRow.deleted_at.is_(None))
    return (await session.execute(statement.with_for_update())).scalar_one_or_none()


async def change(session: AsyncSession, project_id: UUID, *, name: str, settings: Mapping[str, Any]) -> None:
    await session.execute(
        update(ProjectRow).where(ProjectRow.id == project_id).values(name=name, settings=dict(settings))
    )


async def set_archived(session: AsyncSession, project_id: UUID, archived: bool) -> None:
    when = func.coalesce(ProjectRow.archived_at, func.now()) if archived else None
    await session.execute(update(ProjectRow).where(ProjectRow.id == project_id).values(archived_at=when))


async def mark_deleted(session: AsyncSession, project_id: UUID) -> None:
    """Mark a project as deleted and remove all memberships. A daemon erases its data later."""
    await session.execute(update(ProjectRow).where(ProjectRow.id == project_id).values(deleted_at=func.now()))
    await session.execute(delete(MembershipRow).where(MembershipRow.project_id == project_id))


async def erase(session: AsyncSession, project_id: UUID) -> bool:
    """Delete the project's row, with rows written meanwhile. Returns False if another replica was first."""
    statement = delete(ProjectRow).where(ProjectRow.id == project_id, ProjectRow.deleted_at.is_not(None))
    return (await session.execute(statement.returning(ProjectRow.id))).first() is not None


async def try_to_erase(connection: AsyncConnection) -> bool:
    """Try to take the eraser lock for this transaction. Returns False if another replica holds it."""
    return bool(await connection.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": ERASER_LOCK}))


async def to_erase(connection: AsyncConnection) -> list[ProjectId]:
    rows = await connection.execute(text("select project_id from kairos_projects_to_erase()"))
    return [ProjectId(row.project_id) for row in rows]


async def of_id(connection: AsyncConnection, wanted: UUID) -> ProjectId | None:
    """The project with this id, or of the task with this id. For the audit log only; no response may depend on it."""
    found = await connection.scalar(text("select kairos_project_of(:wanted)"), {"wanted": wanted})
    return ProjectId(found) if found else None


async def erase_audit(connection: AsyncConnection, project_id: UUID, most: int) -> int:
    """Delete audit entries of a deleted project. Needs a transaction of its own."""
    query = text("select kairos_erase_audit(:project_id, :most)")
    return int(await connection.scalar(query, {"project_id": project_id, "most": most}) or 0)
