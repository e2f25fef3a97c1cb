"""The cache serves approved answers to deterministic requests, and nothing else."""

from __future__ import annotations

import asyncio

from kairos.db.models import TaskState
from tests.kit.kairos_app import KairosApp, new_project
from tests.kit.model_server import ModelServer, ScriptedModel

SUMMARY = {"prompt": "give the project summary", "temperature": 0.0, "require": ("hello",)}


async def test_repeated_request_is_served_from_the_cache(app: KairosApp, models: ModelServer):
    async with app.working():
        first = await app.finished(await app.submit(**SUMMARY))
        second = await app.finished(await app.submit(**SUMMARY))
    assert first.output == second.output == "hello"
    assert len(models.calls) == 1
    kinds = [event.kind for event in await app.events(second.id)]
    assert "cache_hit" in kinds
    assert "decision" not in kinds, "the router was not called"


async def test_cache_hit_does_not_change_the_quality(app: KairosApp):
    async with app.working():
        await app.finished(await app.submit(**SUMMARY, task_type="summary"))
        await app.finished(await app.submit(**SUMMARY, task_type="summary"))
    score = app.parts.llm.router._calculate_model_score("echo", "summary", app.project_id)
    assert score
    assert round(score.n) == 1


async def test_nondeterministic_request_is_not_cached(app: KairosApp, models: ModelServer):
    async with app.working():
        for _ in range(2):
            await app.finished(await app.submit("give the project summary", temperature=0.7))
    assert len(models.calls) == 2


async def test_submitter_can_override_the_cache_policy(app: KairosApp, models: ModelServer):
    """`cache: false` and `Cache-Control: no-cache` bypass the cache; `cache: true` caches requests with temperature."""
    async with app.working():
        await app.finished(await app.submit(**SUMMARY))
        await app.finished(await app.submit(**SUMMARY, cache=False))
        await app.finished(await app.submit(**SUMMARY, cache_control="no-cache"))
        assert len(models.calls) == 3
        for _ in range(2):
            await app.finished(await app.submit("by chance", temperature=1.0, cache=True))
    assert len(models.calls) == 4


async def test_rejected_answer_is_not_cached(app: KairosApp, models: ModelServer):
    """Both tasks call the model for two drafts."""
    async with app.working():
        for _ in range(2):
            task = await app.finished(await app.submit("x", temperature=0.0, require=("goodbye",)))
            assert task.state == TaskState.REJECTED
    assert len(models.calls) == 4


async def test_cached_answer_is_not_served_to_another_project(app: KairosApp, models: ModelServer):
    async with app.working():
        await app.finished(await app.submit(**SUMMARY))
        app.project_id, app.user_id = await new_project(app.parts)
        await app.finished(await app.submit(**SUMMARY))
    assert len(models.calls) == 2


async def test_concurrent_identical_requests_make_one_call(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="hello", first_token_s=0.3))
    async with app.working():
        ids = [await app.submit(**SUMMARY) for _ in range(4)]
        tasks = await asyncio.gather(*(app.finished(task_id) for task_id in ids))
    assert {task.output for task in tasks} == {"hello"}
    assert len(models.calls) == 1


async def test_cache_of_a_project_can_be_flushed(app: KairosApp, models: ModelServer):
    async with app.working():
        await app.finished(await app.submit(**SUMMARY))
        assert await app.parts.llm.router.cache.flush(app.project_id) == 1
        await app.finished(await app.submit(**SUMMARY))
    assert len(models.calls) == 2
