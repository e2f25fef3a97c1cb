"""Fills every project-owned table for a project, and finds the tables and Redis keys that still contain its id."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import psycopg
from redis.asyncio import Redis
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from kairos.db.engine import Database
from kairos.db.models import PROJECT_OWNED, AuditAction, PositionRow, TaskRow
from kairos.db.repositories.access import people
from kairos.embedded import Addresses
from kairos.tenancy import ProjectId, UserId, new_id
from tests.tenancy.test_rows import _values


async def fill(database: Database, project_id: ProjectId, user_id: UserId) -> UUID:
    """Insert a row into every project-owned table and the audit log. Returns the id used in all of them."""
    task_id = new_id()
    async with database.project(project_id) as session:
        first = [TaskRow, PositionRow]
        for row in [*first, *(row for row in PROJECT_OWNED if row not in first)]:
            await session.execute(insert(row).values(_values(row, project_id, task_id)))
        await people.audit(session, AuditAction.PROJECT_CHANGED, user_id=user_id, project_id=project_id)
    return task_id


def rows_of(addresses: Addresses, project_id: UUID) -> dict[str, int]:
    """Return the number of the project's rows in `projects` and in every table with a column `project_id`."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'project_id' "
            "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
        ).fetchall()
        counts = {}
        for name, column in [*((name, "project_id") for (name,) in tables), ("projects", "id")]:
            query = f'select count(*) from "{name}" where {column} = %s'
            row = connection.execute(query.encode(), [project_id]).fetchone()
            counts[name] = row[0] if row else 0
    return counts


async def redis_names(redis: Redis, project_id: UUID) -> list[str]:
    """Return every key that contains the id in its name, fields, members or values."""
    wanted, found = str(project_id).encode(), []
    async for key in redis.scan_iter(count=1000):
        held = await _content(redis, key)
        if wanted in key or any(wanted in value for value in held):
            found.append(key.decode())
    return sorted(found)


async def _content(redis: Redis, key: bytes) -> list[Any]:
    kind = cast(bytes, await redis.type(key)).decode()
    if kind == "hash":
        return [text for pair in (await cast(Any, redis.hgetall(key))).items() for text in pair]
    if kind == "zset":
        return await redis.zrange(key, 0, -1)
    if kind == "set":
        return list(await cast(Any, redis.smembers(key)))
    if kind == "list":
        return await cast(Any, redis.lrange(key, 0, -1))
    return [await redis.get(key) or b""] if kind == "string" else []
