"""Users, projects, and the rights of users in projects.

Functions run in the scope of the user, the project or the operator. Passwords are in `passwords.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import AuditAction, Base, MembershipRow, ProjectRow, Role, SessionRow, UserRow
from kairos.folding import email_forms, fold_email


@dataclass(frozen=True, slots=True)
class MyProject:
    """A project in a member's list of projects."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserRights:
    """The rights of a signed-in user in one project, read on every request."""

    email: str
    name: str
    operator: bool
    role: Role | None
    project_name: str | None
    project_settings: Mapping[str, Any]
    archived: bool
    session_live: bool


async def any_user(session: AsyncSession) -> bool:
    return bool(await session.scalar(text("select kairos_has_users()")))


async def operator_without_password(session: AsyncSession) -> UUID | None:
    """The oldest operator, while no operator has a password. Needs no scope: no one can have signed in yet."""
    return await session.scalar(text("select kairos_operator_without_password()"))


async def add_user(
    session: AsyncSession, user_id: UUID, email: str, name: str, *, operator: bool, password_hash: str | None = None
) -> None:
    values = {"id": user_id, "email": fold_email(email), "name": name, "operator": operator}
    await session.execute(insert(UserRow).values(**values, password_hash=password_hash))


async def user(session: AsyncSession, user_id: UUID) -> UserRow | None:
    return (await session.execute(select(UserRow).where(UserRow.id == user_id))).scalar_one_or_none()


async def id_of_email(session: AsyncSession, email: str) -> UUID | None:
    """The id of the account with this e-mail, found as in `passwords.by_email`. In an operator's scope."""
    for form in email_forms(email):
        if user_id := await session.scalar(select(UserRow.id).where(UserRow.email == form)):
            return user_id
    return None


async def rights(
    session: AsyncSession, user_id: UUID, session_id: UUID | None, project_id: UUID | None
) -> UserRights | None:
    """The user's current rights, in the scope of user and project. None if the account is deleted or disabled."""
    live = select(SessionRow.id).where(
        SessionRow.id == session_id, SessionRow.revoked_at.is_(None), SessionRow.expires_at > func.now()
    )
    statement = (
        select(
            UserRow.email,
            UserRow.name,
            UserRow.operator,
            MembershipRow.role,
            ProjectRow.name.label("project_name"),
            ProjectRow.settings,
            ProjectRow.archived_at,
            live.exists().label("session_live"),
        )
        .outerjoin(MembershipRow, (MembershipRow.user_id == UserRow.id) & (MembershipRow.project_id == project_id))
        .outerjoin(ProjectRow, ProjectRow.id == MembershipRow.project_id)
        .where(UserRow.id == user_id, UserRow.disabled_at.is_(None))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    role = Role(row.role) if row.role else None
    return UserRights(
        email=row.email,
        name=row.name,
        operator=row.operator,
        role=role,
        project_name=row.project_name,
        project_settings=row.settings or {},
        archived=row.archived_at is not None,
        session_live=row.session_live,
    )


async def add_project(session: AsyncSession, project_id: UUID, name: str, owner: UUID) -> None:
    """Add a project with its first owner. The scope must be that of the new project or of the owner."""
    await session.execute(insert(ProjectRow).values(id=project_id, name=name))
    await session.execute(insert(MembershipRow).values(project_id=project_id, user_id=owner, role=Role.OWNER))


async def lock(session: AsyncSession, user_id: UUID) -> None:
    """Lock the account, so that counts of its rows stay valid until the transaction ends."""
    await session.execute(select(UserRow.id).where(UserRow.id == user_id).with_for_update())


async def owned_projects(session: AsyncSession, user_id: UUID) -> int:
    owned = (MembershipRow.user_id == user_id, MembershipRow.role == Role.OWNER)
    return await session.scalar(select(func.count()).select_from(MembershipRow).where(*owned)) or 0


async def projects_of(session: AsyncSession, user_id: UUID) -> list[MyProject]:
    statement = (
        select(ProjectRow.id, ProjectRow.name, MembershipRow.role, ProjectRow.created_at, ProjectRow.archived_at)
        .join(MembershipRow, MembershipRow.project_id == ProjectRow.id)
        .where(MembershipRow.user_id == user_id, ProjectRow.deleted_at.is_(None))
        .order_by(ProjectRow.created_at, ProjectRow.id)
    )
    return [MyProject(row.id, row.name, Role(row.role), *row[3:]) for row in await session.execute(statement)]


async def project(session: AsyncSession, project_id: UUID) -> ProjectRow | None:
    return (await session.execute(select(ProjectRow).where(ProjectRow.id == project_id))).scalar_one_or_none()


async def audit(
    session: AsyncSession,
    action: AuditAction,
    *,
    user_id: UUID | None = None,
    project_id: UUID | None = None,
    target: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append to the audit log. If a project is given, the scope must be the project's or an operator's."""
    values = {
        "action": action,
        "user_id": user_id,
        "project_id": project_id,
        "target": target,
        "data": dict(data or {}),
    }
    # Inline, without RETURNING: an entry without a user (a refused sign-in) may be written but not read.
    await session.execute(insert(Base.metadata.tables["audit_log"]).values(values).inline())


async def first_operator(session: AsyncSession) -> UUID | None:
    statement = select(UserRow.id).where(UserRow.operator, UserRow.disabled_at.is_(None)).order_by(UserRow.created_at)
    return (await session.execute(statement.limit(1))).scalar_one_or_none()


async def set_name(session: AsyncSession, user_id: UUID, name: str) -> None:
    await session.execute(update(UserRow).where(UserRow.id == user_id).values(name=name))


async def all_users(session: AsyncSession) -> list[tuple[UserRow, int]]:
    """All accounts, oldest first, each with its number of projects. In an operator's scope."""
    count = select(func.count()).where(MembershipRow.user_id == UserRow.id).scalar_subquery()
    statement = select(UserRow, count).order_by(UserRow.created_at, UserRow.id)
    return [(row, number) for row, number in await session.execute(statement)]


async def locked_operators(session: AsyncSession) -> set[UUID]:
    """Operators who can sign in, locked until the transaction ends."""
    statement = select(UserRow.id).where(UserRow.operator, UserRow.disabled_at.is_(None)).order_by(UserRow.id)
    return set((await session.execute(statement.with_for_update())).scalars())


async def set_account_flags(session: AsyncSession, user_id: UUID, *, operator: bool, disabled: bool) -> None:
    disabled_at = func.coalesce(UserRow.disabled_at, func.now()) if disabled else None
    await session.execute(
        update(UserRow).where(UserRow.id == user_id).values(operator=operator, disabled_at=disabled_at)
    )
