"""The routes behind the dashboard: agents, overview, traffic and daemons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from kairos.db.models import (
    AdapterRow,
    AdapterState,
    DaemonRole,
    DecisionRow,
    MetricRow,
    ReplicaRow,
    TaskRow,
    TaskState,
    TrainingRunRow,
)
from kairos.db.repositories.queue import replicas
from kairos.db.repositories.queue.replicas import DaemonStatus
from kairos.orchestration.queue.heartbeat import Heartbeat
from kairos.tenancy import NOBODY, new_id
from tests.kit.api import Caller, Reply, serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.filling import fill
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer


@pytest.fixture
async def anonymous(app: KairosApp) -> AsyncIterator[Caller]:
    async with app.database.scope(NOBODY) as session:  # daemons of earlier tests still count as alive
        for daemon in await replicas.known(session):
            await replicas.leave(session, daemon.name)
    async with serving(app.parts) as caller:
        yield caller


def agent(reply: Reply, name: str = "ExecutionAgent") -> dict:
    return next(item for item in reply["items"] if item["name"] == name)


def age(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


async def agents(owner: Caller) -> Reply:
    return await owner.get("/api/agents")


async def daemons(owner: Caller) -> list[dict]:
    return (await owner.get("/api/daemons"))["items"]


class TestAgents:
    async def test_agents_are_offline_without_a_working_daemon(self, owner: Caller):
        reply = await agents(owner)
        shown = agent(reply)
        assert (shown["state"], shown["tasks"], shown["last_heartbeat"]) == ("offline", [], None)
        assert shown["capabilities"]
        assert await daemons(owner) == []
        assert shown["today"]["cost_usd"] is None
        assert shown["today"]["mean_s"] is None

    async def test_agent_is_idle_or_working(self, app: KairosApp, owner: Caller, models: ModelServer):
        models.fail("echo", Fault(FaultKind.HANG))
        async with app.working():
            await eventually(lambda: _in_state(owner, "idle"), why="the daemon has sent a heartbeat")
            idle = agent(await agents(owner))
            assert age(idle["last_heartbeat"]) < 5
            task_id = await app.submit("p" * 1000)
            running = await app.in_state(task_id, TaskState.RUNNING)
            reply = await agents(owner)
            shown = agent(reply)
            assert shown["state"] == "working"
            [task] = shown["tasks"]
            assert (task["id"], task["attempt"], task["worker"]) == (str(task_id), 1, running.owner)
            assert 0 < len(task["prompt"]) <= 500
            assert age(shown["last_heartbeat"]) < 5
            assert (shown["today"]["running"], shown["today"]["queued"]) == (1, 0)
            assert [daemon["alive"] for daemon in await daemons(owner)] == [True]
            assert app.parts.orchestration.coordinator.running(app.project_id) == {"ExecutionAgent": [task_id]}
            await app.cancel(task_id)
            await app.finished(task_id)
        assert agent(await agents(owner))["today"]["cancelled"] == 1

    async def test_tasks_of_other_projects_are_hidden(self, app: KairosApp, owner: Caller, models: ModelServer):
        other = await new_project(app.parts)
        other_caller = await signed_in(app.parts, owner, other[1], other[0])
        models.fail("echo", Fault(FaultKind.HANG))
        async with app.working():
            task_id = await app.submit()
            await app.in_state(task_id, TaskState.RUNNING)
            assert agent(await agents(owner))["state"] == "working"
            shown = agent(await agents(other_caller))
            assert (shown["state"], shown["tasks"], shown["today"]["running"]) == ("idle", [], 0)
            assert app.parts.orchestration.coordinator.running(other[0]) == {}
            await app.cancel(task_id)
            await app.finished(task_id)

    async def test_figures_of_today(self, app: KairosApp, owner: Caller):
        async with app.working():
            for required in ("hello", "hello", "something else"):
                await app.finished(await app.submit(require=(required,)))
        today = agent(await agents(owner))["today"]
        assert (today["succeeded"], today["rejected"], today["failed"]) == (2, 1, 0)
        assert today["mean_s"] > 0
        assert today["cost_usd"] == 0, "a local model costs nothing"


class TestReplicas:
    async def test_daemon_registers_and_unregisters(self, app: KairosApp, models: ModelServer, addresses):
        async with open_app(addresses, models) as second, second.working():
            await eventually(lambda: _alive(app, 1), why="the daemon is alive")
            [daemon] = await _known(app)
            assert (daemon.role, daemon.slots, daemon.works) == ("all", 4, True)
        assert [d.name for d in await _known(app)] == [], "a clean stop deletes the row"

    async def test_daemon_without_heartbeat_is_dead(self, app: KairosApp, owner: Caller):
        await Heartbeat(app.database, "lost", lambda: DaemonStatus(DaemonRole.WORKER, "1", 2)).beat()
        last_heartbeat = datetime.now(UTC) - timedelta(seconds=30)
        async with app.database.scope(NOBODY) as session:
            await session.execute(update(ReplicaRow).values(heartbeat_at=last_heartbeat))
        [daemon] = await daemons(owner)
        assert (daemon["name"], daemon["role"], daemon["alive"], daemon["slots"]) == ("lost", "worker", False, 2)
        assert agent(await agents(owner))["state"] == "offline"

    async def test_api_daemon_does_not_count_as_a_worker(self, app: KairosApp, owner: Caller):
        await Heartbeat(app.database, "api", lambda: DaemonStatus(DaemonRole.API, "1", 0)).beat()
        assert agent(await agents(owner))["state"] == "offline"

    async def test_heartbeat_keeps_the_start_time(self, app: KairosApp, owner: Caller):
        heart = Heartbeat(app.database, "h", lambda: DaemonStatus(DaemonRole.ALL, "1", 1))
        await heart.beat()
        [first] = await _known(app)
        await asyncio.sleep(0.01)
        await heart.beat()
        [second] = await _known(app)
        assert second.started_at == first.started_at
        assert second.heartbeat_at > first.heartbeat_at


class TestOverview:
    async def test_overview_of_an_empty_project(self, owner: Caller):
        shown = await owner.get("/api/overview")
        assert shown.status == 200
        assert set(shown["today"].values()) == {0}
        assert len(shown["days"]) == 14
        assert shown["days"][-1]["day"] == datetime.now(UTC).date().isoformat()
        assert (shown["spend_today_usd"], shown["local_share"]) == (None, None)
        assert shown["saved_by_cache"]["hits"] == 0
        assert shown["health"]["state"] == "degraded"
        assert shown["health"]["parts"]["workers"]["state"] == "away"

    async def test_overview_counts_finished_tasks(self, app: KairosApp, owner: Caller):
        async with app.working():
            done = [
                await app.finished(await app.submit(temperature=0.0, require=("hello",))),
                await app.finished(await app.submit(temperature=0.0, require=("hello",))),
                await app.finished(await app.submit(require=("something else",))),
            ]
            await eventually(lambda: _alive(app, 1), why="the daemon has sent a heartbeat")
            shown = await owner.get("/api/overview")
        assert [(task.state, task.error) for task in done[:2]] == [("succeeded", None)] * 2
        assert (shown["today"]["succeeded"], shown["today"]["rejected"]) == (2, 1)
        today = shown["days"][-1]
        assert (today["approved"], today["rejected"], today["failed"]) == (2, 1, 0)
        assert sum(day["approved"] for day in shown["days"][:-1]) == 0
        assert shown["local_share"] == 1.0
        assert shown["saved_by_cache"]["hits"] == 1
        assert shown["saved_by_cache"]["usd"] == 0, "a local model costs nothing"
        assert shown["waiting"]["rejected_tasks"] == 1
        assert shown["waiting"]["samples_open"] >= 1
        states = {name: part["state"] for name, part in shown["health"]["parts"].items()}
        assert shown["health"]["state"] == "ok"
        assert states == dict.fromkeys(("postgresql", "redis", "models", "workers"), "ok")

    async def test_labelled_task_is_no_longer_waiting(self, app: KairosApp, owner: Caller):
        async with app.working():
            task = await app.finished(await app.submit(require=("something else",)))
        assert (await owner.get("/api/overview"))["waiting"]["rejected_tasks"] == 1
        await owner.post(f"/api/tasks/{task.id}/label", {"label": "accept"})
        assert (await owner.get("/api/overview"))["waiting"]["rejected_tasks"] == 0

    async def test_adapter_that_needs_approval_is_counted(self, app: KairosApp, owner: Caller):
        files = {"path": "p", "sha256": "s", "bytes": 1, "manifest": {}}
        states = (AdapterState.NEEDS_APPROVAL, AdapterState.CANDIDATE, AdapterState.RETIRED)
        async with app.database.project(app.project_id) as session:
            for version, state in enumerate(states, start=1):
                of = {"project_id": app.project_id, "id": (run_id := new_id()), "base": "echo"}
                await session.execute(insert(TrainingRunRow).values(of))
                values = {**of, **files, "run_id": run_id, "version": version, "state": state}
                await session.execute(insert(AdapterRow).values(values))
        assert (await owner.get("/api/overview"))["waiting"]["adapters_need_approval"] == 1
        other = await new_project(app.parts)
        other_caller = await signed_in(app.parts, owner, other[1], other[0])
        assert (await other_caller.get("/api/overview"))["waiting"]["adapters_need_approval"] == 0

    async def test_days_follow_utc(self, app: KairosApp, owner: Caller):
        task_id = await fill(app.database, app.project_id, app.user_id)
        late = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(seconds=1)
        async with app.database.project(app.project_id) as session:
            await session.execute(
                update(TaskRow).where(TaskRow.id == task_id).values(state="dead", started_at=late, finished_at=late)
            )
            await session.execute(update(MetricRow).where(MetricRow.id == task_id).values(at=late, cost_usd=0.25))
        shown = await owner.get("/api/overview")
        assert [day["failed"] for day in shown["days"][-2:]] == [1, 0]
        assert [day["cost_usd"] for day in shown["days"][-2:]] == [0.25, None]
        assert (shown["spend_today_usd"], shown["today"]["dead"]) == (None, 0)


class TestTraffic:
    async def test_traffic_by_day_model_and_task_type(self, app: KairosApp, owner: Caller):
        async with app.working():
            for required in ("hello", "something else"):
                await app.finished(await app.submit(require=(required,), task_type="greeting"))
            await eventually(lambda: _measured(owner), 10)
        [row] = (await owner.get("/api/router/traffic?days=1"))["items"]
        assert (row["day"], row["model"], row["task_type"]) == (
            datetime.now(UTC).date().isoformat(),
            "echo",
            "greeting",
        )
        assert row["decisions"] >= 2
        assert row["cost_usd"] == 0
        assert 0 < row["mean_quality"] < 1
        other = await new_project(app.parts)
        other_caller = await signed_in(app.parts, owner, other[1], other[0])
        assert (await other_caller.get("/api/router/traffic"))["items"] == []

    async def test_cost_of_a_decision_includes_all_its_calls(self, app: KairosApp, owner: Caller):
        decision_id = new_id()
        decision = {"task_type": "t", "task_type_source": "caller", "kind": "fallback", "chosen": "a", "answered": "b"}
        call = {"project_id": app.project_id, "task_type": "t/long", "duration_s": 1.0, "decision_id": decision_id}
        async with app.database.project(app.project_id) as session:
            row = {"project_id": app.project_id, "id": decision_id, "candidates": [], "excluded": [], **decision}
            await session.execute(insert(DecisionRow).values(row))
            for model, success, cost in (("a", False, 0.5), ("b", True, 0.25)):
                values = {**call, "id": new_id(), "model": model, "success": success, "cost_usd": cost}
                await session.execute(insert(MetricRow).values(values))
        [row] = (await owner.get("/api/router/traffic"))["items"]
        assert (row["model"], row["task_type"], row["decisions"], row["cost_usd"]) == ("b", "t", 1, 0.75)


async def _in_state(owner: Caller, state: str) -> bool:
    return agent(await agents(owner))["state"] == state


async def _known(app: KairosApp) -> list[replicas.Replica]:
    async with app.database.scope(NOBODY) as session:
        return await replicas.known(session)


async def _alive(app: KairosApp, number: int) -> bool:
    return sum(daemon.works for daemon in await _known(app)) == number


async def _measured(owner: Caller) -> bool:
    items = (await owner.get("/api/router/traffic"))["items"]
    return bool(items) and items[0]["mean_quality"] is not None and 0 < items[0]["mean_quality"] < 1
