"""All keys in Redis that name a project, found by looking through the keyspace and not from a list that may lag."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from kairos import redis_keys
from kairos.redis_client import redis_errors
from kairos.tenancy import ProjectId

LOOKED_AT = 1000
"""Keys in one step: about a millisecond, for which everybody else waits."""
LIMIT_S = 600.0


class ProjectKeys:
    """Finds and deletes them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def delete(self, project_id: ProjectId) -> int:
        """Returns how many there were. Raises `EngineUnavailable`."""
        gone = 0
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S):
                async for key in self._redis.scan_iter(match=redis_keys.of_project(project_id), count=LOOKED_AT):
                    gone += await self._redis.unlink(key)
        return gone
