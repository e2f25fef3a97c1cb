"""The configuration while the system runs: who may set what, what it changes, and how it goes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from kairos.config import Settings
from kairos.db.models import Role, TaskState
from kairos.db.repositories import people
from kairos.embedded import Addresses
from kairos.tenancy import Scope, UserId
from tests.integration.test_people import operator, somebody
from tests.kit.api import Caller, serving
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel


@pytest.fixture(autouse=True)
def nothing_is_set(addresses: Addresses) -> Iterator[None]:
    """The engines are shared: what a test sets must not hold in the next one."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def forget() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("delete from config_versions")

    forget()  # what a daemon of another test scanned again
    yield
    forget()


@pytest.fixture
async def boss(app: KairosApp, anybody: Caller) -> Caller:
    return await operator(app, anybody)


async def values(caller: Caller) -> dict[str, Any]:
    return {value["key"]: value for value in (await caller.get("/api/config"))["values"]}


async def change(caller: Caller, changes: dict[str, Any], **more: Any):
    known = await caller.get("/api/config")
    body = {"changes": changes, "version": known["version"], "project_version": known["project_version"], **more}
    return await caller.call("PATCH", "/api/config", json=body)


class TestValues:
    async def test_each_has_its_source_its_default_and_its_reach(self, boss: Caller):
        found = await values(boss)
        lease = found["queue.lease_s"]
        assert (lease["value"], lease["default"], lease["source"], lease["reach"]) == (3, 30, "file", "restart")
        slots = found["max_concurrent_tasks"]
        assert (slots["source"], slots["reach"], slots["kind"]) == ("default", "live", "integer, 1 to 1000")
        assert found["server.port"]["reach"] == "file"
        assert not found["server.port"]["may_change"]
        assert slots["may_change"]

    async def test_the_environment_is_named_as_a_source(self, boss: Caller, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KAIROS_QUEUE__MAX_ATTEMPTS", "3")
        assert (await values(boss))["queue.max_attempts"]["source"] == "environment"

    async def test_no_secret_comes_back(self, boss: Caller, app: KairosApp):
        configuration = app.parts.services.configuration
        url = "postgresql://app:verysecret@db/kairos"
        urls = dict.fromkeys(("url", "migration_url", "system_url"), url)
        configuration.base = Settings.model_validate({"database": urls})
        await configuration.live.apply(configuration.base)
        reply = await boss.get("/api/config")
        assert "verysecret" not in str(reply.body)
        assert (await values(boss))["database.url"]["value"] == "********"


class TestChanges:
    async def test_one_holds_at_once(self, boss: Caller, app: KairosApp):
        reply = await change(boss, {"max_concurrent_tasks": 7}, why="more people")
        assert reply.status == 200
        assert reply["changed"] == {"max_concurrent_tasks": {"before": 4, "after": 7}}
        assert app.parts.settings.max_concurrent_tasks == 7
        replicas = (await boss.get("/api/config/replicas"))["items"]
        assert [one["newest"] for one in replicas if one["slots"] == 7] == [True], "it says so without a heartbeat"
        found = (await values(boss))["max_concurrent_tasks"]
        assert (found["value"], found["source"]) == (7, "api")
        [entry] = (await boss.get("/api/audit?system=true&action=config.changed"))["items"][:1]
        assert entry["data"] == {"changes": reply["changed"], "why": "more people"}

    async def test_keys_may_be_nested_or_dotted_and_merge(self, boss: Caller, app: KairosApp):
        await change(boss, {"queue": {"max_attempts": 5}, "judge.rubrics": {"code": "It runs.", "prose": "It sings."}})
        await change(boss, {"queue.retry_max_s": 60, "judge": {"rubrics": {"prose": None, "list": "It is one."}}})
        settings = app.parts.settings
        assert (settings.queue.max_attempts, settings.queue.retry_max_s) == (5, 60)
        assert settings.judge.rubrics == {"code": "It runs.", "list": "It is one."}

    async def test_null_takes_a_value_back(self, boss: Caller, app: KairosApp):
        await change(boss, {"queue.lease_s": 9, "max_concurrent_tasks": 9})
        reply = await change(boss, {"queue": {"lease_s": None}, "max_concurrent_tasks": None})
        assert reply["changed"]["queue.lease_s"] == {"before": 9, "after": 3}
        assert app.parts.settings.max_concurrent_tasks == 4

    async def test_a_dry_run_says_what_would_change_and_changes_nothing(self, boss: Caller, app: KairosApp):
        reply = await change(boss, {"max_concurrent_tasks": 9, "project.weight": 2}, dry_run=True)
        assert set(reply["changed"]) == {"max_concurrent_tasks", "project.weight"}
        known = await boss.get("/api/config")
        assert (known["version"], known["project_version"]) == (0, reply["project_version"] - 1)
        assert app.parts.settings.max_concurrent_tasks == 4

    async def test_the_second_of_two_at_once_gets_the_difference(self, boss: Caller):
        first = {"changes": {"queue.max_attempts": 5}, "version": 0}
        assert (await boss.call("PATCH", "/api/config", json=first)).status == 200
        reply = await boss.call("PATCH", "/api/config", json={"changes": {"queue.max_attempts": 9}, "version": 0})
        assert (reply.status, reply["code"]) == (409, "config_moved")
        assert "queue.max_attempts from 3 to 5" in reply["detail"]
        assert "version 1" in reply["detail"]

    async def test_a_value_that_needs_a_restart_waits_for_one(
        self, boss: Caller, app: KairosApp, addresses: Addresses, models: ModelServer
    ):
        reply = await change(boss, {"queue.sweep_s": 7})
        assert reply["restart"] == ["queue.sweep_s"]
        found = (await values(boss))["queue.sweep_s"]
        assert (found["value"], found["source"], found["waiting"]) == (0.3, "api", True)
        async with open_app(addresses, models) as started_later:
            assert started_later.parts.settings.queue.sweep_s == 7

    @pytest.mark.parametrize(
        ("changes", "words"),
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
    async def test_what_cannot_work_is_refused_with_its_reason(self, boss: Caller, changes: Any, words: str):
        reply = await change(boss, changes)
        assert (reply.status, reply["code"]) == (422, "invalid_input")
        assert words in reply["detail"]
        assert (await boss.get("/api/config"))["version"] == 0

    async def test_all_or_nothing(self, boss: Caller, app: KairosApp):
        assert (await change(boss, {"max_concurrent_tasks": 9, "queue.max_attempts": 0})).status == 422
        assert app.parts.settings.max_concurrent_tasks == 4

    @pytest.mark.parametrize("body", [{"version": 2**63}, {"version": -1}, {"version": 0, "why": "a\x00"}])
    async def test_what_no_database_can_hold_is_refused(self, boss: Caller, body: dict[str, Any]):
        changes = {"changes": {"queue.max_attempts": 5}}
        assert (await boss.call("PATCH", "/api/config", json={**changes, **body})).status == 422
        assert (await boss.get(f"/api/config/history?before={2**63}")).status == 422

    async def test_without_a_version_none_is_made(self, boss: Caller):
        reply = await boss.call("PATCH", "/api/config", json={"changes": {"queue.max_attempts": 5}})
        assert (reply.status, "GET /api/config" in reply["detail"]) == (422, True)


class TestRights:
    async def test_a_system_value_is_the_operators(self, owner: Caller):
        reply = await change(owner, {"queue.max_attempts": 5})
        assert (reply.status, reply["code"]) == (403, "system_value")
        assert "only operators may change it" in reply["detail"]

    async def test_an_admin_sets_the_values_of_the_project(self, app: KairosApp, anybody: Caller):
        _, admin = await somebody(app, anybody, Role.ADMIN)
        reply = await change(admin, {"project": {"weight": 3, "batch_cap": 2}}, why="a big week")
        assert reply.status == 200
        assert (await values(admin))["project.batch_cap"]["value"] == 2
        [version] = (await admin.get("/api/config/history?whose=project"))["items"]
        assert (version["why"], version["changes"]["weight"]["after"]) == (
            "a big week",
            3,
        )

    async def test_a_member_sets_none(self, app: KairosApp, anybody: Caller):
        _, member = await somebody(app, anybody, Role.MEMBER)
        assert (await change(member, {"project.weight": 3})).status == 403

    async def test_an_operator_who_does_not_manage_the_project_leaves_it_alone(self, app: KairosApp, anybody: Caller):
        user_id, viewer = await somebody(app, anybody, Role.VIEWER)
        async with app.database.scope(Scope(user_id=UserId(user_id), operator=True)) as session:
            await people.set_account_flags(session, user_id, operator=True, disabled=False)
        assert (await change(viewer, {"queue.max_attempts": 5})).status == 200
        refused = await change(viewer, {"project.weight": 3})
        assert (refused.status, refused["code"]) == (403, "project_value")


class TestHistory:
    async def test_who_what_when_and_why(self, boss: Caller):
        await change(boss, {"queue.max_attempts": 5}, why="flaky servers")
        await change(boss, {"queue.max_attempts": 6})
        items = (await boss.get("/api/config/history"))["items"]
        assert [(v["version"], v["why"]) for v in items] == [(2, ""), (1, "flaky servers")]
        assert items[1]["changes"] == {"queue.max_attempts": {"before": 3, "after": 5}}
        assert items[1]["by"]
        assert [v["version"] for v in (await boss.get("/api/config/history?before=2"))["items"]] == [1]

    async def test_back_to_an_old_version_and_to_the_beginning(self, boss: Caller, app: KairosApp):
        await change(boss, {"queue.max_attempts": 5})
        await change(boss, {"queue.max_attempts": 6, "max_concurrent_tasks": 9})
        settings = app.parts.settings
        reply = await boss.post("/api/config/revert", {"to": 1, "version": 2})
        assert (reply["version"], settings.queue.max_attempts, settings.max_concurrent_tasks) == (3, 5, 4)
        await boss.post("/api/config/revert", {"to": 0, "version": 3})
        assert settings.queue.max_attempts == 3
        assert (await boss.post("/api/config/revert", {"to": 99, "version": 4})).status == 404

    async def test_a_projects_values_go_back_too(self, owner: Caller):
        await change(owner, {"project.weight": 2})
        await change(owner, {"project.weight": 3, "project.hold_answers": True})
        reply = await owner.post("/api/config/revert", {"whose": "project", "to": 1, "version": 2})
        assert reply["changed"] == {
            "project.weight": {"before": 3.0, "after": 2.0},
            "project.hold_answers": {"before": True, "after": False},
        }


class TestReplicas:
    async def test_another_takes_it_without_a_notice(
        self, boss: Caller, app: KairosApp, addresses: Addresses, models: ModelServer
    ):
        async with open_app(addresses, models) as other:
            await change(boss, {"max_concurrent_tasks": 7})
            assert await other.parts.services.configuration.refresh()
            assert other.parts.settings.max_concurrent_tasks == 7

    async def test_one_that_cannot_apply_goes_on_and_shows_why(self, addresses: Addresses, models: ModelServer):
        """Its own kairos.toml does not have the model that another's has."""
        async with open_app(addresses, models) as poor, serving(poor.parts) as caller:
            models.add(ScriptedModel(name="rich", answer="hello"))
            async with open_app(addresses, models) as rich, serving(rich.parts) as rich_caller:
                await change(await operator(rich, rich_caller), {"default_llm_model": "rich"})
            configuration = poor.parts.services.configuration
            await configuration.refresh()
            assert configuration.status.version == 0
            assert "no model is named 'rich'" in (configuration.status.error or "")
            async with poor.working():
                assert (await poor.finished(await poor.submit())).state == TaskState.SUCCEEDED
                await shows_its_error(await operator(poor, caller))

    async def test_what_a_broken_hook_cannot_take_no_part_takes(self, boss: Caller, app: KairosApp):
        def broken(settings: Settings) -> None:
            if settings.max_concurrent_tasks == 7:
                raise OSError("no room")

        configuration = app.parts.services.configuration
        before = app.parts.settings.max_concurrent_tasks
        configuration.live.on_change(broken)
        await change(boss, {"max_concurrent_tasks": 7, "cache.ttl_s": 5})
        assert "OSError: no room" in (configuration.status.error or "")
        assert app.parts.settings.max_concurrent_tasks == before != 7
        assert app.parts.services.router.cache._settings.ttl_s != 5, "hooks told before it are told to go back"
        await change(boss, {"max_concurrent_tasks": 8})
        assert (configuration.status.error, app.parts.settings.max_concurrent_tasks) == (None, 8)


async def shows_its_error(boss: Caller) -> None:
    async def shown() -> bool:
        items = (await boss.get("/api/config/replicas"))["items"]
        return any("no model is named 'rich'" in (item["error"] or "") and not item["newest"] for item in items)

    await eventually(shown, 10, "the replica shows why it runs an old version")


class TestWhatIsLive:
    async def test_the_model_that_calls_go_to(self, boss: Caller, app: KairosApp, models: ModelServer):
        models.add(ScriptedModel(name="echo", answer="hello"))
        async with app.working():
            await change(boss, {"default_llm_model": "echo"})
            done = await app.finished(await app.submit())
            [decision] = await app.decisions(done.id)
        assert decision.kind == "only"

    async def test_weights_of_the_router_and_limits_of_the_cache(self, boss: Caller, app: KairosApp):
        await change(boss, {"router": {"lambda_cost": 1.5, "last_resort": "echo"}, "cache.ttl_s": 5})
        router = app.parts.services.router
        assert (router._selector.weights.lambda_cost, router._selector.last_resort) == (1.5, "echo")
        assert router.cache._settings.ttl_s == router.cache._store.settings.ttl_s == 5

    async def test_the_judge_is_called_in_and_sent_away(self, boss: Caller, app: KairosApp):
        await change(boss, {"judge": {"model": "echo", "share": 1.0}})
        assert app.parts.judge.model is not None
        await change(boss, {"judge": {"model": None}})
        assert app.parts.judge.model is None

    async def test_the_guardians_tries(self, boss: Caller, app: KairosApp):
        await change(boss, {"guardian.tries": 1})
        async with app.working():
            task = await app.finished(await app.submit(require=("something else",)))
        assert len(await app.verdicts(task.id)) == 1
