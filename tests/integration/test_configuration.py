"""Configuration changes at runtime: permissions, effects and reverts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from kairos.config import Settings
from kairos.db.models import Role, TaskState
from kairos.db.repositories.access import people
from kairos.embedded import Addresses
from kairos.tenancy import Scope, UserId
from tests.integration.test_people import new_member, operator
from tests.kit.api import Caller, serving
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel


@pytest.fixture(autouse=True)
def no_stored_configuration(addresses: Addresses) -> Iterator[None]:
    """Delete stored configuration before and after each test, as the engines are shared."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def delete_all() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("delete from config_versions")

    delete_all()  # a daemon of another test may have stored values
    yield
    delete_all()


@pytest.fixture
async def operator_caller(app: KairosApp, anonymous: Caller) -> Caller:
    return await operator(app, anonymous)


async def values(caller: Caller) -> dict[str, Any]:
    return {value["key"]: value for value in (await caller.get("/api/config"))["values"]}


async def change(caller: Caller, changes: dict[str, Any], **more: Any):
    known = await caller.get("/api/config")
    body = {"changes": changes, "version": known["version"], "project_version": known["project_version"], **more}
    return await caller.call("PATCH", "/api/config", json=body)


class TestValues:
    async def test_each_value_is_shown_with_source_default_and_reach(self, operator_caller: Caller):
        found = await values(operator_caller)
        lease = found["queue.lease_s"]
        assert (lease["value"], lease["default"], lease["source"], lease["reach"]) == (3, 30, "file", "restart")
        slots = found["max_concurrent_tasks"]
        assert (slots["source"], slots["reach"], slots["kind"]) == ("default", "live", "integer, 1 to 1000")
        assert found["server.port"]["reach"] == "file"
        assert not found["server.port"]["may_change"]
        assert slots["may_change"]

    async def test_environment_is_shown_as_a_source(self, operator_caller: Caller, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KAIROS_QUEUE__MAX_ATTEMPTS", "3")
        assert (await values(operator_caller))["queue.max_attempts"]["source"] == "environment"

    async def test_secrets_are_not_returned(self, operator_caller: Caller, app: KairosApp):
        configuration = app.parts.configuration
        url = "postgresql://app:verysecret@db/kairos"
        urls = dict.fromkeys(("url", "migration_url", "system_url"), url)
        configuration.base = Settings.model_validate({"database": urls})
        await configuration.live.apply(configuration.base)
        reply = await operator_caller.get("/api/config")
        assert "verysecret" not in str(reply.body)
        assert (await values(operator_caller))["database.url"]["value"] == "********"


class TestChanges:
    async def test_change_takes_effect_at_once(self, operator_caller: Caller, app: KairosApp):
        reply = await change(operator_caller, {"max_concurrent_tasks": 7}, why="more people")
        assert reply.status == 200
        assert reply["changed"] == {"max_concurrent_tasks": {"before": 4, "after": 7}}
        assert app.parts.settings.max_concurrent_tasks == 7
        daemons = (await operator_caller.get("/api/daemons"))["items"]
        assert [one["config_newest"] for one in daemons if one["slots"] == 7] == [True], "reported without a heartbeat"
        found = (await values(operator_caller))["max_concurrent_tasks"]
        assert (found["value"], found["source"]) == (7, "api")
        [entry] = (await operator_caller.get("/api/audit?system=true&action=config.changed"))["items"][:1]
        assert entry["data"] == {"changes": reply["changed"], "why": "more people"}

    async def test_nested_and_dotted_keys_are_merged(self, operator_caller: Caller, app: KairosApp):
        await change(
            operator_caller, {"queue": {"max_attempts": 5}, "judge.rubrics": {"code": "It runs.", "prose": "It sings."}}
        )
        await change(
            operator_caller, {"queue.retry_max_s": 60, "judge": {"rubrics": {"prose": None, "list": "It is one."}}}
        )
        settings = app.parts.settings
        assert (settings.queue.max_attempts, settings.queue.retry_max_s) == (5, 60)
        assert settings.judge.rubrics == {"code": "It runs.", "list": "It is one."}

    async def test_null_resets_a_value(self, operator_caller: Caller, app: KairosApp):
        await change(operator_caller, {"queue.lease_s": 9, "max_concurrent_tasks": 9})
        reply = await change(operator_caller, {"queue": {"lease_s": None}, "max_concurrent_tasks": None})
        assert reply["changed"]["queue.lease_s"] == {"before": 9, "after": 3}
        assert app.parts.settings.max_concurrent_tasks == 4

    async def test_dry_run_reports_changes_without_making_them(self, operator_caller: Caller, app: KairosApp):
        reply = await change(operator_caller, {"max_concurrent_tasks": 9, "project.weight": 2}, dry_run=True)
        assert set(reply["changed"]) == {"max_concurrent_tasks", "project.weight"}
        known = await operator_caller.get("/api/config")
        assert (known["version"], known["project_version"]) == (0, reply["project_version"] - 1)
        assert app.parts.settings.max_concurrent_tasks == 4

    async def test_second_of_two_concurrent_changes_receives_the_difference(self, operator_caller: Caller):
        first = {"changes": {"queue.max_attempts": 5}, "version": 0}
        assert (await operator_caller.call("PATCH", "/api/config", json=first)).status == 200
        reply = await operator_caller.call(
            "PATCH", "/api/config", json={"changes": {"queue.max_attempts": 9}, "version": 0}
        )
        assert (reply.status, reply["code"]) == (409, "config_moved")
        assert "queue.max_attempts from 3 to 5" in reply["detail"]
        assert "version 1" in reply["detail"]

    async def test_value_that_needs_a_restart_waits_for_one(
        self, operator_caller: Caller, app: KairosApp, addresses: Addresses, models: ModelServer
    ):
        reply = await change(operator_caller, {"queue.sweep_s": 7})
        assert reply["restart"] == ["queue.sweep_s"]
        found = (await values(operator_caller))["queue.sweep_s"]
        assert (found["value"], found["source"], found["waiting"]) == (0.3, "api", True)
        async with open_app(addresses, models) as started_later:
            assert started_later.parts.settings.queue.sweep_s == 7

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"max_concurent_tasks": 2}, "Did you mean 'max_concurrent_tasks'?"),
            ({"queue": {"max_attempt": 2}}, "Did you mean 'queue.max_attempts'?"),
            ({"queue.max_attempts": 101}, "less than or equal to 100"),
            ({"queue.max_attempts": "many"}, "queue.max_attempts: input should be a valid integer"),
            ({"max_concurrent_tasks": 0}, "no task could ever run"),
            ({"server.port": 1}, "KAIROS_SERVER__PORT"),
            ({"models": []}, "[[models]]"),
            ({"default_llm_model": "gpt-9"}, "no model is named 'gpt-9'. Use one of: echo"),
            ({"judge.model": "gpt-9"}, "no model is named 'gpt-9'"),
            ({"judge.rubrics": {"code": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"}}, "looks like a secret"),
            ({"judge.rubrics": {"a\x00": "b"}}, "NUL character"),
            ({"judge.rubrics": {"a": "b\x00"}}, "NUL character"),
            ({"project.weight": 99}, "project.weight: input should be less than or equal to 10"),
            ({"project.wait": 1}, "Did you mean 'project.weight'?"),
        ],
    )
    async def test_invalid_change_is_refused_with_its_reason(self, operator_caller: Caller, changes: Any, message: str):
        reply = await change(operator_caller, changes)
        assert (reply.status, reply["code"]) == (422, "invalid_input")
        assert message in reply["detail"]
        assert (await operator_caller.get("/api/config"))["version"] == 0

    async def test_changes_are_applied_together_or_not_at_all(self, operator_caller: Caller, app: KairosApp):
        assert (await change(operator_caller, {"max_concurrent_tasks": 9, "queue.max_attempts": 0})).status == 422
        assert app.parts.settings.max_concurrent_tasks == 4

    @pytest.mark.parametrize("body", [{"version": 2**63}, {"version": -1}, {"version": 0, "why": "a\x00"}])
    async def test_value_that_no_database_can_store_is_refused(self, operator_caller: Caller, body: dict[str, Any]):
        changes = {"changes": {"queue.max_attempts": 5}}
        assert (await operator_caller.call("PATCH", "/api/config", json={**changes, **body})).status == 422
        assert (await operator_caller.get(f"/api/config/history?before={2**63}")).status == 422

    async def test_change_without_a_version_is_refused(self, operator_caller: Caller):
        reply = await operator_caller.call("PATCH", "/api/config", json={"changes": {"queue.max_attempts": 5}})
        assert (reply.status, "GET /api/config" in reply["detail"]) == (422, True)


class TestRights:
    async def test_only_operators_change_system_values(self, owner: Caller):
        reply = await change(owner, {"queue.max_attempts": 5})
        assert (reply.status, reply["code"]) == (403, "system_value")
        assert "only operators may change it" in reply["detail"]

    async def test_admin_sets_project_values(self, app: KairosApp, anonymous: Caller):
        _, admin = await new_member(app, anonymous, Role.ADMIN)
        reply = await change(admin, {"project": {"weight": 3, "batch_cap": 2}}, why="a big week")
        assert reply.status == 200
        assert (await values(admin))["project.batch_cap"]["value"] == 2
        [version] = (await admin.get("/api/config/history?whose=project"))["items"]
        assert (version["why"], version["changes"]["weight"]["after"]) == (
            "a big week",
            3,
        )

    async def test_member_cannot_set_values(self, app: KairosApp, anonymous: Caller):
        _, member = await new_member(app, anonymous, Role.MEMBER)
        assert (await change(member, {"project.weight": 3})).status == 403

    async def test_operator_without_the_role_cannot_change_project_values(self, app: KairosApp, anonymous: Caller):
        user_id, viewer = await new_member(app, anonymous, Role.VIEWER)
        async with app.database.scope(Scope(user_id=UserId(user_id), operator=True)) as session:
            await people.set_account_flags(session, user_id, operator=True, disabled=False)
        assert (await change(viewer, {"queue.max_attempts": 5})).status == 200
        refused = await change(viewer, {"project.weight": 3})
        assert (refused.status, refused["code"]) == (403, "project_value")


class TestHistory:
    async def test_history_shows_author_changes_and_reason(self, operator_caller: Caller):
        await change(operator_caller, {"queue.max_attempts": 5}, why="flaky servers")
        await change(operator_caller, {"queue.max_attempts": 6})
        items = (await operator_caller.get("/api/config/history"))["items"]
        assert [(v["version"], v["why"]) for v in items] == [(2, ""), (1, "flaky servers")]
        assert items[1]["changes"] == {"queue.max_attempts": {"before": 3, "after": 5}}
        assert items[1]["by"]
        assert [v["version"] for v in (await operator_caller.get("/api/config/history?before=2"))["items"]] == [1]

    async def test_revert_to_an_old_version_and_to_the_beginning(self, operator_caller: Caller, app: KairosApp):
        await change(operator_caller, {"queue.max_attempts": 5})
        await change(operator_caller, {"queue.max_attempts": 6, "max_concurrent_tasks": 9})
        settings = app.parts.settings
        reply = await operator_caller.post("/api/config/revert", {"to": 1, "version": 2})
        assert (reply["version"], settings.queue.max_attempts, settings.max_concurrent_tasks) == (3, 5, 4)
        await operator_caller.post("/api/config/revert", {"to": 0, "version": 3})
        assert settings.queue.max_attempts == 3
        assert (await operator_caller.post("/api/config/revert", {"to": 99, "version": 4})).status == 404

    async def test_project_values_can_be_reverted(self, owner: Caller):
        await change(owner, {"project.weight": 2})
        await change(owner, {"project.weight": 3, "project.hold_answers": True})
        reply = await owner.post("/api/config/revert", {"whose": "project", "to": 1, "version": 2})
        assert reply["changed"] == {
            "project.weight": {"before": 3.0, "after": 2.0},
            "project.hold_answers": {"before": True, "after": False},
        }


class TestReplicas:
    async def test_other_replica_refreshes_without_a_notice(
        self, operator_caller: Caller, app: KairosApp, addresses: Addresses, models: ModelServer
    ):
        async with open_app(addresses, models) as other:
            await change(operator_caller, {"max_concurrent_tasks": 7})
            assert await other.parts.configuration.refresh()
            assert other.parts.settings.max_concurrent_tasks == 7

    async def test_replica_that_cannot_apply_a_change_keeps_running_and_reports_why(
        self, addresses: Addresses, models: ModelServer
    ):
        """Its kairos.toml lacks a model that the other replica's file contains."""
        async with open_app(addresses, models) as poor, serving(poor.parts) as caller:
            models.add(ScriptedModel(name="rich", answer="hello"))
            async with open_app(addresses, models) as rich, serving(rich.parts) as rich_caller:
                await change(await operator(rich, rich_caller), {"default_llm_model": "rich"})
            configuration = poor.parts.configuration
            await configuration.refresh()
            assert configuration.status.version == 0
            assert "no model is named 'rich'" in (configuration.status.error or "")
            async with poor.working():
                assert (await poor.finished(await poor.submit())).state == TaskState.SUCCEEDED
                await wait_for_reported_error(await operator(poor, caller))

    async def test_change_refused_by_a_failing_hook_is_applied_nowhere(self, operator_caller: Caller, app: KairosApp):
        def broken(settings: Settings) -> None:
            if settings.max_concurrent_tasks == 7:
                raise OSError("no room")

        configuration = app.parts.configuration
        before = app.parts.settings.max_concurrent_tasks
        configuration.live.on_change(broken)
        await change(operator_caller, {"max_concurrent_tasks": 7, "cache.ttl_s": 5})
        assert "OSError: no room" in (configuration.status.error or "")
        assert app.parts.settings.max_concurrent_tasks == before != 7
        assert app.parts.llm.router.cache._settings.ttl_s != 5, (
            "hooks called before it are called again with the old settings"
        )
        await change(operator_caller, {"max_concurrent_tasks": 8})
        assert (configuration.status.error, app.parts.settings.max_concurrent_tasks) == (None, 8)


async def wait_for_reported_error(operator_caller: Caller) -> None:
    async def shown() -> bool:
        items = (await operator_caller.get("/api/daemons"))["items"]
        return any(
            "no model is named 'rich'" in (item["config_error"] or "") and not item["config_newest"] for item in items
        )

    await eventually(shown, 10, "the replica reports why it runs an old version")


class TestLiveValues:
    async def test_default_model_changes_at_runtime(self, operator_caller: Caller, app: KairosApp, models: ModelServer):
        models.add(ScriptedModel(name="echo", answer="hello"))
        async with app.working():
            await change(operator_caller, {"default_llm_model": "echo"})
            done = await app.finished(await app.submit())
            [decision] = await app.decisions(done.id)
        assert decision.kind == "only"

    async def test_router_weights_and_cache_limits_change_at_runtime(self, operator_caller: Caller, app: KairosApp):
        await change(operator_caller, {"router": {"lambda_cost": 1.5, "last_resort": "echo"}, "cache.ttl_s": 5})
        router = app.parts.llm.router
        assert (router._selector.weights.lambda_cost, router._selector.last_resort) == (1.5, "echo")
        assert router.cache._settings.ttl_s == router.cache._store.settings.ttl_s == 5

    async def test_judge_can_be_enabled_and_disabled(self, operator_caller: Caller, app: KairosApp):
        await change(operator_caller, {"judge": {"model": "echo", "share": 1.0}})
        assert app.parts.agents.judge.model is not None
        await change(operator_caller, {"judge": {"model": None}})
        assert app.parts.agents.judge.model is None

    async def test_guardian_tries_change_at_runtime(self, operator_caller: Caller, app: KairosApp):
        await change(operator_caller, {"guardian.tries": 1})
        async with app.working():
            task = await app.finished(await app.submit(require=("something else",)))
        assert len(await app.verdicts(task.id)) == 1
