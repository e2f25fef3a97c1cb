"""An answer that was approved is given again, where the request is deterministic; nothing else ever is."""

from __future__ import annotations

import asyncio

from kairos.db.models import TaskState
from tests.kit.house import House, new_project
from tests.kit.model_server import ModelServer, ScriptedModel

SUMMARY = {"prompt": "give the project summary", "temperature": 0.0, "require": ("hello",)}


async def test_the_same_question_is_asked_of_a_model_once(house: House, models: ModelServer):
    async with house.working():
        first = await house.finished(await house.submit(**SUMMARY))
        second = await house.finished(await house.submit(**SUMMARY))
    assert first.output == second.output == "hello"
    assert len(models.calls) == 1
    kinds = [event.kind for event in await house.events(second.id)]
    assert "cache_hit" in kinds
    assert "decision" not in kinds, "no model was ranked"


async def test_a_hit_is_no_observation_of_quality(house: House):
    async with house.working():
        await house.finished(await house.submit(**SUMMARY, task_type="summary"))
        await house.finished(await house.submit(**SUMMARY, task_type="summary"))
    score = house.parts.services.router._calculate_model_score("echo", "summary", house.project_id)
    assert score
    assert round(score.n) == 1


async def test_what_is_not_deterministic_is_asked_again(house: House, models: ModelServer):
    async with house.working():
        for _ in range(2):
            await house.finished(await house.submit("give the project summary", temperature=0.7))
    assert len(models.calls) == 2


async def test_the_submitter_has_the_last_word(house: House, models: ModelServer):
    """`cache: false` and `Cache-Control: no-cache` are honoured, and `cache: true` caches what chance has a part in."""
    async with house.working():
        await house.finished(await house.submit(**SUMMARY))
        await house.finished(await house.submit(**SUMMARY, cache=False))
        await house.finished(await house.submit(**SUMMARY, cache_control="no-cache"))
        assert len(models.calls) == 3
        for _ in range(2):
            await house.finished(await house.submit("by chance", temperature=1.0, cache=True))
    assert len(models.calls) == 4


async def test_a_rejected_answer_is_not_kept(house: House, models: ModelServer):
    """Two drafts for each task, and nothing of the first serves the second."""
    async with house.working():
        for _ in range(2):
            task = await house.finished(await house.submit("x", temperature=0.0, require=("goodbye",)))
            assert task.state == TaskState.REJECTED
    assert len(models.calls) == 4


async def test_another_project_does_not_get_it(house: House, models: ModelServer):
    async with house.working():
        await house.finished(await house.submit(**SUMMARY))
        house.project_id, house.user_id = await new_project(house.parts)
        await house.finished(await house.submit(**SUMMARY))
    assert len(models.calls) == 2


async def test_the_same_question_at_the_same_time_makes_one_call(house: House, models: ModelServer):
    models.add(ScriptedModel("echo", answer="hello", first_token_s=0.3))
    async with house.working():
        ids = [await house.submit(**SUMMARY) for _ in range(4)]
        tasks = await asyncio.gather(*(house.finished(task_id) for task_id in ids))
    assert {task.output for task in tasks} == {"hello"}
    assert len(models.calls) == 1


async def test_a_project_can_be_flushed(house: House, models: ModelServer):
    async with house.working():
        await house.finished(await house.submit(**SUMMARY))
        assert await house.parts.services.router.cache.flush(house.project_id) == 1
        await house.finished(await house.submit(**SUMMARY))
    assert len(models.calls) == 2
