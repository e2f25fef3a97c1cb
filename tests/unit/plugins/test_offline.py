"""Plugins without a daemon: the example, what `kairos plugin new` writes, and what a test of one can say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kairos.cli.plugin_files import examine, write_example
from kairos.config import PluginSettings
from kairos.errors import Conflict, InvalidInput
from kairos.plugins.offline import run
from kairos.plugins.plugin_errors import PluginMisconfigured, PluginRefused
from tests.kit.plugins import plugin, put
from tests.kit.weather_server import WeatherServer

WEATHER = Path(__file__).parents[3] / "examples" / "plugins" / "WeatherPlugin.py"


async def test_the_example_asks_as_open_meteo_wants_to_be_asked():
    async with WeatherServer() as server:
        said = await asyncio.to_thread(run, WEATHER, "What is the weather in Ankara?", config=server.config)
    assert said == "Ankara, Türkiye: rain, 7.4 °C, wind 11.2 km/h. Today 1.3 to 9.8 °C."
    (search, where), (forecast, what) = server.requests
    assert (search, forecast) == ("search", "forecast")
    assert where == {"name": "Ankara", "count": "1"}
    assert what["latitude"] == "39.91987"


async def test_the_example_says_that_a_place_is_not_found():
    async with WeatherServer() as server:
        with pytest.raises(PluginRefused, match="no place is named 'Nowhereville'"):
            await asyncio.to_thread(run, WEATHER, "weather in Nowhereville", config=server.config)


def test_the_example_is_short_enough_to_be_the_tutorial():
    assert len(WEATHER.read_text().splitlines()) < 90


@pytest.mark.parametrize("sync", [False, True])
def test_what_new_writes_works_and_passes_its_own_test(tmp_path: Path, sync: bool):
    file, test = write_example("HelloAgent", tmp_path / "plugins", sync=sync)
    [found] = examine(PluginSettings(), file)
    assert (found.name, found.error, found.is_async) == ("HelloAgent", None, not sync)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(test)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
    )
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [("greeter", "Greeter"), ("WeatherAgent", "Weather"), ("WeatherPlugin", "Weather"), ("Agent", "Agent")],
)
def test_new_names_the_class_as_classes_are_named(tmp_path: Path, name: str, kind: str):
    file, _ = write_example(name, tmp_path, sync=False)
    assert f"class {kind}Plugin(BasePlugin):" in file.read_text()


def test_new_overwrites_nothing_and_takes_no_other_name(tmp_path: Path):
    write_example("HelloAgent", tmp_path, sync=False)
    with pytest.raises(Conflict):
        write_example("HelloAgent", tmp_path, sync=False)
    with pytest.raises(InvalidInput):
        write_example("../evil", tmp_path, sync=False)


def test_check_knows_names_that_are_taken_and_schemas_that_are_none(tmp_path: Path):
    put(
        tmp_path,
        {"a.py": plugin("ExecutionAgent"), "b.py": plugin("B", more="config_schema = {'type': 'objekt'}")},
    )
    for file, words in (("a.py", "already taken"), ("b.py", "objekt")):
        [found] = examine(PluginSettings(), tmp_path / file)
        assert words in (found.error or "")
    with pytest.raises(InvalidInput):
        examine(PluginSettings(), tmp_path / "none.py")


def test_models_and_servers_are_what_the_test_says(tmp_path: Path):
    code = """
        facts = await task.context.http.get_json('http://facts/', params={'q': 1})
        return await task.context.llm.complete(f"Say {facts['x']}")
    """
    file = put(tmp_path, {"a.py": plugin("A", define="async def", execute=code)}) / "a.py"
    assert run(file, "p", answers=["said"], replies={"http://facts/": {"x": 1}}) == "said"
    with pytest.raises(PluginRefused, match="calls a model"):
        run(file, "p", replies={"http://facts/": {"x": 1}})
    with pytest.raises(PluginRefused, match="no reply"):
        run(file, "p", answers=["said"], replies={})


def test_config_and_name_are_checked(tmp_path: Path):
    more = "config_schema = {'type': 'object', 'properties': {'n': {'type': 'integer'}}}"
    file = put(tmp_path, {"a.py": plugin("A", more=more)}) / "a.py"
    with pytest.raises(PluginMisconfigured):
        run(file, "p", config={"n": "x"})
    with pytest.raises(InvalidInput, match="It defines: A"):
        run(file, "p", name="B")
