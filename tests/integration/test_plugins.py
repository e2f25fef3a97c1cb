"""Plugins end to end: API, project settings, storage, models, cancellation and permissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from kairos.agents.built_in import BUILT_IN
from kairos.config import PluginSettings, QueueSettings
from kairos.db.models import Role, TaskState
from kairos.db.repositories.plugins import plugin_storage
from kairos.embedded import Addresses
from tests.kit.api import Caller, Reply, serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.plugins import GOOD, plugin, put
from tests.tenancy.world import person

SCHEMA = (
    "config_schema = {'type': 'object', 'properties': {'n': {'type': 'integer', 'default': 1,"
    " 'x-kairos-scope': 'project'}, 'colour': {'type': 'string'},"
    " 'key': {'type': 'string', 'writeOnly': True}}, 'additionalProperties': False}"
)
FILES = {
    **GOOD,
    "configured.py": plugin("Configured", more=SCHEMA, execute="return dict(task.context.config)"),
    "broken.py": "raise RuntimeError('no license')\n",
    "keeps.py": plugin(
        "Keeps",
        define="async def",
        execute="""
            verb, _, rest = task.prompt.partition(' ')
            storage = task.context.storage
            if verb == 'set':
                await storage.set(*rest.split('=', 1))
            if verb == 'fill':
                for n in range(int(rest)):
                    await storage.set(f'k{n}', n)
            if verb == 'big':
                await storage.set('big', 'x' * int(rest))
            return [await storage.keys(), await storage.get('a')]
        """,
    ),
    "fails.py": plugin("Fails", execute="raise RuntimeError('broken')"),
    "hangs.py": plugin(
        "Hangs",
        execute="""
            import os, pathlib, time
            pathlib.Path(task.prompt).write_text(str(os.getpid()))
            while True: time.sleep(1)
        """,
    ),
    "drafts.py": plugin(
        "Drafts",
        execute="""
            first = task.context.llm.complete('a first draft')
            task.context.llm.complete('a second draft', temperature=0)
            return f'{first.text} and more'
        """,
    ),
}


QUICK = QueueSettings(lease_s=3, sweep_s=0.3, drain_s=3, retry_base_s=0.1, retry_max_s=0.1, max_attempts=2)


@dataclass
class Installation:
    """A Kairos with the plugins of this file, and callers of its API."""

    app: KairosApp
    owner: Caller
    operator: Caller
    anonymous: Caller
    folder: Path

    async def done(self, agent: str, prompt: str = "abc", **options: Any):
        return await self.app.finished(await self.app.submit(prompt, agent=agent, **options))

    async def plugin(self, name: str, caller: Caller | None = None) -> Reply:
        return await (caller or self.owner).get(f"/api/plugins/{name}")

    async def set(self, **settings: Any) -> Reply:
        path = f"/api/projects/{self.app.project_id}"
        return await self.owner.call("PATCH", path, json={"settings": settings})


@dataclass
class SharedInstallation:
    """The Kairos that the tests of this file share, as starting one for each test would be slow."""

    app: KairosApp
    anonymous: Caller
    operator: Caller
    folder: Path

    async def restore(self) -> None:
        """Restore the plugin folder, and reload plugins that were set aside."""
        there = {path.name: path.read_text() for path in self.folder.glob("*.py")}
        for name in set(there) - set(FILES):
            (self.folder / name).unlink()
        put(self.folder, FILES)
        aside = [item for item in (await self.operator.get("/api/plugins"))["items"] if item["state"] == "set_aside"]
        if there != FILES or aside:
            await self.operator.post("/api/plugins/reload")


@pytest.fixture(scope="module")
async def shared(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedInstallation]:
    folder = put(tmp_path_factory.mktemp("plugins"), FILES)
    settings = PluginSettings(folder=folder, memory_mb=128, settings={"Configured": {"n": 2, "key": "sk-secret"}})
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ModelServer(ScriptedModel("echo", answer="hello")))
        app = await stack.enter_async_context(open_app(addresses, server, plugins=settings, queue=QUICK))
        await stack.enter_async_context(app.working())
        anonymous = await stack.enter_async_context(serving(app.parts))
        local = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
        yield SharedInstallation(app, anonymous, anonymous.with_token(local["access_token"]), folder)


@pytest.fixture
async def kairos(shared: SharedInstallation) -> AsyncIterator[Installation]:
    """The shared Kairos with a new project for the test."""
    app = shared.app
    app.models.calls.clear()
    app.project_id, app.user_id = await new_project(app.parts)
    owner = await signed_in(app.parts, shared.anonymous, app.user_id, app.project_id)
    yield Installation(app, owner, shared.operator, shared.anonymous, shared.folder)
    await shared.restore()


class TestListing:
    async def test_built_in_agents_and_plugins_are_in_one_list(self, kairos: Installation):
        items = (await kairos.owner.get("/api/plugins"))["items"]
        shown = {item["name"]: (item["source"], item["file"], item["state"]) for item in items}
        assert [item["name"] for item in items if item["source"] == "built-in"] == list(BUILT_IN)
        assert shown["ExecutionAgent"] == ("built-in", "", "loaded")
        assert shown["TrainingAgent"] == ("built-in", "", "loaded")
        assert shown["SyncGood"] == ("file", "sync_good.py", "loaded")
        assert shown["broken"] == ("file", "broken.py", "failed")

    async def test_trace_is_shown_to_operators_and_the_error_to_everybody(self, kairos: Installation):
        mine, theirs = await kairos.plugin("broken.py"), await kairos.plugin("broken.py", kairos.operator)
        assert mine["error"] == theirs["error"] == "RuntimeError: no license"
        assert mine["trace"] is None
        assert "raise RuntimeError" in theirs["trace"]

    async def test_runs_of_today_are_counted_by_project(self, kairos: Installation):
        await kairos.done("AsyncGood")
        await kairos.done("test")
        assert (await kairos.plugin("AsyncGood"))["today"]["succeeded"] == 2
        project_id, user_id = await new_project(kairos.app.parts)
        other_caller = await signed_in(kairos.app.parts, kairos.anonymous, user_id, project_id)
        assert (await kairos.plugin("AsyncGood", other_caller))["today"]["succeeded"] == 0

    async def test_unknown_name_lists_the_plugins(self, kairos: Installation):
        reply = await kairos.plugin("SyncGod")
        assert (reply.status, reply["code"]) == (404, "unknown_plugin")
        assert "SyncGood" in reply["detail"]

    async def test_agents_route_includes_plugins(self, kairos: Installation):
        agents = {item["name"]: item for item in (await kairos.owner.get("/api/agents"))["items"]}
        assert agents["SyncGood"]["capabilities"] == ["test"]


class TestReload:
    async def test_only_operators_reload_plugins(self, kairos: Installation):
        put(kairos.folder, {"new.py": plugin("New"), "sync_good.py": plugin("SyncGood", execute="return 'changed'")})
        (kairos.folder / "broken.py").unlink()
        assert (await kairos.owner.post("/api/plugins/reload")).status == 403
        reply = await kairos.operator.post("/api/plugins/reload")
        assert (reply.status, reply.body["failed"]) == (200, 0)
        assert (await kairos.done("New")).output == "done"
        assert (await kairos.done("SyncGood")).output == "changed"

    async def test_waiting_task_of_a_removed_plugin_fails(self, kairos: Installation):
        task_id = await kairos.app.submit("x", agent="NoLonger")
        task = await kairos.app.finished(task_id)
        assert task.error
        assert task.error["code"] == "unknown_agent"


class TestProjects:
    async def test_disabled_plugin_is_refused_at_submission_and_by_the_coordinator(self, kairos: Installation):
        assert (await kairos.set(disabled_plugins=["SyncGood"])).status == 200
        refused = await kairos.owner.post("/api/tasks", {"prompt": "x", "agent": "SyncGood"})
        assert (refused.status, refused["code"]) == (409, "agent_disabled")
        assert "project's settings" in refused["detail"]
        assert (await kairos.plugin("SyncGood"))["state"] == "disabled"
        task = await kairos.done("SyncGood")  # as if it had been queued before the change
        assert task.error
        assert (task.state, task.error["code"]) == (TaskState.FAILED, "agent_disabled")
        assert (await kairos.set(disabled_plugins=[])).status == 200
        assert (await kairos.done("SyncGood")).output == "ABC"

    async def test_capability_of_a_disabled_plugin_goes_to_the_next(self, kairos: Installation):
        await kairos.set(disabled_plugins=["AsyncGood"])
        task = await kairos.done("test")
        assert '"n": 2' in (task.output or ""), "Configured is the next in order of file names"

    async def test_project_sets_its_own_values_and_secrets_are_hidden(self, kairos: Installation):
        assert (await kairos.set(plugin_settings={"Configured": {"n": 7}})).status == 200
        shown = await kairos.plugin("Configured")
        assert shown["config"] == {"n": 7, "key": "***"}
        task = await kairos.done("Configured")
        assert task.output
        assert '"n": 7' in task.output
        assert "sk-secret" in task.output, "the plugin itself receives it"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"plugin_settings": {"Configured": {"n": "many"}}}, "$.n"),
            ({"plugin_settings": {"Configured": {"colour": "red"}}}, "only an operator may set it"),
            ({"plugin_settings": {"Configured": {"nothing": "red"}}}, "A project may set: n"),
            ({"plugin_settings": {"Configured": {"key": "mine"}}}, "it is a secret"),
            ({"plugin_settings": {"Nobody": {}}}, "no plugin is named 'Nobody'"),
            ({"plugin_settings": {"ExecutionAgent": {}}}, "it has no configuration"),
            ({"plugin_settings": {"broken": {"n": 1}}}, "not loaded"),
            ({"disabled_plugins": ["Configuret"]}, "Did you mean 'Configured'"),
        ],
    )
    async def test_invalid_settings_are_refused(self, kairos: Installation, settings: dict[str, Any], message: str):
        refused = await kairos.set(**settings)
        assert refused.status == 422
        assert message in refused["detail"]

    async def test_setting_that_became_invalid_fails_the_plugin_and_blocks_no_other_change(self, kairos: Installation):
        await kairos.set(plugin_settings={"Configured": {"n": 7}})
        stricter = SCHEMA.replace("'integer',", "'integer', 'maximum': 5,")
        put(kairos.folder, {"configured.py": plugin("Configured", more=stricter)})
        await kairos.operator.post("/api/plugins/reload")
        shown = await kairos.plugin("Configured")
        assert shown["state"] == "failed"
        assert "$.n" in shown["error"]
        task = await kairos.done("Configured")
        assert task.error
        assert task.error["code"] == "plugin_misconfigured"
        assert (await kairos.set(weight=2)).status == 200
        (kairos.folder / "configured.py").unlink()
        await kairos.operator.post("/api/plugins/reload")
        assert (await kairos.set(weight=3)).status == 200

    async def test_viewers_read_and_only_admins_change(self, kairos: Installation):
        _, viewer = await person(kairos.app, kairos.anonymous, kairos.app.project_id, Role.VIEWER)
        assert (await viewer.get("/api/plugins")).status == 200
        path = f"/api/projects/{kairos.app.project_id}"
        body = {"settings": {"disabled_plugins": ["SyncGood"]}}
        assert (await viewer.call("PATCH", path, json=body)).status == 403


class TestStorage:
    async def test_stored_values_belong_to_one_plugin_in_one_project(self, kairos: Installation):
        await kairos.done("Keeps", "set a=mine")
        app = kairos.app
        assert '"mine"' in ((await kairos.done("Keeps", "look")).output or "")
        first = app.project_id
        app.project_id, app.user_id = await new_project(app.parts)
        try:
            assert "mine" not in ((await kairos.done("Keeps", "look")).output or "")
        finally:
            app.project_id = first

    async def test_storage_is_limited(self, kairos: Installation, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plugin_storage, "MAX_KEYS", 20)
        for prompt, message in (
            ("fill 21", "it holds 20 keys"),
            (f"big {plugin_storage.MAX_VALUE_BYTES}", "larger than 65536"),
        ):
            task = await kairos.done("Keeps", prompt)
            assert task.error
            assert task.error["code"] == "plugin_storage_full"
            assert message in task.error["message"]

    @pytest.mark.parametrize("value", ["a\u0000b", "lone \ud800", 2**70, {1: 2}, object()])
    def test_value_that_postgresql_cannot_store_is_refused(self, value: object):
        with pytest.raises(ValueError):
            plugin_storage.checked_value(value)

    @pytest.mark.parametrize("value", ["a\\u0000b", "\\\\u0000", None, [], {"a": {"b": 1.5}}])
    async def test_value_that_resembles_an_invalid_one_is_stored(self, kairos: Installation, value: object):
        app = kairos.app
        async with app.database.project(app.project_id) as session:
            text = plugin_storage.checked_value(value)
            await plugin_storage.put(session, app.project_id, "P", "k", text)
            assert plugin_storage.checked_value(value) == text
            assert await plugin_storage.keys(session, "P") == ["k"]


class TestModels:
    async def test_decisions_of_intermediate_answers_are_closed_without_quality(self, kairos: Installation):
        """The router records their cost but no quality, and no decision stays open."""
        task = await kairos.done("Drafts", require=("hello",))
        assert (task.state, task.output) == (TaskState.SUCCEEDED, "hello and more")
        decisions = await kairos.app.decisions(task.id)
        assert [decision.quality for decision in decisions] == [None, None]
        assert kairos.app.parts.llm.router._open == {}

    async def test_failed_execution_leaves_no_decision_open(self, kairos: Installation):
        put(
            kairos.folder,
            {"drafts.py": plugin("Drafts", execute="task.context.llm.complete('x', temperature=0)\n1 / 0")},
        )
        await kairos.operator.post("/api/plugins/reload")
        task = await kairos.done("Drafts")
        assert (task.error or {})["code"] == "plugin_crashed"
        assert kairos.app.parts.llm.router._open == {}

    async def test_plugin_uses_the_model_of_its_task(self, kairos: Installation):
        task = await kairos.done("Drafts", model="echo")
        assert {call.model for call in kairos.app.models.calls} == {"echo"}
        assert task.state == TaskState.SUCCEEDED

    async def test_unknown_model_does_not_count_as_a_plugin_failure(self, kairos: Installation):
        task = await kairos.done("Drafts", model="no-such-model")
        assert (task.error or {})["code"] == "unknown_model"
        assert (await kairos.plugin("Drafts"))["state"] == "loaded"


class TestFailures:
    async def test_repeatedly_failing_plugin_is_set_aside_and_shown(self, kairos: Installation):
        for _ in range(3):
            assert ((await kairos.done("Fails")).error or {})["code"] == "plugin_crashed"
        shown = await kairos.plugin("Fails")
        assert shown["state"] == "set_aside"
        assert "RuntimeError: broken" in shown["error"]
        assert shown["tried_again_at"]
        refused = await kairos.done("Fails")
        assert (refused.error or {})["code"] == "plugin_set_aside"
        assert (await kairos.done("SyncGood")).output == "ABC"
        await kairos.operator.post("/api/plugins/reload")
        assert (await kairos.plugin("Fails"))["state"] == "loaded", "a reload tries the plugin again"

    @pytest.mark.parametrize("how", ["cancel", "timeout"])
    async def test_hanging_plugin_is_killed_by_cancellation_and_timeout(
        self, kairos: Installation, tmp_path: Path, how: str
    ):
        mark = tmp_path / "pid"
        options = {"timeout_s": 2.0} if how == "timeout" else {}
        task_id = await kairos.app.submit(str(mark), agent="Hangs", **options)
        pid = int(await eventually(lambda: mark.exists() and mark.read_text()))
        if how == "cancel":
            await kairos.app.cancel(task_id)
        task = await kairos.app.finished(task_id)
        ended = (TaskState.CANCELLED, None) if how == "cancel" else (TaskState.FAILED, "task_timeout")
        assert (task.state, (task.error or {}).get("code")) == ended
        await eventually(lambda: not psutil.pid_exists(pid), 5, "the plugin's process has ended")
        assert (await kairos.done("SyncGood")).output == "ABC"


async def test_many_concurrent_plugin_tasks_succeed(kairos: Installation):
    ids = [await kairos.app.submit(f"t{n}", agent="SyncGood" if n % 2 else "AsyncGood") for n in range(20)]
    tasks = [await kairos.app.finished(task_id, 60) for task_id in ids]
    assert [task.output for task in tasks] == [f"T{n}" if n % 2 else f"t{n}"[::-1] for n in range(20)]
