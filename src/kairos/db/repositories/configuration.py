"""Versions of the configuration, of the system and of each project.

Every function takes a project id and runs in that project's scope. None selects the system's versions, which daemons
read without a scope and operators write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import ConfigRow, ProjectConfigRow, UserRow


@dataclass(frozen=True, slots=True)
class Version:
    """A version: its changes, and all values from then on."""

    number: int
    at: datetime
    why: str
    changes: Mapping[str, Any]
    """`before` and `after` by key."""
    values: Mapping[str, Any]
    """All values of this version: the system's overrides, or the project's settings."""
    by: str | None
    """E-mail of the author, if the scope may see that user."""


async def newest(session: AsyncSession, project_id: UUID | None) -> Version | None:
    """The newest version; None if there is none."""
    found = await page(session, project_id, before=None, limit=1)
    return found[0] if found else None


async def newest_number(session: AsyncSession, project_id: UUID | None) -> int:
    """The number of the newest version; 0 if there is none."""
    if project_id is None:
        statement = select(func.max(ConfigRow.version))
    else:
        statement = select(func.max(ProjectConfigRow.version)).where(ProjectConfigRow.project_id == project_id)
    return await session.scalar(statement) or 0


async def version(session: AsyncSession, project_id: UUID | None, number: int) -> Version | None:
    row = (await session.execute(_versions(project_id).where(_number(project_id) == number))).one_or_none()
    return Version(*row) if row else None


async def after(session: AsyncSession, project_id: UUID | None, number: int) -> list[Version]:
    """Versions after this one, oldest first."""
    statement = _versions(project_id).where(_number(project_id) > number).order_by(_number(project_id))
    return [Version(*row) for row in await session.execute(statement)]


async def page(session: AsyncSession, project_id: UUID | None, *, before: int | None, limit: int) -> list[Version]:
    """Versions, newest first."""
    statement = _versions(project_id).order_by(_number(project_id).desc()).limit(limit)
    if before is not None:
        statement = statement.where(_number(project_id) < before)
    return [Version(*row) for row in await session.execute(statement)]


async def add(session: AsyncSession, project_id: UUID | None, version: Version, user_id: UUID | None) -> None:
    """Add a version. Raises `Duplicate`, at the latest at the commit, if this number exists."""
    common = {"version": version.number, "user_id": user_id, "why": version.why, "changes": dict(version.changes)}
    if project_id is None:
        session.add(ConfigRow(**common, overrides=dict(version.values)))
    else:
        session.add(ProjectConfigRow(**common, project_id=project_id, settings=dict(version.values)))
    await session.flush()


def _number(project_id: UUID | None) -> Any:
    return ConfigRow.version if project_id is None else ProjectConfigRow.version


def _versions(project_id: UUID | None) -> Any:
    row = ConfigRow if project_id is None else ProjectConfigRow
    values = ConfigRow.overrides if project_id is None else ProjectConfigRow.settings
    statement = select(row.version, row.at, row.why, row.changes, values, UserRow.email)
    statement = statement.outerjoin(UserRow, UserRow.id == row.user_id)
    return statement if project_id is None else statement.where(ProjectConfigRow.project_id == project_id)
