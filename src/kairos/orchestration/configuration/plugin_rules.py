"""Validation of plugin settings: known names, values that match the schemas, and no secrets in the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kairos.errors import InvalidInput
from kairos.plugins.plugin_agent import PluginAgent
from kairos.plugins.plugin_config import HIDDEN, project_level, secrets, shown
from kairos.plugins.plugin_errors import PluginMisconfigured
from kairos.plugins.plugin_loader import PluginEntry, PluginLoader, UnknownPlugin
from kairos.plugins.plugin_reach import private_address
from kairos.project_settings import ProjectSettings

SETTINGS = "plugins.settings"
"""Configuration key of the system's values."""


async def check_project(plugins: PluginLoader, before: ProjectSettings, after: ProjectSettings) -> None:
    """Validate new plugin names and changed plugin settings of a project. Raises `InvalidInput`."""
    for name in set(after.disabled_plugins) - set(before.disabled_plugins):
        _known(plugins, name, "settings.disabled_plugins")
    for name, values in after.plugin_settings.items():
        if values == before.plugin_settings.get(name):
            continue
        where = f"settings.plugin_settings.{name}"
        entry = _known(plugins, name, where)
        if hidden := secrets(entry.schema) & set(values):
            remedy = f"An operator sets it in kairos.toml, under [{SETTINGS}.{name}], for all projects"
            raise InvalidInput(where=f"{where}.{min(hidden)}", problem="it is a secret", remedy=remedy)
        if isinstance(entry.agent, PluginAgent):
            _may_set(entry, values, where, plugins.private_hosts)
        else:
            problem = (
                "it has no configuration" if entry.loaded else "the plugin is not loaded, so it cannot be validated"
            )
            raise InvalidInput(where=where, problem=problem, remedy=f"See `kairos plugin show {name}`")
        with _naming(name, where):
            await entry.agent.configuration(values)


def _may_set(entry: PluginEntry, values: Mapping[str, Any], where: str, private_hosts: Sequence[str]) -> None:
    """Raises `InvalidInput` for properties that only operators may set, and for addresses that are not public."""
    allowed = project_level(entry.schema)
    if operators := set(values) - allowed:
        may = (
            f"A project may set: {', '.join(sorted(allowed))}"
            if allowed
            else "A project may set none of its properties"
        )
        remedy = f"{may}. An operator sets the others under `{SETTINGS}.{entry.name}`"
        raise InvalidInput(where=f"{where}.{min(operators)}", problem="only an operator may set it", remedy=remedy)
    if address := private_address(values, tuple(private_hosts)):
        remedy = "Use a public address, or ask an operator to add it to `plugins.private_hosts`"
        raise InvalidInput(where=where, problem=f"{address} is not on the public internet", remedy=remedy)


def _known(plugins: PluginLoader, name: str, where: str) -> PluginEntry:
    try:
        return plugins.entry(name)
    except UnknownPlugin as unknown:
        problem, remedy = f"no plugin is named {name!r}", unknown.values["remedy"]
        raise InvalidInput(where=where, problem=problem, remedy=remedy) from None


async def check_system(plugins: PluginLoader, patch: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Validate the changed plugins' settings against their schemas, and reject secrets.

    Settings of a plugin that is not loaded are accepted and validated when it loads. Raises `InvalidInput`.
    """
    for name, change in patch.items():
        where = f"{SETTINGS}.{name}"
        entry = _known(plugins, name, where)
        if isinstance(change, Mapping) and (hidden := secrets(entry.schema) & set(change)):
            raise InvalidInput(
                where=f"{where}.{min(hidden)}",
                problem="it is a secret, and values set here are stored in the history",
                remedy=f"Set it in kairos.toml, under [{where}]",
            )
        if isinstance(entry.agent, PluginAgent):
            with _naming(name, where):
                await entry.agent.check(after.get(name, {}))


@contextmanager
def _naming(name: str, where: str) -> Iterator[None]:
    try:
        yield
    except PluginMisconfigured as fault:
        remedy = f"See its schema with `kairos plugin show {name}`"
        raise InvalidInput(where=where, problem=fault.values["reason"], remedy=remedy) from None


def shown_settings(plugins: PluginLoader, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The system's plugin settings as the API shows them, secrets hidden. Without a loaded plugin there is no schema
    that
    marks secrets, so all values are hidden."""
    schemas = {entry.name: entry.schema for entry in plugins.entries if entry.agent}
    return {
        name: shown(schemas[name], values) if name in schemas else dict.fromkeys(values, HIDDEN)
        for name, values in settings.items()
    }
