"""Plugins as files, without a daemon: write one to begin with, look at one, run one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kairos.agents.base import BUILT_IN
from kairos.config import PluginSettings
from kairos.errors import Conflict, InvalidInput, KairosError
from kairos.plugins.child_process import ChildLimits
from kairos.plugins.plugin_config import schema_fault
from kairos.plugins.probing import ProbeResult, probe
from kairos.plugins.sources import of_file

PLUGIN = '''"""{name}: greets whom the prompt names, and counts how often. docs/plugins.md says what else there is."""

from kairos.plugins.base_plugin import BasePlugin, PluginError, PluginTask


class {kind}(BasePlugin):
    """Greets whom the prompt names."""

    config_schema = {{
        "type": "object",
        "properties": {{"greeting": {{"type": "string", "minLength": 1, "default": "Hello"}}}},
        "additionalProperties": False,
    }}

    def get_name(self):
        return "{name}"

    def get_capabilities(self):
        return ["greet"]

    {define}execute(self, task: PluginTask):
        context = task.context
        whom = task.prompt.strip()
        if not whom:
            raise PluginError("the prompt names nobody")
        times = {wait}context.storage.get(f"greeted/{{whom}}", 0) + 1
        {wait}context.storage.set(f"greeted/{{whom}}", times)
        # A model would be asked so, and its answer returned as it is: {wait}context.llm.complete(f"Greet {{whom}}.")
        return f"{{context.config['greeting']}}, {{whom}}! (no. {{times}})"
'''
TEST = '''"""{name} as the daemon would run it, without one: python -m pytest {test}"""

from pathlib import Path

import pytest

from kairos.plugins.offline import run
from kairos.plugins.plugin_errors import PluginRefused

FILE = Path(__file__).parents[1] / "{file}"


def test_it_greets():
    assert run(FILE, "Ada") == "Hello, Ada! (no. 1)"


def test_the_greeting_is_configured():
    assert run(FILE, "Ada", config={{"greeting": "Merhaba"}}).startswith("Merhaba, Ada!")


def test_nobody_is_no_task():
    with pytest.raises(PluginRefused, match="names nobody"):
        run(FILE, " ")
'''


def write_example(name: str, folder: Path, *, sync: bool) -> tuple[Path, Path]:
    """A plugin of that name and its test; where they are. Raises `InvalidInput`, `Conflict` where one is there."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        problem, remedy = f"{name!r} is no name of a class", "Use letters, digits and _, such as WeatherAgent"
        raise InvalidInput(where="NAME", problem=problem, remedy=remedy)
    plugin, test = folder / f"{name}.py", folder / "tests" / f"test_{name}.py"
    kind = f"{name[0].upper()}{name[1:].removesuffix('Plugin').removesuffix('Agent')}Plugin"
    define, wait = ("def ", "") if sync else ("async def ", "await ")
    texts = {
        plugin: PLUGIN.format(name=name, kind=kind, define=define, wait=wait),
        test: TEST.format(name=name, file=plugin.name, test=test),
    }
    for path in texts:
        if path.exists():
            raise Conflict(what=f"A plugin {name}", reason=f"{path} is there", remedy="Use another name, or --folder")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise InvalidInput(where=str(folder), problem=f"it cannot be written ({fault})", remedy="Check it") from None
    return plugin, test


def examine(settings: PluginSettings, file: Path) -> list[ProbeResult]:
    """What the daemon would find in it. Raises `InvalidInput` where there is no such file."""
    _must_exist(file)
    limits = ChildLimits(settings.memory_mb, settings.cpu_s)
    return [_judged(found) for found in asyncio.run(probe(of_file(file), settings.probe_s, limits))]


def run_offline(settings: PluginSettings, file: Path, name: str, prompt: str, config: Mapping[str, Any] | None) -> str:
    """Raises what would fail the task, in words of its own where the time is over."""
    # It imports what the daemon does, for which nobody who only checks a file should wait.
    from kairos.plugins import offline

    _must_exist(file)
    try:
        return offline.run(file, prompt, name=name, config=config, settings=settings)
    except TimeoutError:
        raise OfflineTimeout(name=name, seconds=offline.TIMEOUT_S) from None


class OfflineTimeout(KairosError):
    """{name} did not answer within {seconds:g} s, the time that a run without a daemon has."""

    status, code = 504, "offline_timeout"


def _judged(found: ProbeResult) -> ProbeResult:
    if found.error:
        return found
    if found.name in BUILT_IN:
        return replace(found, error=f"the name {found.name!r} is already taken by a built-in agent: choose another")
    return replace(found, error=schema_fault(found.schema) if found.schema else None)


def _must_exist(file: Path) -> None:
    if not (file.is_file() or (file / "__init__.py").is_file()):
        raise InvalidInput(where=str(file), problem="it is neither a file nor a package", remedy="Check the path")
