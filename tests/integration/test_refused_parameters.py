"""Refused parameters of a model: shared between daemons, reset on request, without effect on the model's health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.background_tasks import end
from kairos.config import JudgeSettings, ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.llm.calls.adjustments import Adjustments
from kairos.llm.calls.model_traits import EXPIRY_S, ModelTraits, Traits, identity
from kairos.llm.calls.served_context import ModelContexts, ServedContext
from kairos.llm.calls.shared_traits import SharedTraits
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.health import ModelHealthState
from kairos.redis_client import connect
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel

MODEL = Model("m", "m", "http://nowhere.test/v1")
WITHOUT_TEMPERATURE = Traits(Adjustments(dropped=frozenset({"temperature"})))
WITHOUT_SEED = Traits(Adjustments(dropped=frozenset({"seed"})), context=4096)


@pytest.fixture
async def two(valkey: Redis, namespace: str) -> AsyncIterator[list[ModelTraits]]:
    async with AsyncExitStack() as stack:
        replicas = [ModelTraits() for _ in range(2)]
        for traits in replicas:
            running = asyncio.create_task(SharedTraits(valkey, traits, namespace=namespace, poll_s=0.05).run())
            stack.push_async_callback(end, running)
        yield replicas


async def wait_until_known(replicas: list[ModelTraits], traits: Traits) -> None:
    await eventually(lambda: all(replica.of(MODEL) == traits for replica in replicas), 5, f"all know {traits}")


async def test_all_replicas_share_traits_until_a_reset(two: list[ModelTraits]):
    two[0].learn(MODEL, WITHOUT_TEMPERATURE)
    await wait_until_known(two, WITHOUT_TEMPERATURE)
    two[1].learn(MODEL, WITHOUT_SEED)
    await wait_until_known(two, WITHOUT_TEMPERATURE.merged(WITHOUT_SEED))
    two[0].discard(MODEL)
    await wait_until_known(two, Traits())


async def test_changed_context_of_a_server_is_reset_in_all_replicas(two: list[ModelTraits]):
    two[0].learn(MODEL, WITHOUT_SEED)
    await wait_until_known(two, WITHOUT_SEED)
    contexts = ModelContexts(two[0])
    contexts.update(MODEL, ServedContext(8192))
    two[0].learn(MODEL, WITHOUT_TEMPERATURE)  # at once, before the change is written to Redis
    await wait_until_known(two, replace(WITHOUT_SEED, context=None).merged(WITHOUT_TEMPERATURE))
    assert contexts.of(MODEL) == 8192


async def test_stored_context_is_dropped_when_the_server_reports_another(valkey: Redis, namespace: str):
    await valkey.hset(  # type: ignore[misc]
        redis_keys.model_traits(namespace), identity(MODEL), replace(WITHOUT_SEED, at=time.time()).to_json()
    )
    traits = ModelTraits()
    shared = SharedTraits(valkey, traits, namespace=namespace)
    contexts = ModelContexts(traits)
    contexts.update(MODEL, ServedContext(8192))  # before the first read from Redis
    await shared.exchange()
    assert contexts.of(MODEL) == 8192
    assert traits.of(MODEL) == replace(WITHOUT_SEED, context=None)
    later = ModelTraits()
    await SharedTraits(valkey, later, namespace=namespace).exchange()
    assert later.of(MODEL) == replace(WITHOUT_SEED, context=None)


async def test_trait_learned_after_a_reset_does_not_restore_the_others(valkey: Redis, namespace: str):
    traits = ModelTraits()
    shared = SharedTraits(valkey, traits, namespace=namespace)
    traits.learn(MODEL, WITHOUT_SEED)
    await shared.exchange()
    traits.discard(MODEL)
    traits.learn(MODEL, WITHOUT_TEMPERATURE)
    await shared.exchange()
    assert traits.of(MODEL) == WITHOUT_TEMPERATURE


async def test_expired_and_unreadable_traits_are_dropped(two: list[ModelTraits], valkey: Redis, namespace: str):
    key = redis_keys.model_traits(namespace)
    await valkey.hset(key, "old", Traits(WITHOUT_TEMPERATURE.adjustments, at=time.time() - EXPIRY_S - 1).to_json())  # type: ignore[misc]
    await valkey.hset(key, "strange", b"[]")  # type: ignore[misc]
    await valkey.hset(key, identity(MODEL), Traits(WITHOUT_TEMPERATURE.adjustments, at=time.time()).to_json())  # type: ignore[misc]
    await wait_until_known(two, WITHOUT_TEMPERATURE)

    async def clean() -> bool:
        return await valkey.hkeys(key) == [identity(MODEL).encode()]  # type: ignore[misc]

    await eventually(clean, 5, "only the current entry is left")


async def test_replica_uses_its_own_traits_without_redis():
    traits = ModelTraits()
    away = connect("redis://127.0.0.1:1/0")
    running = asyncio.create_task(SharedTraits(away, traits, poll_s=0.05).run())
    traits.learn(MODEL, WITHOUT_TEMPERATURE)
    await asyncio.wait([running], timeout=0.3)
    assert not running.done()
    assert traits.of(MODEL) == WITHOUT_TEMPERATURE
    await end(running)
    await away.aclose()


def refuse_temperature(body: Mapping[str, Any]) -> tuple[int, Any] | None:
    if "temperature" in body:
        return 400, {"error": {"message": "Unsupported value: 'temperature' does not support 0 with this model.",
                               "param": "temperature", "code": "unsupported_value"}}  # fmt: skip
    return None


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer) -> AsyncIterator[KairosApp]:
    models.add(ScriptedModel("cold", answer='{"reason": "it greets", "score": 9}', refuses=refuse_temperature))
    entries = [
        ModelSettings(name="cold", base_url=models.base_url, local=True, tier=0.02),
        ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
    ]
    async with open_app(addresses, models, models=entries, judge=JudgeSettings(model="cold", share=1.0)) as app:
        yield app


async def test_model_that_refuses_temperature_can_judge(app: KairosApp):
    async with app.working():
        task = await app.finished(await app.submit("greet me"))
        await app.parts.agents.judge.drain()
    assert (await app.events(task.id))[-1].kind == "judged"


async def test_refused_parameter_does_not_affect_health_and_the_answer_is_not_cached(
    app: KairosApp, models: ModelServer
):
    router = app.parts.llm.router
    async with app.working():
        for _ in range(2):
            task = await app.finished(await app.submit("say hello", model="cold", temperature=0.0))
            assert task.state == TaskState.SUCCEEDED
    assert len(models.calls_of("cold")) == 3, "the refused call, and one for each task: no cache hit"
    assert router.health.status("cold", time.time()).state is ModelHealthState.HEALTHY
    assert router.adjustments(router.require("cold")) == ["temperature not sent"]
    router.reset(router.require("cold"))
    assert router.adjustments(router.require("cold")) == []


async def test_task_that_requests_the_cache_uses_it(app: KairosApp, models: ModelServer):
    async with app.working():
        for _ in range(2):
            await app.finished(await app.submit("say hello", model="cold", temperature=0.0, cache=True))
    assert len(models.calls_of("cold")) == 2


async def test_json_task_succeeds_on_a_model_without_declared_capabilities(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer='{"city": "Rome"}'))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    async with app.working():
        task = await app.finished(await app.submit("which city?", model="echo", schema=schema))
    assert task.state == TaskState.SUCCEEDED
    assert models.calls_of("echo")[0].body["response_format"]["type"] == "json_schema"
