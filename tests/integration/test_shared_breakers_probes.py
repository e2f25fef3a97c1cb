"""Looks at quiet servers over real HTTP: one replica looks, and what it finds counts for all."""

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
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.health import ModelHealthState
from kairos.llm.health.probes import CLOUD_INTERVAL_S, Probes
from tests.kit.conditions import eventually
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.replicas import Replica

EVERY_S = 0.3


class CountingProviders(Providers):
    """Notes when a server was asked for its models."""

    def __init__(self, http: HttpClient) -> None:
        super().__init__(http)
        self.looks: list[float] = []

    async def list_models(self, base_url: str, api_key: str | None, *, timeout_s: float) -> list[str]:
        self.looks.append(time.monotonic())
        return await super().list_models(base_url, api_key, timeout_s=timeout_s)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(ScriptedModel("m")) as running:
        yield running


@pytest.fixture
async def providers() -> AsyncIterator[CountingProviders]:
    async with HttpClient() as http:
        yield CountingProviders(http)


@asynccontextmanager
async def looking(
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


async def test_a_server_that_is_away_is_known_to_all_before_a_call_fails(valkey, namespace, server, providers):
    await server.refuse()
    async with looking(valkey, namespace, [model(server)], providers, replicas=3) as replicas:
        await eventually(lambda: all(replica.open(time.time()) for replica in replicas), 10, "all know")
        assert states(replicas) == {ModelHealthState.UNHEALTHY}
        assert "cannot be reached" in replicas[2].health.status("m", time.time()).detail
    assert server.calls == []


async def test_its_return_lets_the_next_call_try_it(valkey, namespace, server, providers):
    await server.refuse()
    async with looking(valkey, namespace, [model(server)], providers, replicas=2) as replicas:
        await eventually(lambda: all(replica.open(time.time()) for replica in replicas), 10, "all know it is away")
        await server.accept()
        await eventually(lambda: not any(replica.open(time.time()) for replica in replicas), 10, "all know it is back")
        assert states(replicas) == {ModelHealthState.UNHEALTHY}, "until a call has succeeded"


async def test_a_server_that_lists_its_models_and_fails_at_each_call_stays_closed_to_calls(
    valkey, namespace, server, providers
):
    async with looking(valkey, namespace, [model(server)], providers) as [replica]:
        await replica.fail(time.time(), 3)
        seen = len(providers.looks)
        await eventually(lambda: len(providers.looks) > seen + 1, 10, "it was looked at twice")
        assert replica.open(time.time())


async def test_one_replica_looks_for_all(valkey, namespace, server, providers):
    async with looking(valkey, namespace, [model(server)], providers, replicas=3):
        await eventually(lambda: len(providers.looks) >= 4, 10)
    gaps = [later - earlier for earlier, later in zip(providers.looks, providers.looks[1:], strict=False)]
    assert min(gaps) > EVERY_S / 2, gaps


async def test_one_look_tells_of_all_models_of_a_server(valkey, namespace, server, providers):
    models = [model(server), model(server, name="n", upstream="n")]
    await server.refuse()
    async with looking(valkey, namespace, models, providers) as [replica]:
        await eventually(lambda: all(replica.open(time.time(), name) for name in ("m", "n")), 10)
    assert len(providers.looks) == 3, "once, and twice to make sure"


async def test_a_model_that_is_called_needs_no_looks(valkey, namespace, server, providers):
    other = model(server, base_url=f"{server.address}/other", name="n")
    async with looking(valkey, namespace, [model(server), other], providers) as [replica]:
        while len(providers.looks) < 2:  # those of the other server
            permit = replica.health.acquire("m", time.time())
            assert permit is not None
            replica.health.succeeded("m", permit, time.time())
            await asyncio.sleep(0.02)
        addresses = await valkey.keys(f"{namespace}:server:probe:*")
    assert len(addresses) <= 1


def test_a_provider_in_the_cloud_is_asked_every_few_minutes_at_most():
    assert CLOUD_INTERVAL_S >= 180
