"""Members, invitations and API keys of one project; every function runs in the project's scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import ApiKeyRow, InvitationRow, MembershipRow, ProjectRow, Role, UserRow

USED_EVERY = timedelta(minutes=1)
"""Minimum interval between updates of `last_used_at`, so that a busy key does not write at every request."""
OPEN = (
    InvitationRow.accepted_at.is_(None),
    InvitationRow.revoked_at.is_(None),
    InvitationRow.expires_at > func.now(),
)
"""Invitations that can still be used."""


@dataclass(frozen=True, slots=True)
class MemberDetails:
    """A member of a project."""

    user_id: UUID
    email: str
    name: str
    role: Role
    since: datetime


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation as shown to the holder of its link."""

    project_id: UUID
    id: UUID
    project_name: str
    role: Role
    email: str | None
    invited_by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyMatch:
    """The project and the hash of a key with a given prefix."""

    project_id: UUID
    id: UUID
    key_hash: bytes


async def members(session: AsyncSession, project_id: UUID) -> list[MemberDetails]:
    """The members, oldest first."""
    statement = (
        select(UserRow.id, UserRow.email, UserRow.name, MembershipRow.role, MembershipRow.created_at)
        .join(MembershipRow, MembershipRow.user_id == UserRow.id)
        .where(MembershipRow.project_id == project_id)
        .order_by(MembershipRow.created_at, UserRow.id)
    )
    return [MemberDetails(row[0], row[1], row[2], Role(row[3]), row[4]) for row in await session.execute(statement)]


async def locked_roles(session: AsyncSession, project_id: UUID) -> dict[UUID, Role]:
    """The roles of all members, locked until the transaction ends, so that two owners cannot leave at the same time."""
    statement = select(MembershipRow.user_id, MembershipRow.role).where(MembershipRow.project_id == project_id)
    rows = await session.execute(statement.order_by(MembershipRow.user_id).with_for_update())
    return {row.user_id: Role(row.role) for row in rows}


async def add_member(session: AsyncSession, project_id: UUID, user_id: UUID, role: Role) -> None:
    """Add a member. Raises `Duplicate` at the end of the transaction if the user already is one."""
    await session.execute(insert(MembershipRow).values(project_id=project_id, user_id=user_id, role=role))


async def set_role(session: AsyncSession, project_id: UUID, user_id: UUID, role: Role) -> None:
    statement = update(MembershipRow).where(MembershipRow.project_id == project_id, MembershipRow.user_id == user_id)
    await session.execute(statement.values(role=role))


async def remove(session: AsyncSession, project_id: UUID, user_id: UUID) -> None:
    """Remove a member and revoke their API keys."""
    await session.execute(
        delete(MembershipRow).where(MembershipRow.project_id == project_id, MembershipRow.user_id == user_id)
    )
    await session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.created_by == user_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


async def lock_project(session: AsyncSession, project_id: UUID) -> None:
    """Lock the project, so that counts of its rows stay valid until the transaction ends."""
    await session.execute(select(ProjectRow.id).where(ProjectRow.id == project_id).with_for_update())


async def count_invitations(session: AsyncSession) -> int:
    """Number of open invitations."""
    return await session.scalar(select(func.count()).select_from(InvitationRow).where(*OPEN)) or 0


async def count_keys(session: AsyncSession) -> int:
    """Number of keys that were not revoked."""
    return await session.scalar(select(func.count()).select_from(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None))) or 0


async def add_invitation(session: AsyncSession, row: InvitationRow) -> InvitationRow:
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def open_invitations(session: AsyncSession) -> list[tuple[InvitationRow, str]]:
    """Open invitations, newest first, each with the name of its creator."""
    statement = (
        select(InvitationRow, func.coalesce(UserRow.name, ""))
        .outerjoin(UserRow, UserRow.id == InvitationRow.created_by)
        .where(*OPEN)
        .order_by(InvitationRow.created_at.desc())
    )
    return [(row, name) for row, name in await session.execute(statement)]


async def revoke_invitation(session: AsyncSession, invitation_id: UUID) -> bool:
    """Revoke an invitation. Returns False if it was not open."""
    statement = update(InvitationRow).where(
        InvitationRow.id == invitation_id, InvitationRow.accepted_at.is_(None), InvitationRow.revoked_at.is_(None)
    )
    return (
        await session.execute(statement.values(revoked_at=func.now()).returning(InvitationRow.id))
    ).first() is not None


async def invitation_by_token(session: AsyncSession, token_hash: bytes) -> OpenInvitation | None:
    """An open invitation by the hash of its token. Needs no scope: the caller has the link."""
    row = (await session.execute(text("select * from kairos_invitation(:hash)"), {"hash": token_hash})).one_or_none()
    if row is None:
        return None
    return OpenInvitation(
        row.project_id, row.id, row.project_name, Role(row.role), row.email, row.invited_by, row.expires_at
    )


async def accept_invitation(session: AsyncSession, invitation_id: UUID, user_id: UUID) -> bool:
    """Mark an invitation as accepted. Returns False if another request was first or it is no longer open."""
    statement = update(InvitationRow).where(
        InvitationRow.id == invitation_id,
        InvitationRow.accepted_at.is_(None),
        InvitationRow.revoked_at.is_(None),
        InvitationRow.expires_at > func.now(),
    )
    statement = statement.values(accepted_at=func.now(), accepted_by=user_id).returning(InvitationRow.id)
    return (await session.execute(statement)).first() is not None


async def add_key(session: AsyncSession, row: ApiKeyRow) -> ApiKeyRow:
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def live_keys(session: AsyncSession) -> list[tuple[ApiKeyRow, str]]:
    """Keys that were not revoked, expired ones included, newest first, each with the e-mail of its creator."""
    statement = (
        select(ApiKeyRow, func.coalesce(UserRow.email, ""))
        .outerjoin(UserRow, UserRow.id == ApiKeyRow.created_by)
        .where(ApiKeyRow.revoked_at.is_(None))
        .order_by(ApiKeyRow.created_at.desc())
    )
    return [(row, email) for row, email in await session.execute(statement)]


async def revoke_key(session: AsyncSession, key_id: UUID) -> str | None:
    """Revoke a key and return its name; None if it does not exist or was revoked before."""
    statement = update(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
    return (
        await session.execute(statement.values(revoked_at=func.now()).returning(ApiKeyRow.name))
    ).scalar_one_or_none()


async def keys_by_prefix(session: AsyncSession, prefix: str) -> list[KeyMatch]:
    """Valid keys with this prefix. Needs no scope: the caller still has to compare the hash."""
    rows = await session.execute(text("select * from kairos_api_keys(:prefix)"), {"prefix": prefix})
    return [KeyMatch(row.project_id, row.id, row.key_hash) for row in rows]


async def use_key(session: AsyncSession, key_id: UUID) -> ApiKeyRow | None:
    """A valid key, with `last_used_at` updated; None if it was revoked or has expired."""
    live = (ApiKeyRow.revoked_at.is_(None), (ApiKeyRow.expires_at.is_(None)) | (ApiKeyRow.expires_at > func.now()))
    row = (await session.execute(select(ApiKeyRow).where(ApiKeyRow.id == key_id, *live))).scalar_one_or_none()
    if row is None:
        return None
    stale = (ApiKeyRow.last_used_at.is_(None)) | (ApiKeyRow.last_used_at < func.now() - USED_EVERY)
    await session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, stale)
        .values(last_used_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return row
