"""Create, check and run plugin files without a daemon."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kairos.agents.built_in import BUILT_IN
from kairos.config import PluginSettings
from kairos.errors import Conflict, InvalidInput, KairosError
from kairos.plugins.child_process import ChildLimits
from kairos.plugins.plugin_config import schema_fault
from kairos.plugins.probing import ProbeResult, probe
from kairos.plugins.sources import of_file

PLUGIN = '''"""{name}: greets the person named in the prompt, and counts the greetings. See docs/plugins.md."""

from kairos.plugins.base_plugin import BasePlugin, PluginError, PluginTask


class {kind}(BasePlugin):
    """Greets the person named in the prompt."""

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
        person = task.prompt.strip()
        if not person:
            raise PluginError("the prompt is empty")
        times = {wait}context.storage.get(f"greeted/{{person}}", 0) + 1
        {wait}context.storage.set(f"greeted/{{person}}", times)
        # To let a model answer instead: return {wait}context.llm.complete(f"Greet {{person}}.")
        return f"{{context.config['greeting']}}, {{person}}! (no. {{times}})"
'''
TEST = '''"""Run {name} as the daemon does, but without a daemon: python -m pytest {test}"""

from pathlib import Path

import pytest

from kairos.plugins.offline import run
from kairos.plugins.plugin_errors import PluginRefused

FILE = Path(__file__).parents[1] / "{file}"


def test_it_greets():
    assert run(FILE, "Ada") == "Hello, Ada! (no. 1)"


def test_the_greeting_is_configured():
    assert run(FILE, "Ada", config={{"greeting": "Merhaba"}}).startswith("Merhaba, Ada!")


def test_an_empty_prompt_is_refused():
    with pytest.raises(PluginRefused, match="is empty"):
        run(FILE, " ")
'''


def write_example(name: str, folder: Path, *, sync: bool) -> tuple[Path, Path]:
    """Write an example plugin and its test; their paths. Raises `InvalidInput`, and `Conflict` if one exists."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,79}", name):
        problem, remedy = f"{name!r} is not a valid class name", "Use letters, digits and _, such as WeatherAgent"
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
            raise Conflict(
                what=f"A plugin {name}", reason=f"{path} exists already", remedy="Use another name, or --folder"
            )
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise InvalidInput(
            where=str(folder), problem=f"it cannot be written ({fault})", remedy="Check its permissions"
        ) from None
    return plugin, test


def examine(settings: PluginSettings, file: Path) -> list[ProbeResult]:
    """Probe a plugin file as the daemon does. Raises `InvalidInput` if there is no such file."""
    _must_exist(file)
    limits = ChildLimits(settings.memory_mb, settings.cpu_s)
    return [_checked(found) for found in asyncio.run(probe(of_file(file), settings.probe_s, limits))]


def run_offline(settings: PluginSettings, file: Path, name: str, prompt: str, config: Mapping[str, Any] | None) -> str:
    """Run a plugin without a daemon and return its output. Raises the error of the task, and `OfflineTimeout`."""
    # Imported here because it loads the daemon's modules, which checking a file does not need.
    from kairos.plugins import offline

    _must_exist(file)
    try:
        return offline.run(file, prompt, name=name, config=config, settings=settings)
    except TimeoutError:
        raise OfflineTimeout(name=name, seconds=offline.TIMEOUT_S) from None


class OfflineTimeout(KairosError):
    """{name} did not finish within {seconds:g} s, the limit for a run without a daemon."""

    status, code = 504, "offline_timeout"


def _checked(found: ProbeResult) -> ProbeResult:
    if found.error:
        return found
    if found.name in BUILT_IN:
        return replace(found, error=f"the name {found.name!r} is already taken by a built-in agent: choose another")
    return replace(found, error=schema_fault(found.schema) if found.schema else None)


def _must_exist(file: Path) -> None:
    if not (file.is_file() or (file / "__init__.py").is_file()):
        raise InvalidInput(where=str(file), problem="it is neither a file nor a package", remedy="Check the path")
