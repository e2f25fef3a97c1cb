"""Plugins without a daemon: the example, the files of `kairos plugin new`, and tests of plugins."""

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


async def test_example_sends_the_requests_that_open_meteo_expects():
    async with WeatherServer() as server:
        output = await asyncio.to_thread(run, WEATHER, "What is the weather in Ankara?", config=server.config)
    assert output == "Ankara, Türkiye: rain, 7.4 °C, wind 11.2 km/h. Today 1.3 to 9.8 °C."
    (search, search_query), (forecast, forecast_query) = server.requests
    assert (search, forecast) == ("search", "forecast")
    assert search_query == {"name": "Ankara", "count": "1"}
    assert forecast_query["latitude"] == "39.91987"


async def test_example_reports_an_unknown_place():
    async with WeatherServer() as server:
        with pytest.raises(PluginRefused, match="no place is named 'Nowhereville'"):
            await asyncio.to_thread(run, WEATHER, "weather in Nowhereville", config=server.config)


def test_example_is_short_enough_for_the_tutorial():
    assert len(WEATHER.read_text().splitlines()) < 90


@pytest.mark.parametrize("sync", [False, True])
def test_generated_plugin_works_and_passes_its_test(tmp_path: Path, sync: bool):
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
def test_generated_class_name_is_capitalised(tmp_path: Path, name: str, kind: str):
    file, _ = write_example(name, tmp_path, sync=False)
    assert f"class {kind}Plugin(BasePlugin):" in file.read_text()


def test_new_plugin_overwrites_nothing_and_needs_a_valid_name(tmp_path: Path):
    write_example("HelloAgent", tmp_path, sync=False)
    with pytest.raises(Conflict):
        write_example("HelloAgent", tmp_path, sync=False)
    with pytest.raises(InvalidInput):
        write_example("../evil", tmp_path, sync=False)


def test_check_reports_taken_names_and_invalid_schemas(tmp_path: Path):
    put(
        tmp_path,
        {"a.py": plugin("ExecutionAgent"), "b.py": plugin("B", more="config_schema = {'type': 'objekt'}")},
    )
    for file, message in (("a.py", "already taken"), ("b.py", "objekt")):
        [found] = examine(PluginSettings(), tmp_path / file)
        assert message in (found.error or "")
    with pytest.raises(InvalidInput):
        examine(PluginSettings(), tmp_path / "none.py")


def test_answers_and_replies_come_from_the_test(tmp_path: Path):
    code = """
        facts = await task.context.http.get_json('http://facts/', params={'q': 1})
        return await task.context.llm.complete(f"Say {facts['x']}")
    """
    file = put(tmp_path, {"a.py": plugin("A", define="async def", execute=code)}) / "a.py"
    assert run(file, "p", answers=["done"], replies={"http://facts/": {"x": 1}}) == "done"
    with pytest.raises(PluginRefused, match="calls a model"):
        run(file, "p", replies={"http://facts/": {"x": 1}})
    with pytest.raises(PluginRefused, match="no reply"):
        run(file, "p", answers=["done"], replies={})


def test_config_and_name_are_checked(tmp_path: Path):
    more = "config_schema = {'type': 'object', 'properties': {'n': {'type': 'integer'}}}"
    file = put(tmp_path, {"a.py": plugin("A", more=more)}) / "a.py"
    with pytest.raises(PluginMisconfigured):
        run(file, "p", config={"n": "x"})
    with pytest.raises(InvalidInput, match="It defines: A"):
        run(file, "p", name="B")
