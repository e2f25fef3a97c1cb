"""Deletes all Redis keys of a project, found by scanning the keyspace, because a list of keys could be out of date."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.redis_client import redis_errors
from kairos.tenancy import ProjectId

SCAN_COUNT = 1000
"""Keys scanned in one call, which blocks Redis for about a millisecond."""
LIMIT_S = 600.0


class ProjectKeys:
    """Finds and deletes the Redis keys of a project."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def delete(self, project_id: ProjectId) -> int:
        """Delete the project's keys. Returns their number. Raises `EngineUnavailable`."""
        deleted = 0
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S):
                async for key in self._redis.scan_iter(match=redis_keys.project_pattern(project_id), count=SCAN_COUNT):
                    deleted += await self._redis.unlink(key)
        return deleted
