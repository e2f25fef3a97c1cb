"""Reads the audit log, in the scope of a project or of an operator. `people.audit` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import AuditAction, AuditRow, ProjectRow, UserRow
from kairos.db.repositories import excerpts
from kairos.db.repositories.access import people


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A filter for entries; None matches all."""

    action: str | None = None
    user_id: UUID | None = None
    search: str | None = None
    """Text contained in the action or the target."""
    since: datetime | None = None
    until: datetime | None = None


async def page(
    session: AsyncSession, project_id: UUID | None, wanted: AuditFilter, *, before: int | None, limit: int
) -> Sequence[Any]:
    """Entries, newest first, with the e-mail of the user if the scope may see that user. Long texts are cut. Without a
    project: entries that belong to none."""
    conditions = [AuditRow.project_id == project_id if project_id else AuditRow.project_id.is_(None)]
    if before is not None:
        conditions.append(AuditRow.id < before)
    if wanted.action:
        conditions.append(AuditRow.action == wanted.action)
    if wanted.user_id:
        conditions.append(AuditRow.user_id == wanted.user_id)
    if wanted.since:
        conditions.append(AuditRow.at >= wanted.since)
    if wanted.until:
        conditions.append(AuditRow.at < wanted.until)
    if wanted.search:
        texts = (AuditRow.action, AuditRow.target)
        conditions.append(or_(*(text.icontains(wanted.search, autoescape=True) for text in texts)))
    columns = (
        AuditRow.id,
        AuditRow.at,
        AuditRow.user_id,
        UserRow.email.label("who"),
        AuditRow.action,
        excerpts.text(AuditRow.target),
        excerpts.whole_or_text(AuditRow.data, "excerpt"),
    )
    statement = select(*columns).outerjoin(UserRow, UserRow.id == AuditRow.user_id).where(*conditions)
    return (await session.execute(statement.order_by(AuditRow.id.desc()).limit(limit))).all()


async def refused(session: AsyncSession, project_id: UUID, user_id: UUID, what: str, target: str) -> None:
    """Record that a user who is not a member tried to access something of this project.

    Nothing is written for a deleted project, so that no entry remains after its erasure; the project's row is locked
    until the entry is committed.
    """
    alive = select(ProjectRow.id).where(ProjectRow.id == project_id, ProjectRow.deleted_at.is_(None))
    if (await session.execute(alive.with_for_update(read=True))).first() is None:
        return
    await people.audit(
        session, AuditAction.ACCESS_REFUSED, user_id=user_id, project_id=project_id, target=target, data={"what": what}
    )
