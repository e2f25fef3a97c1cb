"""Plugins in a daemon, by the command line, as in the tutorial (docs/plugins.md)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed
from tests.kit.plugins import BROKEN, GOOD, plugin, put
from tests.kit.weather_server import WeatherServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "WeatherPlugin.py"


async def kairos(daemon: DaemonProcess, *arguments: str):
    """Run the command line in a thread, because the servers that the daemon calls run in this process."""
    return await asyncio.to_thread(command, daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))


MISBEHAVING_PLUGINS = {
    "dies.py": plugin("Dies", execute="import os; os._exit(3)"),
    "hangs.py": plugin(
        "Hangs",
        execute="import os, pathlib, time\npathlib.Path(task.prompt).write_text(str(os.getpid()))\ntime.sleep(600)",
    ),
    "eats.py": plugin("Eats", execute="x = []\nwhile True: x.append('y' * 10**6)"),
    "babbles.py": plugin("Babbles", execute="return object()"),
    **GOOD,
}


@pytest.fixture(scope="module")
async def daemon(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    """A daemon with the example and with plugins that misbehave. The last test kills it."""
    async with WeatherServer() as weather:
        plugins = {"memory_mb": 128, "settings": {"WeatherAgent": weather.config}}
        daemon = DaemonProcess(tmp_path_factory.mktemp("kairos"), on_engines(addresses, plugins=plugins))
        put(daemon.folder / "plugins", MISBEHAVING_PLUGINS)
        shutil.copy(EXAMPLE, daemon.folder / "plugins")
        await daemon.start()
        yield daemon
        if daemon.process.poll() is None:
            assert await daemon.stop() == 0


async def test_plugin_in_the_folder_is_loaded_at_the_start(daemon: DaemonProcess):
    submit = ("task", "submit", "--agent", "WeatherAgent", "weather in Ankara")
    done = await kairos(daemon, *submit, "--wait")
    assert done.returncode == 0, done.stderr
    assert "Ankara, Türkiye: rain, 7.4 °C" in done.stdout
    listed = await kairos(daemon, "plugin", "list")
    assert "WeatherAgent" in listed.stdout
    assert "✓ loaded" in listed.stdout
    assert "WeatherPlugin.py" in listed.stdout
    shown = parsed(await kairos(daemon, "plugin", "show", "WeatherAgent", "--json"))
    assert (shown["source"], shown["state"], shown["today"]["succeeded"]) == ("file", "loaded", 1)
    nowhere = await kairos(daemon, "plugin", "run", "WeatherAgent", "weather in Nowhereville")
    assert nowhere.returncode == 10
    assert "no place is named 'Nowhereville'" in nowhere.stdout


async def test_commands_of_the_tutorial_work_in_sequence(daemon: DaemonProcess):
    created = await kairos(daemon, "plugin", "new", "HelloAgent")
    file = daemon.folder / "plugins" / "HelloAgent.py"
    assert f"wrote {file}" in created.stdout
    assert (await kairos(daemon, "plugin", "new", "HelloAgent")).returncode == 5
    checked = await kairos(daemon, "plugin", "check", str(file))
    assert "✓ HelloAgent (HelloPlugin): async" in checked.stdout
    offline = await kairos(daemon, "plugin", "run", "HelloAgent", "Ada", "--file", str(file))
    assert offline.stdout == "Hello, Ada! (no. 1)\n"
    assert (await kairos(daemon, "plugin", "show", "HelloAgent")).returncode == 4
    assert ", 0 failed" in (await kairos(daemon, "plugin", "reload")).stdout
    ran = await kairos(daemon, "plugin", "run", "HelloAgent", "Ada")
    assert "Hello, Ada! (no. 1)" in ran.stdout
    file.write_text(file.read_text().replace("def execute", "def exekute"))
    broken = await kairos(daemon, "plugin", "check", str(file))
    assert broken.returncode == 1
    assert "HelloPlugin is missing execute" in broken.stdout
    assert ", 1 failed" in (await kairos(daemon, "plugin", "reload")).stdout
    shown = await kairos(daemon, "plugin", "show", "HelloAgent.py")
    assert "is missing execute" in shown.stdout


async def test_misbehaving_plugin_fails_only_its_own_task(daemon: DaemonProcess, tmp_path: Path):
    pid_file = tmp_path / "pid"
    hanging = await daemon.ask("POST", "/api/tasks", {"agent": "Hangs", "prompt": str(pid_file)})
    pid = int(await eventually(lambda: pid_file.exists() and pid_file.read_text()))
    for agent, code in (("Dies", "plugin_died"), ("Eats", "plugin_memory"), ("Babbles", "plugin_returned_nonsense")):
        ran = await kairos(daemon, "plugin", "run", agent, "hello", "--json")
        assert (ran.returncode, json.loads(ran.stdout)["error"]["code"]) == (10, code)
    assert parsed(await kairos(daemon, "plugin", "run", "SyncGood", "hello", "--json"))["output"] == "HELLO"
    await kairos(daemon, "task", "cancel", hanging["id"])
    await eventually(lambda: not psutil.pid_exists(pid), 5, "the cancellation ends the plugin's process")
    assert (await daemon.ask("GET", f"/api/tasks/{hanging['id']}"))["state"] == "cancelled"


async def test_broken_plugins_do_not_affect_others(addresses: Addresses, tmp_path: Path):
    """The daemon starts, lists each broken plugin with the cause, and runs the others. `benchmarks/broken_plugins.py`
    measures the effect on the duration of the start."""
    # A long time limit and little memory, so that the load does not decide which limit a plugin exceeds.
    settings = on_engines(addresses, plugins={"probe_s": 15, "memory_mb": 128})
    daemon = DaemonProcess(tmp_path / "with", settings)
    put(daemon.folder / "plugins", {**GOOD, **{name: text for name, (text, _) in BROKEN.items()}})
    await daemon.start()
    try:
        assert len(BROKEN) >= 12
        listed = {item["file"]: item for item in parsed(await kairos(daemon, "plugin", "list", "--json"))}
        for name, (_, message) in BROKEN.items():
            assert listed[name]["state"] == "failed", name
            assert message in listed[name]["error"], name
        assert listed["endless_import.py"]["trace"], "an operator must see the trace"
        for agent, answer in (("SyncGood", "HELLO"), ("AsyncGood", "olleh")):
            ran = await kairos(daemon, "plugin", "run", agent, "hello", "--json")
            assert parsed(ran)["output"] == answer
        shown = await kairos(daemon, "plugin", "list")
        assert "No module named 'no_such_library'" in " ".join(shown.stdout.split())
        children = psutil.Process(daemon.process.pid).children(recursive=True)
        assert [child for child in children if "kairos.plugins" in " ".join(child.cmdline())] == []
    finally:
        assert await daemon.stop() == 0


async def test_plugin_process_ends_when_the_daemon_is_killed(daemon: DaemonProcess, tmp_path: Path):
    pid_file = tmp_path / "pid"
    await daemon.ask("POST", "/api/tasks", {"agent": "Hangs", "prompt": str(pid_file), "max_attempts": 1})
    pid = int(await eventually(lambda: pid_file.exists() and pid_file.read_text()))
    daemon.kill()
    await eventually(lambda: not psutil.pid_exists(pid), 5, "the plugin's process ends")
