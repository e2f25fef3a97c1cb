"""Events and records of an attempt are stored with its result, once, and early if the attempt takes long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update

from kairos.db.engine import Session
from kairos.db.models import EventKind, MetricRow, TaskRow, TaskState
from kairos.errors import EngineUnavailable
from kairos.orchestration.queue.claim import Claim
from kairos.orchestration.tasks.attempt_journal import LeaseLost
from kairos.tenancy import ProjectId
from tests.kit.attempts import claimed, journal_of
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel


async def kinds(app: KairosApp, claim: Claim) -> list[str]:
    return [event.kind for event in await app.events(claim.task_id)]


async def test_short_attempt_is_stored_in_one_transaction(app: KairosApp):
    async with app.working():
        task = await app.finished(await app.submit("say hello", require=("hello",)))
    events = {event.kind: event for event in await app.events(task.id)}
    [decision] = await app.decisions(task.id)
    assert len({events[kind].xact for kind in ("drafting", "decision", "verdict", "succeeded")}) == 1
    assert len({event.xact for event in events.values()}) == 3, "submission, claim and result"
    assert (decision.answered, decision.quality) == ("echo", 1.0)


async def test_renewal_of_leases_after_the_result_was_stored_does_not_stop_the_attempt(
    app: KairosApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The attempt still announces measured qualities. Its lease ended with the result."""
    statistics, leases = app.parts.llm.router._statistics, app.parts.orchestration.worker._leases
    assert statistics is not None
    states = []

    async def renew(project_id: ProjectId) -> None:
        states.extend([(await app.task(claim.task_id)).state for claim in leases.claims()])
        await leases.renew()

    monkeypatch.setattr(statistics, "announce", renew)
    async with app.working():
        task = await app.finished(await app.submit("say hello", require=("hello",)))
        await eventually(lambda: not leases.claims(), why="the attempt ends")
    assert (task.state, states) == (TaskState.SUCCEEDED, [TaskState.SUCCEEDED])
    assert "lost its lease" not in caplog.text


async def test_events_of_a_long_attempt_are_stored_before_its_end(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="hello", first_token_s=30))
    async with app.working():
        task_id = await app.submit("say hello")

        async def decided() -> bool:
            return "decision" in [event.kind for event in await app.events(task_id)]

        await eventually(decided, 10, "the decision is visible while the model works")
        assert (await app.task(task_id)).state == TaskState.RUNNING
        assert [row.chosen for row in await app.decisions(task_id)] == ["echo"]
        await app.cancel(task_id)
        await app.in_state(task_id, TaskState.CANCELLED)


async def test_event_has_the_time_at_which_it_happened(app: KairosApp):
    claim = await claimed(app)
    journal = journal_of(app, claim)
    before = datetime.now(UTC)
    await journal.emit(EventKind.DRAFTING, {})
    async with app.database.project(app.project_id) as session:
        await session.execute(text("select pg_sleep(.3)"))
    await journal.flush()
    [event] = [event for event in await app.events(claim.task_id) if event.kind == "drafting"]
    assert event.at - before < timedelta(seconds=0.25)


async def test_lost_lease_discards_events_and_keeps_records(app: KairosApp):
    claim = await claimed(app)
    journal = journal_of(app, claim)
    await journal.emit(EventKind.DRAFTING, {})
    journal.record(_note)
    async with app.database.project(app.project_id) as session:
        await session.execute(update(TaskRow).where(TaskRow.id == claim.task_id).values(epoch=TaskRow.epoch + 1))
    await journal.flush()
    assert "drafting" not in await kinds(app, claim)
    assert await _notes(app) == 1
    with pytest.raises(LeaseLost):
        await journal.emit(EventKind.VERDICT, {})


LOST = EngineUnavailable(engine="PostgreSQL", address="test", reason="lost", remedy="Wait")


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("error", [LOST, asyncio.CancelledError()], ids=["lost", "cancelled"])
async def test_entries_are_stored_once_if_their_transaction_is_interrupted(
    app: KairosApp, monkeypatch: pytest.MonkeyPatch, error: BaseException, committed: bool
):
    """The interruption comes after COMMIT was sent, or before. The next transaction cannot even begin."""
    claim = await claimed(app)
    journal = journal_of(app, claim)
    await journal.emit(EventKind.DRAFTING, {})
    journal.record(_note)
    with monkeypatch.context() as patched:
        patched.setattr(app.database, "project", _interrupted(app.database.project, error, committed))
        with pytest.raises(type(error)):
            await journal.flush()
        patched.setattr(app.database, "project", _unreachable)
        with pytest.raises(EngineUnavailable):
            await journal.flush()
    assert ("drafting" in await kinds(app, claim)) is committed
    await journal.emit(EventKind.VERDICT, {})
    await journal.flush()
    assert [kind for kind in await kinds(app, claim) if kind in ("drafting", "verdict")] == ["drafting", "verdict"]
    assert await _notes(app) == 1


def _interrupted(project, error: BaseException, committed: bool):
    @asynccontextmanager
    async def interrupted(project_id) -> AsyncIterator[Session]:
        async with project(project_id) as session:
            yield session
            if not committed:
                raise error
        raise error

    return interrupted


@asynccontextmanager
async def _unreachable(project_id) -> AsyncIterator[Session]:
    raise LOST
    yield


async def _note(session: Session) -> None:
    """A record that would be stored twice if it were written twice."""
    project_id = text("cast(current_setting('kairos.project_id') as uuid)")
    await session.execute(
        text(
            "insert into model_performance_metrics (project_id, id, model, task_type, success, duration_s)"
            f" values ({project_id}, gen_random_uuid(), 'm', 't', true, 1)"
        )
    )


async def _notes(app: KairosApp) -> int:
    async with app.database.project(app.project_id) as session:
        return int(await session.scalar(select(func.count()).select_from(MetricRow)) or 0)
