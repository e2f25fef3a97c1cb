"""Probes of idle servers over real HTTP: one replica probes, and the result counts for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from kairos.background_tasks import end
from kairos.http import HttpClient
from kairos.llm.calls.provider import ListedModel
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.health import ModelHealthState
from kairos.llm.health.probes import CLOUD_INTERVAL_S, Probes
from tests.kit.conditions import eventually
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.replicas import Replica

EVERY_S = 0.3


class CountingProviders(Providers):
    """Records the times of requests for a server's models."""

    def __init__(self, http: HttpClient) -> None:
        super().__init__(http)
        self.requested_at: list[float] = []

    async def list_models(
        self, base_url: str, api_key: str | None, *, timeout_s: float, **options: Any
    ) -> list[ListedModel]:
        self.requested_at.append(time.monotonic())
        return await super().list_models(base_url, api_key, timeout_s=timeout_s, **options)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(ScriptedModel("m")) as running:
        yield running


@pytest.fixture
async def providers() -> AsyncIterator[CountingProviders]:
    async with HttpClient() as http:
        yield CountingProviders(http)


@asynccontextmanager
async def probing(
    valkey: Redis, namespace: str, models: list[Model], providers: Providers, replicas: int = 1
) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        made = [Replica(valkey, namespace, models) for _ in range(replicas)]
        for replica in made:
            await stack.enter_async_context(replica.running())
            probes = Probes(models, replica.health, providers, valkey, namespace=namespace, interval_s=EVERY_S)
            task = asyncio.create_task(probes.run())
            stack.push_async_callback(end, task)
        yield made


def model(server: ModelServer, **values: Any) -> Model:
    return replace(Model(name="m", upstream="m", base_url=server.base_url, local=True), **values)


def states(replicas: list[Replica]) -> set[ModelHealthState]:
    return {replica.health.status("m", time.time()).state for replica in replicas}


async def test_outage_is_known_to_all_replicas_before_a_call_fails(valkey, namespace, server, providers):
    await server.refuse()
    async with probing(valkey, namespace, [model(server)], providers, replicas=3) as replicas:
        await eventually(
            lambda: all(replica.open(time.time()) for replica in replicas), 10, "all replicas know of the outage"
        )
        assert states(replicas) == {ModelHealthState.UNHEALTHY}
        assert "cannot be reached" in replicas[2].health.status("m", time.time()).detail
    assert server.calls == []


async def test_next_call_may_try_a_server_that_is_back(valkey, namespace, server, providers):
    await server.refuse()
    async with probing(valkey, namespace, [model(server)], providers, replicas=2) as replicas:
        await eventually(
            lambda: all(replica.open(time.time()) for replica in replicas), 10, "all replicas know of the outage"
        )
        await server.accept()
        await eventually(
            lambda: not any(replica.open(time.time()) for replica in replicas),
            10,
            "all replicas know that the server is back",
        )
        assert states(replicas) == {ModelHealthState.UNHEALTHY}, "until a call has succeeded"


async def test_breaker_stays_open_if_a_server_lists_models_but_fails_calls(valkey, namespace, server, providers):
    async with probing(valkey, namespace, [model(server)], providers) as [replica]:
        await replica.fail(time.time(), 3)
        seen = len(providers.requested_at)
        await eventually(lambda: len(providers.requested_at) > seen + 1, 10, "two more probes have run")
        assert replica.open(time.time())


async def test_one_replica_probes_for_all(valkey, namespace, server, providers):
    async with probing(valkey, namespace, [model(server)], providers, replicas=3):
        await eventually(lambda: len(providers.requested_at) >= 4, 10)
    gaps = [later - earlier for earlier, later in zip(providers.requested_at, providers.requested_at[1:], strict=False)]
    assert min(gaps) > EVERY_S / 2, gaps


async def test_one_probe_covers_all_models_of_a_server(valkey, namespace, server, providers):
    models = [model(server), model(server, name="n", upstream="n")]
    await server.refuse()
    async with probing(valkey, namespace, models, providers) as [replica]:
        await eventually(lambda: all(replica.open(time.time(), name) for name in ("m", "n")), 10)
    assert len(providers.requested_at) == 3, "one request, and two repetitions for confirmation"


async def test_model_in_use_is_not_probed(valkey, namespace, server, providers):
    other = model(server, base_url=f"{server.address}/other", name="n")
    async with probing(valkey, namespace, [model(server), other], providers) as [replica]:
        while len(providers.requested_at) < 2:  # probes of the other server
            permit = replica.health.acquire("m", time.time())
            assert permit is not None
            replica.health.succeeded("m", permit, time.time())
            await asyncio.sleep(0.02)
        addresses = await valkey.keys(f"{namespace}:server:probe:*")
    assert len(addresses) <= 1


def test_cloud_provider_is_probed_at_most_every_three_minutes():
    assert CLOUD_INTERVAL_S >= 180
