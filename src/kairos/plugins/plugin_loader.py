"""Finds plugins, imports each in a temporary process first, and registers valid ones as agents.

Invalid plugins are listed with the reason, and do not affect others. Built-in agents are registered here as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from kairos.agents.base import Agent
from kairos.agents.registry import AgentRegistry
from kairos.background_tasks import end, run_in_thread
from kairos.config import PluginSettings
from kairos.errors import KairosError, did_you_mean
from kairos.plugins.base_plugin import BasePlugin
from kairos.plugins.child_ipc import error_line, trace_of
from kairos.plugins.child_process import ChildLimits
from kairos.plugins.plugin_agent import PluginAgent
from kairos.plugins.plugin_config import schema_fault
from kairos.plugins.plugin_provider import PluginProvider
from kairos.plugins.probing import ProbeResult, probe_all
from kairos.plugins.provider_plugin import ProviderPlugin
from kairos.plugins.sources import Kind, Origin, PluginSource, find, in_folder, load
from kairos.plugins.task_context import PluginServices

log = logging.getLogger(__name__)

ENTRY_POINTS = "kairos.plugins"
RETIRE_S = 10.0
"""Time that a stopping daemon waits for `on_stop` of its plugins."""


class UnknownPlugin(KairosError):
    """No plugin is named {name!r}. {remedy}"""

    status, code, exit_code = 404, "unknown_plugin", 4


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin, or a file with the reason why it is not one."""

    name: str
    """The agent's name; if it is unknown, that of the file or the entry point."""
    origin: Origin
    label: str
    """File name within the folder, or package and entry point; empty for built-in agents."""
    capabilities: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    is_async: bool = False
    agent: Agent | None = None
    """None if it takes no tasks: it is a provider, or could not be loaded for the reason in `error`."""
    provider: PluginProvider | None = None
    error: str | None = None
    trace: str | None = None

    @property
    def loaded(self) -> bool:
        return self.agent is not None or self.provider is not None


class Scan:
    """A scan of folder and packages, started at once, so that a starting daemon scans while its engines start."""

    def __init__(self, settings: PluginSettings) -> None:
        self.folder = settings.folder
        limits = ChildLimits(settings.memory_mb, settings.cpu_s)
        self._scanning = asyncio.create_task(_scanned(self.folder, settings.probe_s, limits))

    async def result(self) -> tuple[list[PluginEntry], list[ProbeResult]]:
        """Sources that could not be read, and the probe results. A cancel ends the processes."""
        try:
            return await self._scanning
        finally:
            await self.end()

    async def end(self) -> None:
        """Cancel the scan."""
        await end(self._scanning)


