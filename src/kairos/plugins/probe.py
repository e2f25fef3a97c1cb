"""Temporary process in which a plugin is imported first: `python -m kairos.plugins.probe FD`.

The plugin's code can harm this process only. The result is a description of the plugins, or an error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kairos.plugins import child_ipc
from kairos.plugins.base_plugin import BasePlugin
from kairos.plugins.provider_plugin import ProviderPlugin
from kairos.plugins.sources import BASES, Origin, PluginClass, PluginSource, classes, load

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
MAX_CAPABILITIES = 50
MAX_CAPABILITY = 100
DUMP_SHARE = 0.8
"""Share of the time limit after which the stack of a running import is dumped."""


class NotAPlugin(Exception):
    """The class is not a valid plugin; the message has the reason."""


def main() -> None:
    channel, request = child_ipc.begin()
    channel.send({"importing": request["label"]})
    faulthandler.dump_traceback_later(request["seconds"] * DUMP_SHARE, file=sys.stderr)
    found = examine(child_ipc.source_of(request))
    with contextlib.suppress(ValueError, OSError):
        sys.stdout.flush()
    channel.send(found)
    os._exit(0)  # without waiting for threads and exit handlers


def examine(source: PluginSource) -> dict[str, Any]:
    """`plugins`: the plugins of the source, each with its description or error; or `error` and `trace`."""
    try:
        module = load(source)
        found = list(classes(source, module))
    except BaseException as error:  # also SystemExit, which must be reported
        child_ipc.more_memory()
        return {"error": _import_error(error), "trace": child_ipc.trace_of(error)}
    fit = [kind for kind in found if not _missing(kind)]
    if not fit:
        return {"error": _no_plugin(source, found), "trace": None}
    return {"plugins": [_described(kind) for kind in fit]}


def _import_error(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it exceeded its memory limit (plugins.memory_mb) while it was imported"
    if isinstance(error, SystemExit):
        return f"it exits the program (SystemExit: {error.code}) while it is imported"
    return child_ipc.error_line(error)


def _no_plugin(source: PluginSource, found: list[PluginClass]) -> str:
    missing = [f"{kind.__name__} is missing {', '.join(_missing(kind))}" for kind in found]
    if missing:
        return "; ".join(missing)
    where = "the package" if source.origin is Origin.PACKAGE else "the file"
    return f"{where} defines no class that is derived from BasePlugin or ProviderPlugin"


def _missing(kind: Any) -> list[str]:
    """The required methods that are missing; an entry point may name any object."""
    if not (inspect.isclass(kind) and issubclass(kind, BASES)):
        return ["the base class BasePlugin or ProviderPlugin"]
    return sorted(kind.__abstractmethods__)


def _described(kind: PluginClass) -> dict[str, Any]:
    about: dict[str, Any] = {"class": kind.__qualname__, "name": None, "error": None, "trace": None}
    try:
        about.update(_of_provider(kind) if issubclass(kind, ProviderPlugin) else _of(kind))
    except NotAPlugin as fault:
        about["error"] = str(fault)
    except BaseException as error:
        child_ipc.more_memory()
        about["error"], about["trace"] = child_ipc.error_line(error), child_ipc.trace_of(error)
    return about


def _of_provider(kind: type[ProviderPlugin]) -> dict[str, Any]:
    provider = kind()
    for method in (provider.chat_request, provider.answer_parser):
        if inspect.iscoroutinefunction(method):
            raise NotAPlugin(f"{method.__name__} is `async def`; only list_models and describe are")
    for method in (provider.list_models, provider.describe):
        if not inspect.iscoroutinefunction(method):
            raise NotAPlugin(f"{method.__name__} must be `async def`")
    return {
        "name": _name(provider),
        "is_async": True,
        "is_provider": True,
        "description": _description(kind),
    }


def _name(plugin: BasePlugin | ProviderPlugin) -> str:
    name = _called(plugin.get_name)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise NotAPlugin(f"get_name returned {name!r:.100}; a name has at most 100 letters, digits, _, - and .")
    return name


def _description(kind: PluginClass) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0][:200] if kind.__doc__ else ""


def _of(kind: type[BasePlugin]) -> dict[str, Any]:
    plugin = kind()
    return {
        "name": _name(plugin),
        "capabilities": _capabilities(_called(plugin.get_capabilities)),
        "schema": _schema(plugin),
        "is_async": _is_async(plugin),
        "description": _description(kind),
    }


def _called(method: Callable[[], Any]) -> Any:
    if inspect.iscoroutinefunction(method):
        raise NotAPlugin(f"{method.__name__} is `async def`; only execute, on_start and on_stop may be")
    return method()


def _capabilities(given: Any) -> list[str]:
    wanted = "get_capabilities must return short texts, such as ['weather']"
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise NotAPlugin(f"{wanted}; it returned {given!r:.100}")
    found = [value for value, _ in zip(given, range(MAX_CAPABILITIES + 1), strict=False)]
    for value in found:
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_CAPABILITY:
            raise NotAPlugin(f"{wanted}; {value!r:.100} is among them")
    if len(found) > MAX_CAPABILITIES:
        raise NotAPlugin(f"get_capabilities returned more than {MAX_CAPABILITIES}")
    return sorted(set(found))


def _schema(plugin: BasePlugin) -> Any:
    """`config_schema`, an attribute or a method. The daemon checks if it is a valid JSON Schema."""
    given: Any = plugin.config_schema
    given = _called(given) if callable(given) else given
    if not isinstance(given, Mapping):
        raise NotAPlugin(f"config_schema must be a dict with a JSON Schema; it is {given!r:.100}")
    try:
        return json.loads(json.dumps(dict(given), allow_nan=False))
    except (TypeError, ValueError) as fault:
        raise NotAPlugin(f"config_schema is not valid JSON: {fault}") from None


def _is_async(plugin: BasePlugin) -> bool:
    kind = inspect.iscoroutinefunction(plugin.execute)
    if inspect.isasyncgenfunction(plugin.execute) or inspect.isgeneratorfunction(plugin.execute):
        raise NotAPlugin("execute yields; it must return its answer")
    if not kind and (inspect.iscoroutinefunction(plugin.on_start) or inspect.iscoroutinefunction(plugin.on_stop)):
        raise NotAPlugin("on_start and on_stop may be `async def` only where execute is")
    try:
        inspect.signature(plugin.execute).bind(None)
    except TypeError:
        raise NotAPlugin("execute must take one argument, the task") from None
    except ValueError:  # implemented in C, without a signature
        pass
    return kind


if __name__ == "__main__":
    main()
