"""Finds sources of plugins, and imports each under a module name of its own.

Imports the standard library only, because plugin processes import this module.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from kairos.plugins.base_plugin import BasePlugin
from kairos.plugins.provider_plugin import ProviderPlugin

PluginClass = type[BasePlugin] | type[ProviderPlugin]
BASES = (BasePlugin, ProviderPlugin)
Kind = TypeVar("Kind", BasePlugin, ProviderPlugin)
PREFIX = "kairos_plugin_"


class Origin(StrEnum):
    """The origin of a plugin."""

    BUILT_IN = "built-in"
    FILE = "file"
    PACKAGE = "package"


@dataclass(frozen=True, slots=True)
class PluginSource:
    """A file or folder of the plugin folder, or an entry point of an installed package."""

    origin: Origin
    path: str
    """Path of the file to import; for an entry point its value, `module:Class` or `module`."""
    label: str
    """Name shown to users: the file's name, or package and entry point."""

    @property
    def module(self) -> str:
        """The name of its module. If the file's name is not an identifier, a checksum makes the name unique."""
        if self.origin is Origin.PACKAGE:
            return self.path.partition(":")[0]
        stem = self.label.removesuffix(".py").rstrip("/")
        clean = re.sub(r"\W", "_", stem, flags=re.ASCII)
        plain = clean == stem and self.label.endswith(".py")
        return PREFIX + (clean if plain else f"{clean}_{zlib.crc32(self.label.encode()):08x}")


def in_folder(folder: Path) -> list[PluginSource]:
    """Every `*.py` and every package of the folder, by name; names that begin with `_` or `.` are skipped. A missing
    folder counts as empty. Raises `OSError` if it cannot be read."""
    if not folder.is_dir():
        return []
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(("_", ".")):
            continue
        if entry.suffix == ".py" and not entry.is_dir():
            found.append(PluginSource(Origin.FILE, str(entry), entry.name))
        elif (entry / "__init__.py").is_file():
            found.append(PluginSource(Origin.FILE, str(entry / "__init__.py"), f"{entry.name}/"))
    return found


def of_file(path: Path) -> PluginSource:
    """The source of one file, or of a package's folder."""
    path = path.resolve()
    if path.is_dir():
        return PluginSource(Origin.FILE, str(path / "__init__.py"), f"{path.name}/")
    return PluginSource(Origin.FILE, str(path), path.name)


def load(source: PluginSource) -> ModuleType:
    """Import a source again. Raises the errors of its code."""
    if source.origin is Origin.PACKAGE:
        return importlib.import_module(source.module)
    unload(source)
    package = [str(Path(source.path).parent)] if source.label.endswith("/") else None
    spec = importlib.util.spec_from_file_location(source.module, source.path, submodule_search_locations=package)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source.path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        unload(source)
        raise
    return module


def unload(source: PluginSource) -> None:
    """Remove its modules from `sys.modules`; existing references stay valid. Modules of installed packages are kept,
    since
    others may use them."""
    if source.origin is Origin.FILE:
        for name in [name for name in sys.modules if name == source.module or name.startswith(f"{source.module}.")]:
            del sys.modules[name]


def classes(source: PluginSource, module: ModuleType) -> Iterator[PluginClass]:
    """The plugin classes that the source defines, abstract ones included, without imported ones."""
    if source.origin is Origin.PACKAGE and (name := source.path.partition(":")[2]):
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
        yield found
        return
    seen: set[type] = set()
    for value in list(vars(module).values()):
        if not (inspect.isclass(value) and issubclass(value, BASES)) or value in seen:
            continue
        if value.__module__ == module.__name__ or value.__module__.startswith(f"{module.__name__}."):
            seen.add(value)
            yield value


def find(source: PluginSource, module: ModuleType, name: str, base: type[Kind]) -> type[Kind]:
    """The class with this name that is derived from `base`. Raises `LookupError` if it no longer exists."""
    for found in classes(source, module):
        if found.__qualname__ == name and issubclass(found, base):
            return found
    raise LookupError(f"{source.label} no longer defines {name}")
