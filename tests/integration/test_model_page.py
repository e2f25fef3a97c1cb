"""What a model's page shows: its calls over time, and what the router would do with it by task type."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.engine import make_url

from kairos.agents.judge import JUDGE_TASK_TYPE
from kairos.config import ModelSettings
from kairos.db.models import DecisionRow, MetricRow
from kairos.db.repositories.monitoring import metrics
from kairos.embedded import Addresses
from kairos.llm.health.breaker import ERRORS_IN_A_ROW
from kairos.tenancy import new_id
from tests.kit.api import Caller, signed_in
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import ModelServer
from tests.kit.replicas import server_error
from tests.kit.statements import counted


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer) -> AsyncIterator[KairosApp]:
    """An application with a local model and a remote one."""
    remote = {"price": {"input": 1.0, "output": 4.0}, "local": False}
    entries = [
        ModelSettings(name="echo", base_url=models.base_url, local=True),
        ModelSettings(name="far", base_url=models.base_url, upstream="echo", **remote),
    ]
    async with open_app(addresses, models, models=entries) as app:
        yield app


async def add_call(app: KairosApp, model: str, at: datetime, error: str | None = None, **values: Any) -> None:
    row = {"project_id": app.project_id, "id": new_id(), "model": model, "task_type": "code", "duration_s": 1.0}
    async with app.database.project(app.project_id) as session:
        await session.execute(
            insert(MetricRow).values(**{**row, "at": at, "success": not error, "error": error, **values})
        )


async def rate(app: KairosApp, model: str, quality: float, times: int = 12) -> None:
    """Add measured answers of a model, as the guardian does."""
    for _ in range(times):
        decision_id, common = new_id(), {"project_id": app.project_id, "task_type": "code"}
        decision = {"task_type_source": "caller", "kind": "exploit", "candidates": [], "excluded": [], "chosen": model}
        async with app.database.project(app.project_id) as session:
            await session.execute(insert(DecisionRow).values(id=decision_id, **decision, **common))
        await add_call(app, model, datetime.now(UTC), decision_id=decision_id, input_tokens=200)
        await app.parts.llm.router.record_quality(app.project_id, decision_id, quality, "guardian")


def path(name: str, what: str) -> str:
    return f"/api/models/{what}?name={quote(name)}"


def of_type(reply: Any, task_type: str) -> dict[str, Any]:
    return next(item for item in reply["items"] if item["task_type"] == task_type)


class TestHistory:
    async def test_calls_are_counted_by_day_and_failures_by_reason(self, app: KairosApp, owner: Caller):
        now = datetime.now(UTC)
        for seconds in (1.0, 2.0, 9.0):
            await add_call(
                app, "far", now, duration_s=seconds, first_token_s=0.5, input_tokens=10, output_tokens=5, cost_usd=0.25
            )
        await add_call(app, "far", now, "model_timeout", duration_s=600.0)
        await add_call(app, "far", now - timedelta(days=2), "model_refused", cost_usd=0.5)
        await add_call(app, "echo", now)
        history = await owner.get(path("far", "history") + "&days=7")
        today, older = history["items"][-1], history["items"][-3]
        assert (history["step"], len(history["items"])) == ("day", 7)
        assert (today["calls"], today["failures"]) == (4, {"model_timeout": 1})
        assert (today["duration_s"], today["median_duration_s"], today["median_first_token_s"]) == (4.0, 2.0, 0.5)
        assert (today["input_tokens"], today["output_tokens"], today["cost_usd"]) == (30, 15, 0.75)
        assert (older["calls"], older["failures"], older["cost_usd"]) == (1, {"model_refused": 1}, 0.5)
        assert older["median_duration_s"] is None
        assert sum(item["calls"] for item in history["items"]) == 5

    async def test_two_days_are_divided_into_hours(self, app: KairosApp, owner: Caller):
        now = datetime.now(UTC)
        await add_call(app, "far", now - timedelta(hours=5))
        history = await owner.get(path("far", "history") + "&days=2")
        assert (history["step"], len(history["items"])) == ("hour", 48)
        [used] = [item for item in history["items"] if item["calls"]]
        at = datetime.fromisoformat(used["at"])
        assert at <= now - timedelta(hours=5) < at + timedelta(hours=1)

    async def test_calls_before_the_first_day_are_not_counted(self, app: KairosApp, owner: Caller):
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight - timedelta(days=2)
        await add_call(app, "far", first)
        await add_call(app, "far", first - timedelta(microseconds=1))
        history = await owner.get(path("far", "history") + "&days=3")
        assert [item["calls"] for item in history["items"]] == [1, 0, 0]

    @pytest.mark.parametrize("days", ["0", "91", "-1", "x", "1e9", ""])
    @pytest.mark.parametrize("what", ["history", "routing"])
    async def test_days_are_bounded(self, owner: Caller, what: str, days: str):
        assert (await owner.get(path("far", what) + f"&days={days}")).status == 422

    async def test_history_takes_one_query(self, app: KairosApp, owner: Caller):
        with counted(app.database) as sent:
            assert (await owner.get(path("far", "history") + "&days=90")).status == 200
        assert len([one for one in sent if "model_performance_metrics" in one]) == 1

    async def test_query_reads_only_the_calls_of_its_model_and_period(self, app: KairosApp, addresses: Addresses):
        """The plan scans the index by project, model and time on every filled partition.

        The partition of a month that has just begun is read whole.
        """
        now = datetime.now(UTC)
        await fill_calls(app, 20_000)
        url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("analyze model_performance_metrics")
            filled = {name for (name,) in connection.execute("select relname from pg_class where reltuples > 1000")}
        plan = await plan_of_history(app, "far", now - timedelta(days=62))
        scans = [node for node in plan if node.get("Relation Name") in filled and node["Actual Rows"] > 0]
        assert scans
        for node in scans:
            assert node["Node Type"] in ("Index Scan", "Bitmap Heap Scan"), node
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            assert removed <= node["Actual Rows"], "rows of other models or earlier days were read"
        assert any("model" in node.get("Index Cond", "") and "at" in node.get("Index Cond", "") for node in plan)


class TestRouting:
    async def test_better_model_is_chosen_and_the_other_one_names_the_reason(self, app: KairosApp, owner: Caller):
        await rate(app, "far", 0.95)
        await rate(app, "echo", 0.2)
        best = of_type(await owner.get(path("far", "routing")), "code")
        assert (best["reason"], best["chosen"], best["share"], best["calls"]) == ("highest_score", "far", 0.5, 12)
        assert best["own"]["mu"] > 0.8
        assert 0 < best["own"]["interval"] < 0.5
        assert sum(best["own"]["terms"].values()) == pytest.approx(best["own"]["utility"])
        other = of_type(await owner.get(path("echo", "routing")), "code")
        assert (other["reason"], other["deciding"], other["rival"]["model"]) == ("lower_score", "quality", "far")
        assert other["own"]["utility"] < other["rival"]["utility"]

    async def test_routing_agrees_with_the_next_decision(self, app: KairosApp, owner: Caller):
        await rate(app, "far", 0.9)
        await rate(app, "echo", 0.5)
        shown = of_type(await owner.get(path("far", "routing")), "code")
        async with app.working():
            task = await app.finished(await app.submit(task_type="code"))
        [decision] = await app.decisions(task.id)
        assert decision.chosen == shown["chosen"] == "far"

    async def test_looking_is_not_counted_as_a_decision(self, app: KairosApp, owner: Caller):
        await rate(app, "far", 0.9)
        before, *others = [(await owner.get(path("far", "routing"))).body for _ in range(6)]
        assert {item["own"]["pending"] for reply in (before, *others) for item in reply["items"]} == {0}
        reasons = [[item["reason"] for item in reply["items"]] for reply in (before, *others)]
        assert reasons == reasons[:1] * 6

    async def test_project_without_calls_sees_the_default_task_type(self, owner: Caller):
        [item] = (await owner.get(path("echo", "routing")))["items"]
        assert (item["task_type"], item["share"], item["calls"]) == ("general", None, 0)

    async def test_open_circuit_breaker_is_the_reason(self, app: KairosApp, owner: Caller):
        health = app.parts.llm.router.health
        for _ in range(ERRORS_IN_A_ROW):
            permit = health.acquire("far", datetime.now(UTC).timestamp())
            assert permit is not None
            health.failed("far", permit, server_error(), datetime.now(UTC).timestamp())
        [item] = (await owner.get(path("far", "routing")))["items"]
        assert (item["reason"], item["own"], item["exclusion"]["reason"]) == ("excluded", None, "breaker")
        shown = await owner.get(path("far", "details"))
        assert shown["breaker"] == "open"
        assert datetime.fromisoformat(shown["retry_at"]) > datetime.now(UTC)
        healthy = await owner.get(path("echo", "details"))
        assert (healthy["breaker"], healthy["retry_at"]) == ("closed", None)

    async def test_local_only_project_excludes_remote_models(self, app: KairosApp, owner: Caller):
        changed = await owner.call("PATCH", f"/api/projects/{app.project_id}", json={"settings": {"local_only": True}})
        assert changed.status == 200, changed.body
        [item] = (await owner.get(path("far", "routing")))["items"]
        assert (item["exclusion"]["reason"], item["chosen"]) == ("not_local", "echo")

    async def test_calls_of_the_judge_are_no_task_type(self, app: KairosApp, owner: Caller):
        """The judge names its model, so the router has no choice."""
        await add_call(app, "far", datetime.now(UTC), task_type=JUDGE_TASK_TYPE)
        await add_call(app, "far", datetime.now(UTC), task_type="code")
        items = (await owner.get(path("far", "routing")))["items"]
        assert [item["task_type"] for item in items] == ["code"]

    async def test_number_of_task_types_is_bounded(self, app: KairosApp, owner: Caller):
        now = datetime.now(UTC)
        for number in range(35):
            await add_call(app, "far", now, task_type=f"type {number}")
        await add_call(app, "far", now, task_type="type 34")
        items = (await owner.get(path("far", "routing")))["items"]
        assert len(items) == 30
        assert items[0]["task_type"] == "type 34", "the most frequent one comes first"


class TestNames:
    @pytest.mark.parametrize("name", ["nobody", "far/history", "FAR", "far ", ""])
    @pytest.mark.parametrize("what", ["details", "history", "routing"])
    async def test_unknown_model_is_refused(self, owner: Caller, name: str, what: str):
        reply = await owner.get(path(name, what))
        assert (reply.status, reply["code"]) == (422, "unknown_model")

    async def test_other_projects_do_not_see_the_calls(self, app: KairosApp, owner: Caller):
        await rate(app, "far", 0.9)
        other = await new_project(app.parts)
        stranger = await signed_in(app.parts, owner, other[1], other[0])
        history = await stranger.get(path("far", "history"))
        assert {item["calls"] for item in history["items"]} == {0}
        [item] = (await stranger.get(path("far", "routing")))["items"]
        assert (item["task_type"], item["own"]["n"]) == ("general", 0)


async def fill_calls(app: KairosApp, number: int) -> None:
    """Add a call of each of 50 models on each of the last 400 days."""
    statement = text(
        "insert into model_performance_metrics"
        " (project_id, id, at, model, task_type, success, duration_s)"
        " select :project_id, gen_random_uuid(), now() - (n % 400) * interval '1 day',"
        " case when n / 400 = 0 then 'far' else 'model ' || n / 400 end, 'code', true, 1"
        " from generate_series(1, :number) as n"
    )
    async with app.database.project(app.project_id) as session:
        await session.execute(statement, {"project_id": app.project_id, "number": number})


async def plan_of_history(app: KairosApp, model: str, since: datetime) -> list[dict[str, Any]]:
    """Return the nodes of the plan with which PostgreSQL executes `metrics.by_period`."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: bool) -> None:
        sent.append((statement, parameters))

    engine = app.database._app.sync_engine
    async with app.database.project(app.project_id) as session:
        event.listen(engine, "before_cursor_execute", note)
        try:
            await metrics.by_period(session, model, since, "day")
        finally:
            event.remove(engine, "before_cursor_execute", note)
        [(statement, parameters)] = sent
        connection = await session.connection()
        result = await connection.exec_driver_sql(f"explain (analyze, format json) {statement}", parameters)
        plan = result.scalar_one()
    root = json.loads(plan) if isinstance(plan, str) else plan
    return list(nodes_of(root[0]["Plan"]))


def nodes_of(node: dict[str, Any]):
    yield node
    for child in node.get("Plans", ()):
        yield from nodes_of(child)
