"""A label overrides every other measurement of an answer, trains the router and adds samples to the dataset."""

from __future__ import annotations

import pytest

from kairos.db.models import TaskState
from kairos.db.repositories.tasks import labels
from kairos.errors import Conflict, InvalidInput
from kairos.orchestration.tasks.labels import Label, NewLabel
from kairos.tenancy import TaskId
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer


async def save_label(
    app: KairosApp, task_id, label: Label, output: str | None = None, reason: str | None = None
) -> None:
    new = NewLabel(label, output, reason)
    await app.parts.orchestration.labels.save(app.project_id, app.user_id, TaskId(task_id), new)


async def quality(app: KairosApp, task_id) -> float | None:
    return (await app.decisions(task_id))[-1].quality


async def test_label_measures_an_unmeasured_answer(app: KairosApp, models: ModelServer):
    async with app.working():
        task_id = await app.submit("say hello")
        await app.finished(task_id)
        assert await quality(app, task_id) is None
        await save_label(app, task_id, Label.ACCEPT)
    assert await quality(app, task_id) == 1.0
    assert await app.samples(task_id) == [], "an accepted answer needs no correction"


async def test_label_overrides_the_guardian_and_earlier_labels(app: KairosApp, models: ModelServer):
    async with app.working():
        task_id = await app.submit("say hello", require=("hello",))
        await app.finished(task_id)
        assert await quality(app, task_id) == 1.0
        await save_label(app, task_id, Label.REJECT, reason="rude")
        assert await quality(app, task_id) == 0.0
        await save_label(app, task_id, Label.ACCEPT)
    assert await quality(app, task_id) == 1.0
    (sample,) = await app.samples(task_id)
    assert (sample.state, sample.version) == ("rejected", 2), "the sample of the first label is excluded from training"


async def test_edit_becomes_a_sample_with_the_prompt_sent_to_the_model(app: KairosApp, models: ModelServer):
    async with app.working():
        task_id = await app.submit("say hello")
        task = await app.finished(task_id)
        await save_label(app, task_id, Label.EDIT, "good morning", "too short")
    (sample,) = await app.samples(task_id)
    assert (sample.state, sample.faulty_output, sample.corrected_output) == ("corrected", task.output, "good morning")
    assert [message["role"] for message in sample.prompt] == ["system", "user"]
    assert "too short" in sample.reason
    assert [event.kind for event in await app.events(task_id)][-1] == "labelled"


async def test_edit_of_a_rejected_answer_corrects_its_sample(app: KairosApp, models: ModelServer):
    async with app.working():
        task_id = await app.submit("say hello", require=("goodbye",))
        assert (await app.finished(task_id)).state == TaskState.REJECTED
        before = await app.samples(task_id)
        await save_label(app, task_id, Label.EDIT, "goodbye")
    after = await app.samples(task_id)
    assert len(after) == len(before)
    assert (after[-1].state, after[-1].corrected_output) == ("corrected", "goodbye")


async def test_answer_labelled_rejected_is_not_served_from_the_cache(app: KairosApp, models: ModelServer):
    async with app.working():
        first = await app.submit("summarise", temperature=0.0)
        await app.finished(first)
        await save_label(app, first, Label.REJECT)
        await app.finished(await app.submit("summarise", temperature=0.0))
    assert len(models.calls) == 2


async def test_invalid_label_is_refused_with_the_reason(app: KairosApp, models: ModelServer):
    waiting = await app.submit("say hello")
    with pytest.raises(Conflict, match="it is queued"):
        await save_label(app, waiting, Label.ACCEPT)
    async with app.working():
        task = await app.finished(waiting)
    with pytest.raises(InvalidInput, match="changes nothing"):
        await save_label(app, waiting, Label.EDIT, task.output)
    async with app.database.project(app.project_id) as session:
        assert await labels.get(session, waiting) is None
