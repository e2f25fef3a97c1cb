"""Plugins with the real daemon and the real command line, as in the tutorial (docs/plugins.md)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from kairos.embedded import Addresses
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed
from tests.kit.weather_server import WeatherServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "WeatherPlugin.py"


async def kairos(daemon: DaemonProcess, *arguments: str):
    """In a thread: the servers that the daemon calls live in this process."""
    return await asyncio.to_thread(command, daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))


async def test_a_file_in_the_folder_is_an_agent_after_the_next_start(addresses: Addresses, tmp_path: Path):
    async with WeatherServer() as weather:
        settings = on_engines(addresses, plugins={"settings": {"WeatherAgent": weather.config}})
        daemon = DaemonProcess(tmp_path / "kairos", settings)
        (daemon.folder / "plugins").mkdir()
        shutil.copy(EXAMPLE, daemon.folder / "plugins")
        await daemon.start()
        try:
            submit = ("task", "submit", "--agent", "WeatherAgent", "weather in Ankara")
            asked = await kairos(daemon, *submit, "--wait")
            assert asked.returncode == 0, asked.stderr
            assert "Ankara, Türkiye: rain, 7.4 °C" in asked.stdout
            listed = await kairos(daemon, "plugin", "list")
            assert "WeatherAgent" in listed.stdout
            assert "✓ loaded" in listed.stdout
            assert "WeatherPlugin.py" in listed.stdout
            shown = parsed(await kairos(daemon, "plugin", "show", "WeatherAgent", "--json"))
            assert (shown["source"], shown["state"], shown["today"]["succeeded"]) == ("file", "loaded", 1)
            nowhere = await kairos(daemon, "plugin", "run", "WeatherAgent", "weather in Nowhereville")
            assert nowhere.returncode == 10
            assert "no place is named 'Nowhereville'" in nowhere.stdout
        finally:
            await daemon.stop()
