"""Storage of plugins: small JSON values by key, of one plugin in one project. In the project's scope."""

from __future__ import annotations

import re
from typing import Any, cast

import orjson
from sqlalchemy import CursorResult, Text, delete, func, literal, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import PluginValueRow
from kairos.tenancy import ProjectId

MAX_KEY = 200
MAX_VALUE_BYTES = 64 * 1024
MAX_KEYS = 1_000
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""NUL in JSON, the only character that PostgreSQL cannot store."""


class StorageLimit(ValueError):
    """A storage limit was reached; the message names it."""


def checked_key(key: Any) -> str:
    """The key, if it is valid; else raises `ValueError`."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise ValueError(f"a key must be a printable text of 1 to {MAX_KEY} characters, not {key!r:.100}")
    return key


def checked_value(value: Any) -> str:
    """Serialize a value to JSON. Raises `ValueError` if it is not serializable, `StorageLimit` if it is too large."""
    try:
        body = orjson.dumps(value)
    except orjson.JSONEncodeError as fault:
        raise ValueError(f"a value must be JSON: {fault}") from None
    if len(body) > MAX_VALUE_BYTES:
        raise StorageLimit(f"a value of {len(body)} bytes as JSON is larger than {MAX_VALUE_BYTES}")
    if NUL.search(body):
        raise ValueError("a value must not contain the NUL character")
    return body.decode()


async def get(session: AsyncSession, plugin: str, key: str) -> str | None:
    """The value as JSON; None if there is none."""
    statement = select(sql_cast(PluginValueRow.value, Text)).where(*_is(plugin, key))
    return (await session.execute(statement)).scalar_one_or_none()


async def put(session: AsyncSession, project_id: ProjectId, plugin: str, key: str, value: str) -> None:
    """Store a checked value. Raises `StorageLimit`."""
    # Locked, because concurrent writers would count keys before the other's row is visible.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{project_id} {plugin}", 0))))
    others = select(func.count()).select_from(PluginValueRow)
    others = others.where(PluginValueRow.plugin == plugin, PluginValueRow.key != key)
    if (await session.execute(others)).scalar_one() >= MAX_KEYS:
        raise StorageLimit(f"it holds {MAX_KEYS} keys")
    row = {"project_id": project_id, "plugin": plugin, "key": key, "value": sql_cast(literal(value, Text), JSONB)}
    statement = insert(PluginValueRow).values(row)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["project_id", "plugin", "key"],
            set_={"value": statement.excluded.value, "updated_at": func.now()},
        )
    )


async def remove(session: AsyncSession, plugin: str, key: str) -> bool:
    """Delete a value. Returns False if there was none."""
    result = await session.execute(delete(PluginValueRow).where(*_is(plugin, key)))
    return cast(CursorResult[Any], result).rowcount > 0


async def keys(session: AsyncSession, plugin: str) -> list[str]:
    statement = select(PluginValueRow.key).where(PluginValueRow.plugin == plugin)
    return sorted((await session.execute(statement)).scalars())


def _is(plugin: str, key: str):
    return PluginValueRow.plugin == plugin, PluginValueRow.key == key
