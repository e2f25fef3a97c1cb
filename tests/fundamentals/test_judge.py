"""A judge scores answers that no check can measure, after the task has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kairos.config import JudgeSettings, ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.llm.catalog.catalog import Model
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel


@pytest.fixture
async def judged(addresses: Addresses, models: ModelServer):
    """A `KairosApp` whose judge scores every answer 9 of 10."""
    models.add(ScriptedModel("judge", answer='{"reason": "it greets", "score": 9}'))
    entries = [
        ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
        ModelSettings(name="judge", base_url=models.base_url, local=True, tier=0.02),
    ]
    judge = JudgeSettings(model="judge", share=1.0)
    async with open_app(addresses, models, models=entries, judge=judge) as app:
        yield app


async def test_answer_without_checks_is_judged_with_a_reason(judged: KairosApp):
    async with judged.working():
        task = await judged.finished(await judged.submit("greet me"))
        await judged.parts.agents.judge.drain()
    assert task.state == TaskState.SUCCEEDED
    last = (await judged.events(task.id))[-1]
    assert (last.kind, last.data["score"], last.data["reason"]) == ("judged", 0.9, "it greets")
    decision = (await judged.decisions(task.id))[0]
    assert decision.quality == pytest.approx(0.9)


async def test_judge_is_not_called_if_checks_measured_the_answer(judged: KairosApp, models: ModelServer):
    async with judged.working():
        await judged.finished(await judged.submit(require=("hello",)))
        await judged.parts.agents.judge.drain()
    assert models.calls_of("judge") == []


async def test_judge_does_not_score_its_own_answer(judged: KairosApp, models: ModelServer):
    async with judged.working():
        task = await judged.finished(await judged.submit(model="judge"))
        await judged.parts.agents.judge.drain()
    assert len(models.calls_of("judge")) == 1, "one call for the answer, none to score it"
    assert (await judged.decisions(task.id))[0].quality is None


async def test_judge_does_not_score_an_adapter_of_itself(
    judged: KairosApp, models: ModelServer, monkeypatch: pytest.MonkeyPatch
):
    """This holds even if the adapter has another name and another server than the judge."""

    async def no_refresh() -> None:
        """Do nothing: a refresh would remove the adapter, which is not in the database."""

    monkeypatch.setattr(judged.parts.learning.deployments, "_refresh_if_possible", no_refresh)
    async with ModelServer(ScriptedModel("tuned", answer="hello")) as other:
        tuned = Model("judge@1-v1", "tuned", other.base_url, local=True, project_id=judged.project_id, base="judge")
        judged.parts.llm.router.replace_adapters([tuned])
        async with judged.working():
            task = await judged.finished(await judged.submit(model="judge@1-v1"))
            await judged.parts.agents.judge.drain()
    assert task.state == TaskState.SUCCEEDED
    assert models.calls_of("judge") == []
    assert (await judged.decisions(task.id))[0].quality is None


async def test_invalid_judge_answer_measures_nothing(judged: KairosApp, models: ModelServer):
    models.add(ScriptedModel("judge", answer="splendid!"))
    async with judged.working():
        task = await judged.finished(await judged.submit())
        await judged.parts.agents.judge.drain()
    assert task.state == TaskState.SUCCEEDED
    assert (await judged.decisions(task.id))[0].quality is None
    assert (await judged.events(task.id))[-1].kind == "not_judged"


async def test_number_and_cost_of_judge_calls_are_reported(judged: KairosApp):
    async with judged.working():
        await judged.finished(await judged.submit())
        await judged.parts.agents.judge.drain()
        figures = await judged.parts.agents.judge.figures(judged.project_id, datetime.now(UTC) - timedelta(days=1))
    assert (figures.judged, figures.calls, figures.failures) == (1, 1, 0)
    assert figures.cost_usd == 0.0
