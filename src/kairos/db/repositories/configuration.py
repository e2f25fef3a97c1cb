"""Versions of the configuration: the system's, above projects, and each project's own.

Every function takes the project whose versions are meant, in its scope; None means those of the system, which every
daemon reads without a scope and operators write.
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
    """What somebody set, and what holds since."""

    number: int
    at: datetime
    why: str
    changes: Mapping[str, Any]
    """By key: `before` and `after`."""
    values: Mapping[str, Any]
    """All that is set from this version on: the system's overrides, or the project's settings."""
    by: str | None
    """E-mail of whoever made it, where the scope may see that person."""


async def newest(session: AsyncSession, project_id: UUID | None) -> Version | None:
    """None where nothing was ever set."""
    found = await page(session, project_id, before=None, limit=1)
    return found[0] if found else None


async def newest_number(session: AsyncSession, project_id: UUID | None) -> int:
    """0 where nothing was ever set."""
    if project_id is None:
        statement = select(func.max(ConfigRow.version))
    else:
        statement = select(func.max(ProjectConfigRow.version)).where(ProjectConfigRow.project_id == project_id)
    return await session.scalar(statement) or 0


async def version(session: AsyncSession, project_id: UUID | None, number: int) -> Version | None:
    row = (await session.execute(_versions(project_id).where(_number(project_id) == number))).one_or_none()
    return Version(*row) if row else None


async def after(session: AsyncSession, project_id: UUID | None, number: int) -> list[Version]:
    """Those that came after this one, oldest first."""
    statement = _versions(project_id).where(_number(project_id) > number).order_by(_number(project_id))
    return [Version(*row) for row in await session.execute(statement)]


async def page(session: AsyncSession, project_id: UUID | None, *, before: int | None, limit: int) -> list[Version]:
    """Newest first."""
    statement = _versions(project_id).order_by(_number(project_id).desc()).limit(limit)
    if before is not None:
        statement = statement.where(_number(project_id) < before)
    return [Version(*row) for row in await session.execute(statement)]


async def add(session: AsyncSession, project_id: UUID | None, version: Version, user_id: UUID | None) -> None:
    """Raises `Duplicate`, at the latest when the transaction ends, where another of this number stands."""
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
