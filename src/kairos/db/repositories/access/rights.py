"""Checks if the credentials of all live clients are still valid, in one query of the system role."""

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
    """The session or API key with which a client reads a project."""

    user_id: UUID
    session_id: UUID | None
    key_id: UUID | None
    project_id: UUID


class End(StrEnum):
    """Why a right has ended."""

    CREDENTIAL = "credential"
    MEMBERSHIP = "membership"


async def ended(connection: AsyncConnection, held: Sequence[Credential]) -> dict[int, End]:
    """The ended credentials, by position in `held`, with the reason. Valid ones are omitted."""
    values = {
        "users": [right.user_id for right in held],
        "sessions": [right.session_id for right in held],
        "keys": [right.key_id for right in held],
        "projects": [right.project_id for right in held],
    }
    rows = await connection.execute(ENDED, values)
    return {row.place: End(row.reason) for row in rows}
