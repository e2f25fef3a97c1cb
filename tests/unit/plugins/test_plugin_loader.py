"""Plugins become agents, invalid ones are listed with their error, and a reload does not disturb running tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytest

from kairos.agents.base import AttemptContext, Task, TaskSpec
from kairos.agents.guardian import GuardianAgent
from kairos.agents.registry import AgentDisabled, AgentRegistry, UnknownAgent
from kairos.config import PluginSettings
from kairos.db.engine import Database
from kairos.db.models import EventKind
from kairos.http import HttpClient
from kairos.llm.routing.llm_router import LLMRouter
from kairos.plugins import plugin_agent
from kairos.plugins.plugin_loader import PluginLoader, UnknownPlugin
from kairos.plugins.sources import Origin
from kairos.plugins.task_context import PluginServices
from kairos.tenancy import ProjectId, TaskId, new_id
from tests.kit.conditions import eventually
from tests.kit.plugins import GOOD, plugin, put


@dataclass
class LiveSettings:
    """Settings that the test can replace, like the live settings of a daemon."""

    now: PluginSettings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


@dataclass
class LoadedPlugins:
    loader: PluginLoader
    agents: AgentRegistry
    folder: Path
    settings: LiveSettings

    def state(self) -> dict[str, str | None]:
        return {entry.label: entry.error for entry in self.loader.entries if entry.label}


@pytest.fixture
async def plugins(tmp_path: Path) -> AsyncIterator[LoadedPlugins]:
    agents, settings = AgentRegistry(), LiveSettings(PluginSettings(folder=tmp_path / "plugins", memory_mb=128))
    loader = PluginLoader(
        cast(PluginSettings, settings),
        agents,
        PluginServices(cast(LLMRouter, None), cast(Database, None), HttpClient()),
    )
    loader.add_built_in(GuardianAgent())
    yield LoadedPlugins(loader, agents, tmp_path / "plugins", settings)
    await loader.close()


async def perform(plugins: LoadedPlugins, wanted: str, prompt: str = "abc") -> str:
    task = Task(TaskId(new_id()), ProjectId(new_id()), prompt, wanted, None, TaskSpec(), 1)
    return (await plugins.agents.find(wanted).perform(task, AttemptContext(timeout_s=30), emit)).text


async def emit(kind: EventKind, data: Mapping[str, Any]) -> None:
    pass


async def test_missing_folder_means_no_plugins(plugins: LoadedPlugins):
    await plugins.loader.reload()
    assert [(entry.name, entry.origin) for entry in plugins.loader.entries] == [("GuardianAgent", Origin.BUILT_IN)]


async def test_files_become_agents_by_name_and_capability(plugins: LoadedPlugins):
    put(plugins.folder, GOOD)
    await plugins.loader.reload()
    assert await perform(plugins, "SyncGood") == "ABC"
    assert await perform(plugins, "AsyncGood") == "cba"
    assert await perform(plugins, "test") == "cba", "the first capable agent by file name"


async def test_taken_name_is_reported_with_its_owner(plugins: LoadedPlugins):
    put(
        plugins.folder,
        {"a.py": plugin("Twin"), "b.py": plugin("Twin"), "c.py": plugin("GuardianAgent"), "d.py": plugin("D")},
    )
    await plugins.loader.reload()
    state = plugins.state()
    assert (state["a.py"], state["d.py"]) == (None, None)
    assert "'Twin' is already taken by a.py" in (state["b.py"] or "")
    assert "already taken by a built-in agent" in (state["c.py"] or "")
    assert plugins.loader.entry("GuardianAgent").origin is Origin.BUILT_IN
    assert plugins.loader.entry("c.py").error


async def test_async_plugin_that_fails_only_in_the_daemon_is_listed(plugins: LoadedPlugins):
    """The probe does not call on_start."""
    put(plugins.folder, {"a.py": plugin("A", define="async def", more="def on_start(self): raise OSError('no port')")})
    await plugins.loader.reload()
    entry = plugins.loader.entry("A")
    assert "OSError: no port" in (entry.error or "")
    assert "on_start" in (entry.trace or "")
    with pytest.raises(UnknownAgent):
        plugins.agents.find("A")


HOOKS = {
    "hangs": ("def on_start(self): import time; time.sleep(600)", "did not start within"),
    "exits": ("def on_start(self): raise SystemExit(3)", "SystemExit: 3"),
    "exits while async": ("async def on_start(self): raise SystemExit(3)", "SystemExit: 3"),
    "hangs in its constructor": (
        "def __init__(self):\n    import sys, time\n    if 'pytest' in sys.modules: time.sleep(600)",
        "did not start within",
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_can_neither_delay_the_start_nor_end_the_daemon(
    plugins: LoadedPlugins, hook: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plugin_agent, "HOOK_S", 0.3)
    more, message = HOOKS[hook]
    put(plugins.folder, {"a.py": plugin("A", define="async def", more=more)})
    plugins.settings.now = plugins.settings.now.model_copy(update={"probe_s": 4})
    await plugins.loader.reload()
    assert message in (plugins.state()["a.py"] or "")


async def test_sync_plugins_file_is_never_imported_in_the_daemon(plugins: LoadedPlugins, tmp_path: Path):
    mark = tmp_path / "imported_by"
    top = f"import os, pathlib\nwith open({str(mark)!r}, 'a') as file: file.write(f'{{os.getpid()}}\\n')"
    put(plugins.folder, {"s.py": plugin("S", top=top)})
    await plugins.loader.reload()
    await perform(plugins, "S")
    assert str(os.getpid()) not in mark.read_text().split()


async def test_reload_adds_changed_plugins_and_removes_deleted_ones(plugins: LoadedPlugins):
    put(plugins.folder, {"a.py": plugin("A", execute="return 'old'"), "b.py": plugin("B", define="async def")})
    await plugins.loader.reload()
    put(plugins.folder, {"a.py": plugin("A", execute="return 'newer'"), "c.py": "def f(:"})
    (plugins.folder / "b.py").unlink()
    await plugins.loader.reload()
    assert await perform(plugins, "A") == "newer"
    assert sorted(plugins.state()) == ["a.py", "c.py"]
    with pytest.raises(UnknownAgent):
        plugins.agents.find("B")
    with pytest.raises(UnknownPlugin, match="There are: A"):
        plugins.loader.entry("zzz")


async def test_running_task_ends_with_the_plugin_that_it_started_with(plugins: LoadedPlugins, tmp_path: Path):
    go, gone = tmp_path / "go", tmp_path / "gone"
    waits = f"""
        import asyncio, pathlib
        while not pathlib.Path({str(go)!r}).exists():
            await asyncio.sleep(0.01)
        return 'old'
    """
    more = f"def on_stop(self):\n    import pathlib\n    pathlib.Path({str(gone)!r}).touch()"
    put(plugins.folder, {"a.py": plugin("A", define="async def", execute=waits, more=more)})
    await plugins.loader.reload()
    running = asyncio.create_task(perform(plugins, "A"))
    await asyncio.sleep(0)
    put(plugins.folder, {"a.py": plugin("A", define="async def", execute="return 'new'")})
    await plugins.loader.reload()
    assert await perform(plugins, "A") == "new"
    assert not gone.exists()
    go.touch()
    assert await running == "old"
    await eventually(gone.exists, 5, "the old plugin was stopped after its last task")


async def test_changed_folder_and_reload_counter_cause_a_scan(plugins: LoadedPlugins, tmp_path: Path):
    put(plugins.folder, {"a.py": plugin("A")})
    await plugins.loader.refresh()
    assert list(plugins.state()) == ["a.py"]
    put(plugins.folder, {"b.py": plugin("B")})
    await plugins.loader.refresh()
    assert list(plugins.state()) == ["a.py"], "no relevant setting has changed"
    plugins.settings.now = plugins.settings.now.model_copy(update={"reloads": 1})
    await plugins.loader.refresh()
    assert list(plugins.state()) == ["a.py", "b.py"]
    put(tmp_path / "other", {"c.py": plugin("C")})
    plugins.settings.now = plugins.settings.now.model_copy(update={"folder": tmp_path / "other"})
    await plugins.loader.refresh()
    assert list(plugins.state()) == ["c.py"]


async def test_package_is_loaded_by_its_entry_point(plugins: LoadedPlugins, monkeypatch: pytest.MonkeyPatch):
    point = metadata.EntryPoint("counter", "tests.kit.imported_plugin:Imported", "kairos.plugins")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == "kairos.plugins" else [])
    await plugins.loader.reload()
    assert await perform(plugins, "Imported") == "3"
    assert plugins.loader.entry("Imported").origin is Origin.PACKAGE


async def test_disabled_plugin_is_skipped(plugins: LoadedPlugins):
    put(plugins.folder, GOOD)
    await plugins.loader.reload()
    assert plugins.agents.find("test", {"AsyncGood"}).name == "SyncGood"
    for wanted, disabled in (("SyncGood", {"SyncGood"}), ("test", {"SyncGood", "AsyncGood"})):
        with pytest.raises(AgentDisabled, match="SyncGood"):
            plugins.agents.find(wanted, disabled)
