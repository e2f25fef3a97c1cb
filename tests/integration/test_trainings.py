"""Training runs started and stopped by people and triggers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from kairos.config import FineTuningSettings, ModelSettings
from kairos.db.models import RunState, SampleRow, TaskState, TrainingRunRow
from kairos.db.repositories import training
from kairos.embedded import Addresses
from kairos.errors import Conflict
from kairos.fine_tuning.training.trainer import LIBRARIES, CannotTrain, TrainingPlan
from kairos.lanes import Lane
from kairos.orchestration.tasks.labels import Label, NewLabel
from kairos.orchestration.tasks.trainings import state_of
from kairos.tenancy import TaskId, new_id
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer


@asynccontextmanager
async def opened(addresses: Addresses, folder: Path, **settings) -> AsyncIterator[KairosApp]:
    (weights := folder / "tiny.gguf").write_bytes(b"GGUF")
    async with ModelServer() as server:
        models = [
            ModelSettings(name="plain", base_url=server.base_url, local=True),
            ModelSettings(name="tiny", base_url=server.base_url, local=True, weights=weights, adapters="ollama"),
        ]
        fine_tuning = FineTuningSettings(**settings)
        async with open_app(addresses, server, data_dir=folder, models=models, fine_tuning=fine_tuning) as app:
            yield app


@pytest.fixture
async def app(addresses: Addresses, tmp_path: Path) -> AsyncIterator[KairosApp]:
    async with opened(addresses, tmp_path) as app:
        yield app


async def approve(app: KairosApp, amount: int, **values) -> None:
    async with app.database.project(app.project_id) as session:
        for _ in range(amount):
            row_id = new_id()
            prompt = [{"role": "user", "content": f"ask {row_id}"}]
            answer = {"state": "approved", "corrected_output": "right", "reason": "r"} | values
            session.add(SampleRow(project_id=app.project_id, id=row_id, prompt=prompt, **answer))


def trainings(app: KairosApp):
    return app.parts.orchestration.trainings


async def plan_of(app: KairosApp, base: str | None) -> TrainingPlan:
    return (await app.parts.orchestration.training_advice.plan(app.project_id, base)).plan


async def test_plan_counts_usable_rows_and_lists_problems(app: KairosApp):
    await approve(app, 4)
    await approve(app, 3, secrets=[{"kind": "key", "where": "prompt 1"}])
    await approve(app, 2, state="corrected")
    plan = await plan_of(app, None)
    assert plan.base == "tiny", "the first model that can be trained"
    assert (plan.rows, plan.training + plan.held_out) == (4, 4)
    assert any("approved samples for training" in problem for problem in plan.problems)
    with pytest.raises(CannotTrain, match="approved samples"):
        await trainings(app).start(app.project_id, app.user_id, "tiny")


async def test_model_without_weights_cannot_be_trained(app: KairosApp):
    bases = {base.name: base.reason for base in trainings(app).bases()}
    assert bases["tiny"] is None
    assert "weights" in (bases["plain"] or "")
    await approve(app, 24)
    with pytest.raises(CannotTrain, match="weights"):
        await trainings(app).start(app.project_id, app.user_id, "plain")


async def test_missing_libraries_are_reported(app: KairosApp, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kairos.fine_tuning.training.trainer.LIBRARIES", (*LIBRARIES, "no_such_library"))
    plan = await plan_of(app, "tiny")
    assert any("no_such_library" in problem and "make train" in problem for problem in plan.problems)


async def test_run_is_a_task_in_the_training_lane_and_a_second_run_of_the_base_is_refused(app: KairosApp):
    await approve(app, 20)
    status = await trainings(app).start(app.project_id, app.user_id, "tiny")
    assert status.run.task_id
    task = await app.task(status.run.task_id)
    assert (task.lane, task.agent, state_of(status)) == (Lane.TRAIN, "TrainingAgent", RunState.WAITING)
    with pytest.raises(Conflict, match="is active"):
        await trainings(app).start(app.project_id, app.user_id, "tiny")
    cancelled = await trainings(app).cancel(app.project_id, status.run.id)
    assert state_of(cancelled) is RunState.CANCELLED
    with pytest.raises(Conflict):
        await trainings(app).cancel(app.project_id, status.run.id)
    again = await trainings(app).start(app.project_id, app.user_id, "tiny")
    assert again.run.id != status.run.id


async def test_task_of_a_run_cannot_be_labelled(app: KairosApp):
    """It would become a sample, and the next run would train on it."""
    await approve(app, 20)
    run = (await trainings(app).start(app.project_id, app.user_id, "tiny")).run
    assert run.task_id
    await trainings(app).cancel(app.project_id, run.id)
    label = NewLabel(Label.EDIT, "better")
    with pytest.raises(Conflict, match="training run"):
        await app.parts.orchestration.labels.save(app.project_id, app.user_id, TaskId(run.task_id), label)
    assert await app.samples(run.task_id) == []


async def test_run_without_its_task_has_failed_after_a_while(app: KairosApp):
    await approve(app, 20)
    status = await trainings(app).start(app.project_id, app.user_id, "tiny")
    async with app.database.project(app.project_id) as session:
        run = update(TrainingRunRow).where(TrainingRunRow.id == status.run.id)
        await session.execute(run.values(task_id=new_id(), state=RunState.TRAINING))
    young = await trainings(app).get(app.project_id, status.run.id)
    assert state_of(young) is RunState.TRAINING
    async with app.database.project(app.project_id) as session:
        values = {"created_at": young.run.created_at - timedelta(minutes=2)}
        await session.execute(update(TrainingRunRow).where(TrainingRunRow.id == status.run.id).values(values))
    assert state_of(await trainings(app).get(app.project_id, status.run.id)) is RunState.FAILED


async def test_run_is_due_only_with_new_rows(app: KairosApp):
    """Checks the function that the triggers call: by rows, by hours, and not during a run."""

    async def due(rows: int | None, every: timedelta | None) -> bool:
        async with app.database.system() as connection:
            return app.project_id in await training.due(connection, rows, every)

    hour = timedelta(hours=1)
    assert not await due(1, hour), "no row was approved"
    async with app.database.project(app.project_id) as session:
        await session.execute(update(SampleRow).values(labelled_at=None))
    await approve(app, 24)
    assert await due(24, None)
    assert not await due(25, None)
    assert await due(None, hour), "no run has ever started"
    status = await trainings(app).start(app.project_id, None, "tiny")
    assert not await due(1, hour), "a run is active"
    await trainings(app).cancel(app.project_id, status.run.id)
    assert not await due(1, timedelta(0)), "no new rows since the last run"
    async with app.database.project(app.project_id) as session:
        now = status.run.created_at + timedelta(seconds=1)
        await session.execute(update(SampleRow).values(labelled_at=now))
    assert await due(24, None)
    assert not await due(None, hour)
    assert await due(None, timedelta(0))


async def test_failed_training_creates_no_sample(app: KairosApp):
    await approve(app, 20)
    status = await trainings(app).start(app.project_id, app.user_id, "tiny")
    assert status.run.task_id
    async with app.working():
        task = await app.in_state(status.run.task_id, TaskState.FAILED, TaskState.DEAD, within_s=60)
    assert task.error
    assert await app.samples(status.run.task_id) == []
    ended = await trainings(app).get(app.project_id, status.run.id)
    assert state_of(ended) is RunState.FAILED
    assert ended.run.error