class PluginLoader:
    """The plugins of one daemon."""

    def __init__(
        self,
        settings: PluginSettings,
        agents: AgentRegistry,
        services: PluginServices,
        use_providers: Callable[[Mapping[str, PluginProvider]], None] = lambda providers: None,
    ) -> None:
        """`settings` may be a live view: they are read when they are used. `use_providers` receives the providers of
        all plugins, by name, after each scan."""
        self._use_providers = use_providers
        self._settings = settings
        self._agents = agents
        self._services = services
        self._built_in: list[PluginEntry] = []
        self._loaded: list[PluginEntry] = []
        self._scanned: tuple[Path, int] | None = None
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    def add_built_in(self, agent: Agent) -> None:
        """Register a built-in agent."""
        self._agents.register(agent)
        about = (type(agent).__doc__ or "").partition("\n")[0]
        capabilities = tuple(sorted(agent.capabilities))
        self._built_in.append(
            PluginEntry(agent.name, Origin.BUILT_IN, "", capabilities, description=about, is_async=True, agent=agent)
        )

    @property
    def private_hosts(self) -> Sequence[str]:
        """Non-public hosts that projects may name in plugin settings."""
        return self._settings.private_hosts

    @property
    def entries(self) -> list[PluginEntry]:
        """Built-in agents first, then files and packages by name, failed ones included."""
        return [*self._built_in, *self._loaded]

    def entry(self, name: str) -> PluginEntry:
        """The plugin with this name or label. Raises `UnknownPlugin`."""
        found = [entry for entry in self.entries if name in (entry.name, entry.label)]
        if found:
            return max(found, key=lambda entry: entry.loaded)
        names = sorted({entry.name for entry in self.entries})
        raise UnknownPlugin(name=name, remedy=did_you_mean(name, names) or f"There are: {', '.join(names)}")

    async def reload(self, begun: Scan | None = None) -> None:
        """Scan folder and packages again. Running tasks end with the plugin with which they started.

        `begun` is a scan already in progress; it is used if it is of the configured folder.
        """
        async with self._lock:
            self._scanned = (self._settings.folder, self._settings.reloads)
            scan = begun if begun and begun.folder == self._settings.folder else Scan(self._settings)
            refused, found = await scan.result()
            entries = [*refused, *await self._entries(found)]
            self._replace(entries)
        failed = [f"{entry.label} ({entry.error})" for entry in entries if not entry.loaded]
        log.info("plugins loaded: %d", len(entries) - len(failed))
        for one in failed:
            log.warning("a plugin is not loaded: %s", one)

    async def refresh(self) -> None:
        """Scan again if the settings have another folder or another number of `reloads`."""
        if (self._settings.folder, self._settings.reloads) != self._scanned:
            await self.reload()

    async def close(self) -> None:
        """Retire all plugins, and wait until they have stopped."""
        self._replace([])
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=RETIRE_S)
        await end(*self._retiring)

    async def _entries(self, found: Iterable[ProbeResult]) -> list[PluginEntry]:
        taken = {entry.name: "a built-in agent" for entry in self._built_in}
        entries = []
        for one in found:
            entry = _entry(one)
            if entry.error is None and entry.name in taken:
                owner = taken[entry.name]
                entry = replace(entry, error=f"the name {entry.name!r} is already taken by {owner}: choose another")
            if entry.error is None:
                entry = await (self._with_provider if one.is_provider else self._with_agent)(entry, one)
            if entry.loaded:
                taken[entry.name] = entry.label
            entries.append(entry)
        return entries

    async def _with_agent(self, entry: PluginEntry, found: ProbeResult) -> PluginEntry:
        """The entry with its agent. An async plugin is imported into the daemon, after its file has passed the
        probe."""
        try:
            plugin = await self._import(found, BasePlugin) if found.is_async else None
            agent = PluginAgent(found, self._settings, self._services, plugin)
            await agent.start()
        except Exception as error:  # an error of the plugin's code, shown in the list
            reason = f"it did not start within the time limit: {error_line(error)}"
            reason = reason if isinstance(error, TimeoutError) else f"it did not start: {error_line(error)}"
            return replace(entry, error=reason, trace=trace_of(error))
        return replace(entry, agent=agent)

    async def _with_provider(self, entry: PluginEntry, found: ProbeResult) -> PluginEntry:
        """The entry with its provider, which is imported into the daemon after its file has passed the probe."""
        try:
            plugin = await self._import(found, ProviderPlugin)
            return replace(entry, provider=PluginProvider(entry.name, plugin))
        except Exception as error:  # an error of the plugin's code, shown in the list
            return replace(entry, error=f"it did not start: {error_line(error)}", trace=trace_of(error))

    async def _import(self, found: ProbeResult, base: type[Kind]) -> Kind:
        def made() -> Kind:
            assert found.kind is not None
            return find(found.source, load(found.source), found.kind, base)()

        return await run_in_thread(made, self._settings.probe_s)

    def _replace(self, entries: list[PluginEntry]) -> None:
        before, self._loaded = self._loaded, entries
        for entry in before:
            if isinstance(entry.agent, PluginAgent):
                self._agents.withdraw(entry.agent)
                self._retire(entry.agent)
        for entry in entries:
            if entry.agent:
                self._agents.register(entry.agent)
        self._use_providers({entry.name: entry.provider for entry in entries if entry.provider})

    def _retire(self, agent: PluginAgent) -> None:
        retiring = asyncio.create_task(agent.retire(), name=f"retiring {agent.name}")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)


async def _scanned(folder: Path, seconds: float, limits: ChildLimits) -> tuple[list[PluginEntry], list[ProbeResult]]:
    sources, refused = await asyncio.to_thread(_sources, folder)
    return refused, await probe_all(sources, seconds, limits)


def _sources(folder: Path) -> tuple[list[PluginSource], list[PluginEntry]]:
    """The sources in folder and packages; an unreadable folder becomes a failed entry."""
    packages = of_packages()
    try:
        return [*in_folder(folder), *packages], []
    except OSError as fault:
        return packages, [
            PluginEntry(folder.name, Origin.FILE, str(folder), error=f"the folder cannot be read: {fault}")
        ]


def of_packages() -> list[PluginSource]:
    """The entry points of installed packages, by name, without importing them."""
    points = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    packages = [point.dist.name if point.dist else "a package" for point in points]
    return [
        PluginSource(Origin.PACKAGE, point.value, f"{package}: {point.name}")
        for point, package in zip(points, packages, strict=True)
    ]


def _entry(found: ProbeResult) -> PluginEntry:
    fault = found.error or (schema_fault(found.schema) if found.schema else None)
    return PluginEntry(
        name=found.name or found.source.label.removesuffix(".py").rstrip("/"),
        origin=found.source.origin,
        label=found.source.label,
        capabilities=found.capabilities,
        schema=found.schema,
        description=found.description,
        is_async=found.is_async,
        error=fault,
        trace=found.trace,
    )
