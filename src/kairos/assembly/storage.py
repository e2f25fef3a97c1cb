"""Migrate the database and connect to PostgreSQL and Redis."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from kairos.background_tasks import run_in_thread
from kairos.config import Settings
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.embedded import Addresses
from kairos.pubsub import PubSub
from kairos.redis_client import connect, wait_until_reachable

log = logging.getLogger(__name__)

ENGINE_WAIT_S = 5
MIGRATION_LIMIT_S = 3600
"""Long, because a migration may rewrite large tables."""


@dataclass(frozen=True, slots=True)
class DataStores:
    """Connections to PostgreSQL and Redis."""

    database: Database
    redis: Redis
    pubsub: PubSub


async def open_storage(stack: AsyncExitStack, settings: Settings, addresses: Addresses) -> DataStores:
    """Migrate the database and connect to both engines; the stack closes the connections."""
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    await _migrate(at)
    database = Database(at, settings.database)
    stack.push_async_callback(database.close)
    await database.check_app_role()
    redis = connect(addresses.redis_url)
    stack.push_async_callback(redis.aclose)
    # A later outage is tolerated; at the start, an unreachable Redis is most likely a wrong address.
    await wait_until_reachable(redis, ENGINE_WAIT_S)
    return DataStores(database, redis, PubSub(redis))


async def _migrate(at: DatabaseAddresses) -> None:
    before, after = await run_in_thread(partial(schema.migrate, at), MIGRATION_LIMIT_S)
    if before != after:
        log.info("the database was migrated from %s to %s", before or "nothing", after)
