"""Plugin files for tests: valid ones, and one for each way in which a file can be broken."""

from __future__ import annotations

import textwrap
from pathlib import Path

HEAD = "from kairos.plugins.base_plugin import BasePlugin, PluginError\n\n\n"


def plugin(name: str, *, execute: str = "return 'done'", define: str = "def", more: str = "", top: str = "") -> str:
    """Return the source of a file with one plugin."""
    return (
        f"{top}\n{HEAD}class Plugin(BasePlugin):\n"
        f"    def get_name(self): return {name!r}\n"
        f"    def get_capabilities(self): return ['test']\n"
        f"{textwrap.indent(more, '    ')}\n"
        f"    {define} execute(self, task):\n{textwrap.indent(textwrap.dedent(execute), '        ')}\n"
    )


def put(folder: Path, files: dict[str, str]) -> Path:
    """Write the files. A name with a slash is a file of a package."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


GOOD = {
    "sync_good.py": plugin("SyncGood", execute="return task.prompt.upper()"),
    "async_good.py": plugin("AsyncGood", define="async def", execute="return task.prompt[::-1]"),
}

BROKEN: dict[str, tuple[str, str]] = {
    "syntax_error.py": ("def f(:\n", "SyntaxError"),
    "missing_import.py": ("import no_such_library\n", "No module named 'no_such_library'"),
    "raises_at_import.py": ("raise RuntimeError('no license')\n", "RuntimeError: no license"),
    "raises_in_constructor.py": (
        plugin("Ctor", more="def __init__(self): raise ValueError('no key')"),
        "ValueError: no key",
    ),
    "name_taken.py": (plugin("ExecutionAgent"), "already taken by a built-in agent"),
    "missing_methods.py": (
        f"{HEAD}class Half(BasePlugin):\n    def get_name(self): return 'Half'\n",
        "Half is missing execute, get_capabilities",
    ),
    "endless_import.py": ("while True:\n    pass\n", "did not end within"),
    "eats_memory.py": ("eaten = []\nwhile True:\n    eaten.append('y' * 10**8)\n", "exceeded its memory limit"),
    "exits_at_import.py": ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
    "dies_at_import.py": ("import os\nos._exit(5)\n", "exited with status 5"),
    "wrong_capabilities.py": (
        plugin("Wrong").replace("return ['test']", "return 'test'"),
        "get_capabilities must return short texts",
    ),
    "no_plugin.py": ("x = 1\n", "no class that is derived from BasePlugin"),
    "name_is_no_text.py": (plugin("X").replace("return 'X'", "return 7"), "get_name returned 7"),
    "wrong_schema.py": (plugin("BadSchema", more="config_schema = {'type': 'objekt'}"), "config_schema"),
}
"""File name -> its source, and a text that the reported cause must contain."""
