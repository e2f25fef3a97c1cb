"""Plugins add agents with a file in a folder. Read from top to bottom."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from kairos.config import PluginSettings
from kairos.db.models import TaskState
from kairos.embedded import Addresses
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel

Open = Callable[[str], AbstractAsyncContextManager[KairosApp]]


@pytest.fixture
def kairos_with(addresses: Addresses, models: ModelServer, tmp_path: Path) -> Open:
    """Open a `KairosApp` with this text as a file in its plugin folder."""

    @asynccontextmanager
    async def opened(text: str) -> AsyncIterator[KairosApp]:
        (tmp_path / "mine.py").write_text(textwrap.dedent(text))
        settings = PluginSettings(folder=tmp_path, settings={"Greeter": {"greeting": "Good day"}})
        async with open_app(addresses, models, plugins=settings) as app, app.working():
            yield app

    return opened


async def test_class_with_name_capabilities_and_execute_is_an_agent(kairos_with: Open):
    """Tasks name the agent or one of its capabilities. A plain `def` runs in a separate process and may block."""
    text = """
        from kairos.plugins.base_plugin import BasePlugin

        class Shouter(BasePlugin):
            def get_name(self):
                return "Shouter"

            def get_capabilities(self):
                return ["shout"]

            def execute(self, task):
                return task.prompt.upper()
    """
    async with kairos_with(text) as kairos:
        by_name = await kairos.finished(await kairos.submit("hello", agent="Shouter"))
        by_capability = await kairos.finished(await kairos.submit("again", agent="shout"))
    assert (by_name.state, by_name.output, by_name.model) == (TaskState.SUCCEEDED, "HELLO", None)
    assert by_capability.output == "AGAIN"


async def test_plugin_calls_models_through_the_router_which_learns(kairos_with: Open, models: ModelServer):
    """A model answer that a plugin returns unchanged counts like that of a built-in agent: the router learns from its
    verdict."""
    text = """
        from kairos.plugins.base_plugin import BasePlugin

        class Poet(BasePlugin):
            def get_name(self): return "Poet"
            def get_capabilities(self): return ["poem"]

            async def execute(self, task):
                return await task.context.llm.complete(f"A poem about {task.prompt}", system="You are a poet.")
    """
    async with kairos_with(text) as kairos:
        task = await kairos.finished(await kairos.submit("the sea", agent="Poet", require=("hello",)))
        [decision] = await kairos.decisions(task.id)
    assert (task.output, task.model, decision.quality) == ("hello", "echo", 1.0)
    assert [message["content"] for message in models.calls[0].messages] == ["You are a poet.", "A poem about the sea"]


async def test_plugin_receives_the_findings_of_a_rejected_draft(kairos_with: Open):
    """The next draft can use the findings, as in the built-in agents."""
    text = """
        from kairos.plugins.base_plugin import BasePlugin

        class Learner(BasePlugin):
            def get_name(self): return "Learner"
            def get_capabilities(self): return ["learn"]

            def execute(self, task):
                if not task.findings:
                    return "a first try"
                return f"better than {task.rejected!r}, because of {task.findings[0].check}: please"
    """
    async with kairos_with(text) as kairos:
        task = await kairos.finished(await kairos.submit("ask kindly", agent="Learner", require=("please",)))
        verdicts = await kairos.verdicts(task.id)
    assert [verdict.approved for verdict in verdicts] == [False, True]
    assert task.output == "better than 'a first try', because of require: please"


async def test_plugin_has_its_own_configuration_and_storage(kairos_with: Open):
    """The schema describes the configuration. The storage belongs to the project and persists between tasks."""
    text = """
        from kairos.plugins.base_plugin import BasePlugin

        class Greeter(BasePlugin):
            config_schema = {
                "type": "object",
                "properties": {"greeting": {"type": "string"}, "mark": {"type": "string", "default": "!"}},
            }

            def get_name(self): return "Greeter"
            def get_capabilities(self): return ["greet"]

            def execute(self, task):
                times = task.context.storage.get("times", 0) + 1
                task.context.storage.set("times", times)
                return f"{task.context.config['greeting']}, {task.prompt}{task.context.config['mark'] * times}"
    """
    async with kairos_with(text) as kairos:
        outputs = [(await kairos.finished(await kairos.submit("Ada", agent="Greeter"))).output for _ in range(3)]
    assert outputs == ["Good day, Ada!", "Good day, Ada!!", "Good day, Ada!!!"]


async def test_plugin_error_is_reported_with_its_message(kairos_with: Open):
    text = """
        from kairos.plugins.base_plugin import BasePlugin, PluginError

        class Picky(BasePlugin):
            def get_name(self): return "Picky"
            def get_capabilities(self): return ["pick"]

            async def execute(self, task):
                raise PluginError("only prime numbers are taken")
    """
    async with kairos_with(text) as kairos:
        task = await kairos.finished(await kairos.submit("4", agent="Picky"))
    assert task.error
    assert (task.state, task.error["message"]) == (TaskState.FAILED, "Picky: only prime numbers are taken")


async def test_plugin_that_dies_fails_only_its_own_task(kairos_with: Open, models: ModelServer):
    text = """
        import os
        from kairos.plugins.base_plugin import BasePlugin

        class Deadly(BasePlugin):
            def get_name(self): return "Deadly"
            def get_capabilities(self): return ["die"]
            def execute(self, task): os._exit(1)
    """
    models.add(ScriptedModel("echo", answer="still here"))
    async with kairos_with(text) as kairos:
        dead = await kairos.finished(await kairos.submit("x", agent="Deadly"))
        other = await kairos.finished(await kairos.submit("x"))
    assert dead.error
    assert (dead.state, dead.error["code"]) == (TaskState.FAILED, "plugin_died")
    assert (other.state, other.output) == (TaskState.SUCCEEDED, "still here")


async def test_broken_file_is_listed_with_its_cause_and_affects_nothing_else(kairos_with: Open):
    """Each file is first imported in a temporary process."""
    async with kairos_with("import os\nos._exit(1)\n") as kairos:
        task = await kairos.finished(await kairos.submit("hello"))
        broken = kairos.parts.agents.plugins.entry("mine.py")
    assert task.state == TaskState.SUCCEEDED
    assert broken.error == "it exited with status 1 while it was imported"
