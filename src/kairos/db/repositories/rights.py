"""Whether rights that were given once still hold: of all listeners at once, and asked as the system role, which has
connections of its own."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ENDED = text(
    "select place, reason from kairos_ended_rights("
    "cast(:users as uuid[]), cast(:sessions as uuid[]), cast(:keys as uuid[]), cast(:projects as uuid[]))"
)


class Credential(NamedTuple):
    """By what somebody reads a project: a session or an API key."""

    user_id: UUID
    session_id: UUID | None
    key_id: UUID | None
    project_id: UUID


class End(StrEnum):
    """Why a right has ended."""

    CREDENTIAL = "credential"
    MEMBERSHIP = "membership"


async def ended(connection: AsyncConnection, held: Sequence[Credential]) -> dict[int, End]:
    """Position in `held` -> why it has ended; those that hold are left out."""
    values = {
        "users": [right.user_id for right in held],
        "sessions": [right.session_id for right in held],
        "keys": [right.key_id for right in held],
        "projects": [right.project_id for right in held],
    }
    rows = await connection.execute(ENDED, values)
    return {row.place: End(row.reason) for row in rows}
