"""Plugins in a whole Kairos: the API, projects and their settings, storage, models, cancels, and who may see what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from kairos.agents.base import BUILT_IN
from kairos.config import PluginSettings, QueueSettings
from kairos.db.models import Role, TaskState
from kairos.db.repositories import plugin_storage
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
class Installed:
    """A Kairos with these plugins, and people who call its API."""

    app: KairosApp
    owner: Caller
    operator: Caller
    anybody: Caller
    folder: Path

    async def done(self, agent: str, prompt: str = "abc", **options: Any):
        return await self.app.finished(await self.app.submit(prompt, agent=agent, **options))

    async def plugin(self, name: str, caller: Caller | None = None) -> Reply:
        return await (caller or self.owner).get(f"/api/plugins/{name}")

    async def set(self, **settings: Any) -> Reply:
        path = f"/api/projects/{self.app.project_id}"
        return await self.owner.call("PATCH", path, json={"settings": settings})


@dataclass
class Shared:
    """What the tests of this file have in common: a start for each would take most of their time."""

    app: KairosApp
    anybody: Caller
    operator: Caller
    folder: Path

    async def restore(self) -> None:
        """The folder as it was, and no plugin set aside."""
        there = {path.name: path.read_text() for path in self.folder.glob("*.py")}
        for name in set(there) - set(FILES):
            (self.folder / name).unlink()
        put(self.folder, FILES)
        aside = [item for item in (await self.operator.get("/api/plugins"))["items"] if item["state"] == "set_aside"]
        if there != FILES or aside:
            await self.operator.post("/api/plugins/reload")


@pytest.fixture(scope="module")
async def shared(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    folder = put(tmp_path_factory.mktemp("plugins"), FILES)
    settings = PluginSettings(folder=folder, memory_mb=128, settings={"Configured": {"n": 2, "key": "sk-secret"}})
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ModelServer(ScriptedModel("echo", answer="hello")))
        app = await stack.enter_async_context(open_app(addresses, server, plugins=settings, queue=QUICK))
        await stack.enter_async_context(app.working())
        anybody = await stack.enter_async_context(serving(app.parts))
        local = await anybody.post("/api/auth/local", {"secret": app.parts.services.local_secret})
        yield Shared(app, anybody, anybody.with_token(local["access_token"]), folder)


@pytest.fixture
async def kairos(shared: Shared) -> AsyncIterator[Installed]:
    """In a project of its own."""
    app = shared.app
    app.models.calls.clear()
    app.project_id, app.user_id = await new_project(app.parts)
    owner = await signed_in(app.parts, shared.anybody, app.user_id, app.project_id)
    yield Installed(app, owner, shared.operator, shared.anybody, shared.folder)
    await shared.restore()


class TestListing:
    async def test_built_in_agents_and_plugins_stand_in_one_list(self, kairos: Installed):
        items = (await kairos.owner.get("/api/plugins"))["items"]
        shown = {item["name"]: (item["source"], item["file"], item["state"]) for item in items}
        assert [item["name"] for item in items if item["source"] == "built-in"] == list(BUILT_IN)
        assert shown["ExecutionAgent"] == ("built-in", "", "loaded")
        assert shown["TrainingAgent"] == ("built-in", "", "loaded")
        assert shown["SyncGood"] == ("file", "sync_good.py", "loaded")
        assert shown["broken"] == ("file", "broken.py", "failed")

    async def test_a_trace_is_for_operators_and_the_error_for_everybody(self, kairos: Installed):
        mine, theirs = await kairos.plugin("broken.py"), await kairos.plugin("broken.py", kairos.operator)
        assert mine["error"] == theirs["error"] == "RuntimeError: no license"
        assert mine["trace"] is None
        assert "raise RuntimeError" in theirs["trace"]

    async def test_runs_of_today_count_by_name_and_capability_in_their_project(self, kairos: Installed):
        await kairos.done("AsyncGood")
        await kairos.done("test")
        assert (await kairos.plugin("AsyncGood"))["today"]["succeeded"] == 2
        project_id, user_id = await new_project(kairos.app.parts)
        stranger = await signed_in(kairos.app.parts, kairos.anybody, user_id, project_id)
        assert (await kairos.plugin("AsyncGood", stranger))["today"]["succeeded"] == 0

    async def test_an_unknown_name_says_which_there_are(self, kairos: Installed):
        reply = await kairos.plugin("SyncGod")
        assert (reply.status, reply["code"]) == (404, "unknown_plugin")
        assert "SyncGood" in reply["detail"]

    async def test_the_agents_page_has_them_too(self, kairos: Installed):
        agents = {item["name"]: item for item in (await kairos.owner.get("/api/agents"))["items"]}
        assert agents["SyncGood"]["capabilities"] == ["test"]


class TestReload:
    async def test_operators_reload_and_nobody_else(self, kairos: Installed):
        put(kairos.folder, {"new.py": plugin("New"), "sync_good.py": plugin("SyncGood", execute="return 'changed'")})
        (kairos.folder / "broken.py").unlink()
        assert (await kairos.owner.post("/api/plugins/reload")).status == 403
        reply = await kairos.operator.post("/api/plugins/reload")
        assert (reply.status, reply.body["failed"]) == (200, 0)
        assert (await kairos.done("New")).output == "done"
        assert (await kairos.done("SyncGood")).output == "changed"

    async def test_a_plugin_that_is_gone_fails_the_tasks_that_wait_for_it(self, kairos: Installed):
        task_id = await kairos.app.submit("x", agent="NoLonger")
        task = await kairos.app.finished(task_id)
        assert task.error
        assert task.error["code"] == "unknown_agent"


class TestProjects:
    async def test_a_disabled_plugin_is_refused_at_submission_and_by_the_coordinator(self, kairos: Installed):
        assert (await kairos.set(disabled_plugins=["SyncGood"])).status == 200
        refused = await kairos.owner.post("/api/tasks", {"prompt": "x", "agent": "SyncGood"})
        assert (refused.status, refused["code"]) == (409, "agent_disabled")
        assert "project's settings" in refused["detail"]
        assert (await kairos.plugin("SyncGood"))["state"] == "disabled"
        task = await kairos.done("SyncGood")  # as if it had been queued before
        assert task.error
        assert (task.state, task.error["code"]) == (TaskState.FAILED, "agent_disabled")
        assert (await kairos.set(disabled_plugins=[])).status == 200
        assert (await kairos.done("SyncGood")).output == "ABC"

    async def test_a_capability_goes_to_the_next_that_has_it(self, kairos: Installed):
        await kairos.set(disabled_plugins=["AsyncGood"])
        task = await kairos.done("test")
        assert '"n": 2' in (task.output or ""), "Configured is the next by the names of their files"

    async def test_a_project_sets_its_own_values_and_sees_no_secret(self, kairos: Installed):
        assert (await kairos.set(plugin_settings={"Configured": {"n": 7}})).status == 200
        shown = await kairos.plugin("Configured")
        assert shown["config"] == {"n": 7, "key": "***"}
        task = await kairos.done("Configured")
        assert task.output
        assert '"n": 7' in task.output
        assert "sk-secret" in task.output, "the plugin itself has it"

    @pytest.mark.parametrize(
        ("settings", "words"),
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
    async def test_what_is_not_valid_is_refused(self, kairos: Installed, settings: dict[str, Any], words: str):
        refused = await kairos.set(**settings)
        assert refused.status == 422
        assert words in refused["detail"]

    async def test_what_became_invalid_is_the_plugins_error_and_hinders_no_other_change(self, kairos: Installed):
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

    async def test_viewers_see_and_only_admins_change(self, kairos: Installed):
        _, viewer = await person(kairos.app, kairos.anybody, kairos.app.project_id, Role.VIEWER)
        assert (await viewer.get("/api/plugins")).status == 200
        path = f"/api/projects/{kairos.app.project_id}"
        body = {"settings": {"disabled_plugins": ["SyncGood"]}}
        assert (await viewer.call("PATCH", path, json=body)).status == 403


class TestStorage:
    async def test_what_is_kept_is_of_one_plugin_in_one_project(self, kairos: Installed):
        await kairos.done("Keeps", "set a=mine")
        app = kairos.app
        assert '"mine"' in ((await kairos.done("Keeps", "look")).output or "")
        first = app.project_id
        app.project_id, app.user_id = await new_project(app.parts)
        try:
            assert "mine" not in ((await kairos.done("Keeps", "look")).output or "")
        finally:
            app.project_id = first

    async def test_its_bounds(self, kairos: Installed, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plugin_storage, "MAX_KEYS", 20)
        for prompt, words in (
            ("fill 21", "it holds 20 keys"),
            (f"big {plugin_storage.MAX_VALUE_BYTES}", "larger than 65536"),
        ):
            task = await kairos.done("Keeps", prompt)
            assert task.error
            assert task.error["code"] == "plugin_storage_full"
            assert words in task.error["message"]

    @pytest.mark.parametrize("value", ["a\u0000b", "lone \ud800", 2**70, {1: 2}, object()])
    def test_what_postgresql_cannot_keep_is_refused_before(self, value: object):
        with pytest.raises(ValueError):
            plugin_storage.checked_value(value)

    @pytest.mark.parametrize("value", ["a\\u0000b", "\\\\u0000", None, [], {"a": {"b": 1.5}}])
    async def test_what_looks_like_it_is_kept(self, kairos: Installed, value: object):
        app = kairos.app
        async with app.database.project(app.project_id) as session:
            text = plugin_storage.checked_value(value)
            await plugin_storage.put(session, app.project_id, "P", "k", text)
            assert plugin_storage.checked_value(value) == text
            assert await plugin_storage.keys(session, "P") == ["k"]


class TestModels:
    async def test_answers_that_are_not_the_result_are_not_waited_for(self, kairos: Installed):
        """The router learns what they cost, and nothing of their quality; none stays open."""
        task = await kairos.done("Drafts", require=("hello",))
        assert (task.state, task.output) == (TaskState.SUCCEEDED, "hello and more")
        decisions = await kairos.app.decisions(task.id)
        assert [decision.quality for decision in decisions] == [None, None]
        assert kairos.app.parts.services.router._open == {}

    async def test_a_failed_execution_leaves_nothing_open_either(self, kairos: Installed):
        put(
            kairos.folder,
            {"drafts.py": plugin("Drafts", execute="task.context.llm.complete('x', temperature=0)\n1 / 0")},
        )
        await kairos.operator.post("/api/plugins/reload")
        task = await kairos.done("Drafts")
        assert (task.error or {})["code"] == "plugin_crashed"
        assert kairos.app.parts.services.router._open == {}

    async def test_the_tasks_model_and_the_projects_rules_hold(self, kairos: Installed):
        task = await kairos.done("Drafts", model="echo")
        assert {call.model for call in kairos.app.models.calls} == {"echo"}
        assert task.state == TaskState.SUCCEEDED

    async def test_no_model_is_the_models_error_and_not_the_plugins(self, kairos: Installed):
        task = await kairos.done("Drafts", model="no-such-model")
        assert (task.error or {})["code"] == "unknown_model"
        assert (await kairos.plugin("Drafts"))["state"] == "loaded"


class TestFailures:
    async def test_one_that_keeps_failing_is_set_aside_and_shown_so(self, kairos: Installed):
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
        assert (await kairos.plugin("Fails"))["state"] == "loaded", "mended or not, a reload tries it again"

    @pytest.mark.parametrize("how", ["cancel", "timeout"])
    async def test_a_hanging_one_is_killed_by_cancel_and_by_the_tasks_time(
        self, kairos: Installed, tmp_path: Path, how: str
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
        await eventually(lambda: not psutil.pid_exists(pid), 5, "its process has ended")
        assert (await kairos.done("SyncGood")).output == "ABC"


async def test_many_at_once(kairos: Installed):
    ids = [await kairos.app.submit(f"t{n}", agent="SyncGood" if n % 2 else "AsyncGood") for n in range(20)]
    tasks = [await kairos.app.finished(task_id, 60) for task_id in ids]
    assert [task.output for task in tasks] == [f"T{n}" if n % 2 else f"t{n}"[::-1] for n in range(20)]
