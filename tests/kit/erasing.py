"""Runs a daemon's erasure in a separate process that stops half-way and waits to be killed."""

from __future__ import annotations

import asyncio
import sys

from kairos.assembly import assemble
from kairos.config import QueueSettings, Settings
from kairos.db.repositories.projects import erasure as rows
from kairos.embedded import Addresses
from kairos.orchestration.projects.erasure import Erasure
from kairos.orchestration.projects.project_keys import ProjectKeys
from kairos.orchestration.queue.queue import FairQueue
from kairos.pubsub import PubSub
from kairos.redis_client import connect


def erasure_of(parts, redis) -> Erasure:
    """Build an erasure as `daemon.py` does."""
    return Erasure(
        parts.storage.database,
        FairQueue(redis),
        PubSub(redis),
        ProjectKeys(redis),
        parts.llm.router.cache,
        parts.settings,
        parts.learning.deployments,
    )


async def erase_until(table: str, addresses: Addresses) -> None:
    """Erase until this table is next; then print `half` and wait forever."""
    delete = rows.delete_some

    async def stopping(session, named, project_id, most):
        if named.name == table:
            print("half", flush=True)
            await asyncio.Event().wait()
        return await delete(session, named, project_id, most)

    rows.delete_some = stopping
    async with assemble(Settings(queue=QueueSettings(lease_s=3)), addresses) as parts:
        await erasure_of(parts, connect(addresses.redis_url)).erase_all()


if __name__ == "__main__":
    asyncio.run(erase_until(sys.argv[1], Addresses(*sys.argv[2:6], model_url=None, model_api_key=None)))
