"""Sessions and one-time links.

Lookups before a user is known are functions of the owner role; everything else runs in the user's scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import LinkRow, SessionRow

LIVE = (SessionRow.revoked_at.is_(None), SessionRow.expires_at > func.now())


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A valid session with the generation of its current refresh token."""

    user_id: UUID
    generation: int
    rotated_at: datetime | None


async def add(session: AsyncSession, session_id: UUID, user_id: UUID, client: str, life: timedelta) -> None:
    await session.execute(
        insert(SessionRow).values(id=session_id, user_id=user_id, client=client, expires_at=func.now() + life)
    )


async def known(session: AsyncSession, session_id: UUID) -> KnownSession | None:
    """A valid session by id. Needs no scope: the caller has a token signed by Kairos."""
    row = (await session.execute(text("select * from kairos_session(:id)"), {"id": session_id})).one_or_none()
    return KnownSession(*row) if row else None


async def rotate(session: AsyncSession, session_id: UUID, generation: int, life: timedelta) -> bool:
    """Advance to the next refresh token. Returns False if another request was first."""
    statement = (
        update(SessionRow)
        .where(SessionRow.id == session_id, SessionRow.generation == generation, *LIVE)
        .values(generation=generation + 1, rotated_at=func.now(), expires_at=func.now() + life)
        .returning(SessionRow.id)
    )
    return (await session.execute(statement)).first() is not None


async def live_of(session: AsyncSession, user_id: UUID) -> list[SessionRow]:
    """The user's valid sessions, most recently used first."""
    used = func.coalesce(SessionRow.rotated_at, SessionRow.created_at)
    statement = select(SessionRow).where(SessionRow.user_id == user_id, *LIVE).order_by(used.desc())
    return list((await session.execute(statement)).scalars())


async def revoke(session: AsyncSession, session_id: UUID) -> bool:
    """Revoke a session. Returns False if there is no valid one in scope."""
    statement = update(SessionRow).where(SessionRow.id == session_id, *LIVE).values(revoked_at=func.now())
    return (await session.execute(statement.returning(SessionRow.id))).first() is not None


async def revoke_all(session: AsyncSession, user_id: UUID) -> int:
    """Revoke all sessions of the user. Returns their number."""
    statement = update(SessionRow).where(SessionRow.user_id == user_id, *LIVE).values(revoked_at=func.now())
    return len((await session.execute(statement.returning(SessionRow.id))).all())


async def trim(session: AsyncSession, user_id: UUID, most: int) -> None:
    """Revoke the user's least recently used sessions beyond this number."""
    used = func.coalesce(SessionRow.rotated_at, SessionRow.created_at)
    beyond = (
        select(SessionRow.id).where(SessionRow.user_id == user_id, *LIVE).order_by(used.desc(), SessionRow.id.desc())
    )
    statement = update(SessionRow).where(SessionRow.id.in_(beyond.offset(most)))
    await session.execute(statement.values(revoked_at=func.now()).execution_options(synchronize_session=False))


async def by_link(session: AsyncSession, token_hash: bytes) -> UUID | None:
    """The user of an unused, unexpired link."""
    row = (await session.execute(text("select * from kairos_user_by_link(:hash)"), {"hash": token_hash})).one_or_none()
    return row.user_id if row and row.usable else None


async def add_link(session: AsyncSession, token_hash: bytes, user_id: UUID, purpose: str, life: timedelta) -> None:
    await session.execute(
        insert(LinkRow).values(token_hash=token_hash, user_id=user_id, purpose=purpose, expires_at=func.now() + life)
    )
