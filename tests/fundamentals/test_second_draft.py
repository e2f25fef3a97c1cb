"""After a rejection, the second draft comes from another model if one can be called."""

from __future__ import annotations

import pytest

from kairos.config import ModelSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from kairos.llm.catalog.catalog import Model
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel


@pytest.fixture
async def two_models(addresses: Addresses, models: ModelServer):
    """A `KairosApp` with `echo`, which has the higher tier and never answers Paris, and `spare`, which does."""
    models.add(ScriptedModel("echo", answer="no idea"))
    models.add(ScriptedModel("spare", answer="Paris"))
    entries = [
        ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
        ModelSettings(name="spare", base_url=models.base_url, local=True, tier=0.3),
    ]
    async with open_app(addresses, models, models=entries) as app:
        yield app


async def run_task(app: KairosApp, **options: object) -> tuple[TaskState, list[str | None]]:
    """Run a task that requires Paris. Returns its final state and the model of each draft."""
    async with app.working():
        task = await app.finished(await app.submit("capital of France", require=("Paris",), **options))
    decisions = await app.decisions(task.id)
    return TaskState(task.state), [
        decision.answered for decision in sorted(decisions, key=lambda decision: decision.id)
    ]


async def test_second_draft_comes_from_another_model(two_models: KairosApp):
    assert await run_task(two_models) == (TaskState.SUCCEEDED, ["echo", "spare"])


async def test_session_continues_with_the_model_of_the_approved_draft(two_models: KairosApp):
    assert await run_task(two_models, session="talk") == (TaskState.SUCCEEDED, ["echo", "spare"])
    assert await run_task(two_models, session="talk") == (TaskState.SUCCEEDED, ["spare"])


async def test_named_model_is_called_again(two_models: KairosApp):
    assert await run_task(two_models, model="echo") == (TaskState.REJECTED, ["echo", "echo"])


async def test_rejected_model_is_called_again_if_the_other_one_fails(two_models: KairosApp, models: ModelServer):
    models.fail("spare", Fault(FaultKind.STATUS, status=503))
    assert await run_task(two_models) == (TaskState.REJECTED, ["echo", "echo"])


async def test_only_model_is_called_again(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=["no idea", "Paris"]))
    assert await run_task(app) == (TaskState.SUCCEEDED, ["echo", "echo"])


async def test_rejected_model_is_called_again_if_the_adapter_is_no_candidate(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=["no idea", "Paris"]))
    adapter = Model(
        "echo@12345678-v1", "tuned", models.base_url, base="echo", project_id=app.project_id, local=True, share=0.0
    )
    app.parts.llm.router.replace_adapters([adapter])
    assert await run_task(app) == (TaskState.SUCCEEDED, ["echo", "echo"])


async def test_reasoning_is_stored_separately_from_the_answer(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="<think>Paris? No, Rome.</think>\n\nRome"))
    async with app.working():
        task = await app.finished(await app.submit("capital of Italy", forbid=("Paris",)))
    assert (task.state, task.output) == (TaskState.SUCCEEDED, "Rome")
    verdict = (await app.verdicts(task.id))[-1]
    assert (verdict.output, verdict.reasoning) == ("Rome", "Paris? No, Rome.")
    assert "think" not in str(verdict.messages)


async def test_reasoning_without_an_answer_is_rejected(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="<think>It might be Rome, or"))
    async with app.working():
        task = await app.finished(await app.submit("capital of Italy"))
    assert task.state == TaskState.REJECTED
    verdict = (await app.verdicts(task.id))[-1]
    assert "the model wrote reasoning and nothing after it" in verdict.findings[0]["message"]
    samples = await app.samples(task.id)
    assert all("think" not in str(sample.prompt) + str(sample.faulty_output) for sample in samples)


async def test_truncated_answer_is_neither_approved_nor_cached(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="Rome it is"))
    async with app.working():
        for _ in range(2):
            task = await app.finished(await app.submit("say hello", temperature=0.0, max_tokens=1))
            assert task.state == TaskState.REJECTED
            verdict = (await app.verdicts(task.id))[-1]
            assert "The answer was truncated at 1 tokens" in verdict.findings[0]["message"]
            assert "cache_hit" not in [event.kind for event in await app.events(task.id)]
