"""Each plugin file is first imported in a separate process, which reports its plugins or its error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from kairos.plugins.child_process import ChildLimits
from kairos.plugins.plugin_config import schema_fault
from kairos.plugins.probing import ProbeResult, probe, probe_all
from kairos.plugins.sources import Origin, PluginSource, in_folder, of_file
from tests.kit.plugins import BROKEN, GOOD, HEAD, plugin, put

LIMITS = ChildLimits(memory_mb=128, cpu_s=30)
BY_THE_DAEMON = {"name_taken.py", "wrong_schema.py"}
"""Errors that only the daemon can detect, after the probe."""


async def found_in(path: Path, text: str, seconds: float = 5) -> list[ProbeResult]:
    path.write_text(text)
    return await probe(of_file(path), seconds, LIMITS)


@pytest.mark.parametrize("name", sorted(set(BROKEN) - BY_THE_DAEMON))
async def test_error_of_a_plugin_is_reported(tmp_path: Path, name: str):
    text, message = BROKEN[name]
    [found] = await found_in(tmp_path / name, text, seconds=2)
    assert found.error
    assert message in found.error


async def test_traceback_starts_at_the_plugins_line(tmp_path: Path):
    [found] = await found_in(tmp_path / "deep.py", "def f():\n    1 / 0\nf()\n")
    assert found.trace
    assert found.trace.splitlines()[1].strip().startswith(f'File "{tmp_path}/deep.py", line 3')


async def test_line_of_an_endless_loop_is_reported(tmp_path: Path):
    [found] = await found_in(tmp_path / "endless.py", "x = 1\nwhile True:\n    x += 1\n", seconds=4)
    assert found.trace
    assert "endless.py" in found.trace
    assert "importlib" not in found.trace


@pytest.mark.parametrize(("name", "text"), GOOD.items())
async def test_valid_plugin_is_described(tmp_path: Path, name: str, text: str):
    [found] = await found_in(tmp_path / name, text)
    assert (found.error, found.kind, found.capabilities) == (None, "Plugin", ("test",))
    assert found.is_async == name.startswith("async")


async def test_start_of_the_interpreter_does_not_count_as_import_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a loaded machine the interpreter alone may take longer than `plugins.probe_s`."""
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 3\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    [found] = await found_in(tmp_path / "good.py", GOOD["sync_good.py"], seconds=2)
    assert found.error is None


async def test_file_may_define_several_plugins_of_which_one_is_invalid(tmp_path: Path):
    two = plugin("First") + plugin("Second", more="def __init__(self): raise KeyError('k')").replace(
        "class Plugin", "class Other"
    )
    first, second = await found_in(tmp_path / "two.py", two)
    assert (first.name, first.error) == ("First", None)
    assert "KeyError" in (second.error or "")


async def test_imported_and_abstract_classes_are_ignored(tmp_path: Path):
    """The file imports one plugin, and defines an abstract one and its subclass."""
    text = (
        "from abc import abstractmethod\nfrom tests.kit.imported_plugin import Imported\n"
        + HEAD
        + "class Base(BasePlugin):\n"
        "    def get_capabilities(self): return []\n"
        "    def execute(self, task): return 'x'\n\n"
        "class Real(Base):\n    def get_name(self): return 'Real'\n"
    )
    assert [found.name for found in await found_in(tmp_path / "mixed.py", text)] == ["Real"]


async def test_package_is_imported_with_its_own_modules(tmp_path: Path):
    put(
        tmp_path,
        {"pack/__init__.py": "from .inside import Plugin\n", "pack/inside.py": plugin("Packed", execute="return 'p'")},
    )
    [source] = in_folder(tmp_path)
    [found] = await probe(source, 5, LIMITS)
    assert (found.name, source.label) == ("Packed", "pack/")


async def test_entry_point_names_a_class_or_a_module():
    for value in ("tests.kit.imported_plugin:Imported", "tests.kit.imported_plugin"):
        [found] = await probe(PluginSource(Origin.PACKAGE, value, "kit: imported"), 5, LIMITS)
        assert (found.name, found.error) == ("Imported", None)
    [found] = await probe(PluginSource(Origin.PACKAGE, "tests.kit.imported_plugin:TEXT", "kit: text"), 5, LIMITS)
    assert found.error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("async def get_capabilities(self): return []", "get_capabilities is `async def`"),
        ("config_schema = 7", "config_schema must be a dict"),
        ("config_schema = {'default': {1, 2}}", "config_schema is not valid JSON"),
        ("def get_capabilities(self): return ['x', 3]", "3 is among them"),
        ("def get_capabilities(self): return (str(n) for n in range(10**9))", "more than 50"),
        ("async def on_start(self): pass", "only where execute is"),
    ],
)
async def test_invalid_class_is_refused(tmp_path: Path, more: str, message: str):
    text = plugin("P", more=more)
    if "get_capabilities" in more:
        text = text.replace("    def get_capabilities(self): return ['test']\n", "")
    [found] = await found_in(tmp_path / "p.py", text)
    assert message in (found.error or "")


async def test_execute_must_take_a_task_and_not_yield(tmp_path: Path):
    [found] = await found_in(tmp_path / "a.py", plugin("A").replace("execute(self, task)", "execute(self)"))
    assert "must take one argument" in (found.error or "")
    [found] = await found_in(tmp_path / "b.py", plugin("B", execute="yield 'x'"))
    assert "execute yields" in (found.error or "")


async def test_schema_may_be_a_method_and_is_validated(tmp_path: Path):
    more = "def config_schema(self): return {'type': 'object', 'properties': {'n': {'type': 'integer'}}}"
    [found] = await found_in(tmp_path / "p.py", plugin("P", more=more))
    assert found.schema["properties"] == {"n": {"type": "integer"}}
    assert schema_fault(found.schema) is None
    assert "objekt" in (schema_fault({"type": "objekt"}) or "")


async def test_probes_run_in_parallel_and_leave_no_processes(tmp_path: Path):
    """A hanging plugin starts another process in its group, which must end too."""
    hangs = "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\nwhile True: time.sleep(1)\n"
    put(tmp_path, {**GOOD, "hangs.py": hangs, "thread.py": THREAD})
    before = _family()
    found = {one.source.label: one for one in await probe_all(in_folder(tmp_path), 2, LIMITS)}
    assert "did not end" in (found["hangs.py"].error or "")
    assert [found[name].error for name in (*GOOD, "thread.py")] == [None, None, None]
    assert _family() - before == set()


THREAD = plugin("Threaded", top="import threading, time\nthreading.Thread(target=lambda: time.sleep(600)).start()\n")


def _family() -> set[int]:
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
