"""Replicas of the model health on one Redis, without the rest of Kairos; one can run in a separate process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from kairos.background_tasks import end
from kairos.llm.calls.providers import ModelServerError
from kairos.llm.catalog.catalog import Model
from kairos.llm.health import breaker
from kairos.llm.health.health import ModelHealth
from kairos.llm.health.shared_breakers import SharedBreakers
from kairos.pubsub import PubSub
from kairos.redis_client import connect

MODEL = Model(name="m", upstream="m", base_url="http://nowhere.test/v1", api_key="a-secret-key")


class Replica:
    """The model health of one daemon. The caller passes the time."""

    def __init__(self, redis: Redis, namespace: str, models: Iterable[Model] = (MODEL,)) -> None:
        self.redis = redis
        self.health = ModelHealth()
        pubsub = PubSub(redis, namespace=namespace, silence_s=1)
        self.breakers = SharedBreakers(redis, pubsub, self.health, models, namespace=namespace)

    async def acquire(self, now: float, model: str = "m") -> int | None:
        """Acquire a permit in the same way as the router."""
        probe = self.health.is_probe(model, now)
        permit = self.health.acquire(model, now)
        if permit is not None and probe and not await self.breakers.may_probe(model):
            return None if self.health.is_probe(model, now) else self.health.acquire(model, now)
        return permit

    async def fail(self, now: float, times: int = 1, model: str = "m", **error: Any) -> None:
        for _ in range(times):
            permit = await self.acquire(now, model)
            assert permit is not None, "the breaker is open"
            self.health.failed(model, permit, server_error(**error), now)

    def open(self, now: float, model: str = "m") -> bool:
        return self.health(model, now).open

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        task = asyncio.create_task(self.breakers.run())
        try:
            yield self
        finally:
            await end(task)


def server_error(**values: Any) -> ModelServerError:
    return ModelServerError(model="m", http_status=503, **{"reason": "overloaded", **values})


async def hold_probe(url: str, namespace: str, now: float, probe_s: float) -> None:
    """Take the probe, print `probing`, and never report its result. Runs in a process that the test kills."""
    breaker.PROBE_S = probe_s
    replica = Replica(connect(url), namespace)
    await replica.breakers.exchange()
    print("probing" if await replica.acquire(now) is not None else "refused", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold_probe(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
