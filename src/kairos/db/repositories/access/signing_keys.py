"""Signing keys of tokens and the installation's other secrets. Only the system role has access."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class AccessKey(NamedTuple):
    kid: str
    secret: bytes


async def access_keys(connection: AsyncConnection) -> list[AccessKey]:
    """Valid keys: first the one that signs, then recently retired ones."""
    rows = await connection.execute(text("select * from kairos_access_keys()"))
    return [AccessKey(row.kid, bytes(row.secret)) for row in rows]


async def add_access_key(connection: AsyncConnection, kid: str, secret: bytes) -> None:
    await connection.execute(text("select kairos_add_access_key(:kid, :secret)"), {"kid": kid, "secret": secret})


async def retire_access_keys(connection: AsyncConnection, but: str, after: timedelta) -> None:
    """Retire all keys except `but`. Tokens signed with them stay valid for `after`."""
    await connection.execute(text("select kairos_retire_access_keys(:but, :after)"), {"but": but, "after": after})


async def shared_secret(connection: AsyncConnection, purpose: str, fresh: bytes) -> bytes:
    """The installation's secret for a purpose; stores `fresh` if there is none yet."""
    found = await connection.scalar(
        text("select kairos_shared_secret(:purpose, :fresh)"), {"purpose": purpose, "fresh": fresh}
    )
    return bytes(found or b"")
