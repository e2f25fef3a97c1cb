"""Imports each source in a temporary process, in parallel, and returns its plugins or errors."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kairos.plugins.child_ipc import PLUGINS_FOLDER
from kairos.plugins.child_process import ChildLimits, ChildProcess, ProtocolError, cause_of, child_process
from kairos.plugins.sources import PluginSource

OUTPUT_LOG = logging.getLogger(f"{__name__}.output")
OUTPUT_LOG.setLevel(logging.WARNING)
"""Output of imports is part of the trace on errors, but is not written to the log at every start."""

START_S = 30.0
"""Time limit for the start of the interpreter. It does not count as import time, because it is long on a loaded machine
with many plugins."""
AT_ONCE = 4 * (os.cpu_count() or 1)
"""Parallel probes: more than cores, so that an import that sleeps or hangs does not delay the others."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A plugin of a source, or the error of the source."""

    source: PluginSource
    kind: str | None = None
    """Name of the class; None if the source itself failed."""
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    is_async: bool = False
    is_provider: bool = False
    description: str = ""
    error: str | None = None
    trace: str | None = None


async def probe_all(sources: Sequence[PluginSource], seconds: float, limits: ChildLimits) -> list[ProbeResult]:
    """The results of all sources, in the same order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(source: PluginSource) -> list[ProbeResult]:
        async with slots:
            return await probe(source, seconds, limits)

    return [found for several in await asyncio.gather(*map(one, sources)) for found in several]


async def probe(source: PluginSource, seconds: float, limits: ChildLimits) -> list[ProbeResult]:
    """Import a source in a process of its own, which is ended if the import takes longer than `seconds`."""
    try:
        async with child_process("probe", source, limits, OUTPUT_LOG, {"seconds": seconds}) as child:
            report = await _report(child, seconds)
            if report is None:
                report = {"error": await _exit_reason(child, limits)}
        output = child.last_output
    except (ProtocolError, OSError) as fault:
        report, output = {"error": f"it could not be examined: {fault}"}, ""
    return _results(source, report, output)


async def _report(child: ChildProcess, seconds: float) -> Mapping[str, Any] | None:
    """The report of the probe; None if its process ended without one."""
    try:
        started = await asyncio.wait_for(child.receive(), START_S)
    except TimeoutError:
        return {"error": f"its process did not start within {START_S:g} s; the machine is overloaded"}
    if started is None:
        return None
    try:
        return await asyncio.wait_for(child.receive(), seconds)
    except TimeoutError:
        return {"error": f"it did not end within {seconds:g} s while it was imported (plugins.probe_s)"}


async def _exit_reason(child: ChildProcess, limits: ChildLimits) -> str:
    status = await child.exit_status()
    if status == -signal.SIGXCPU:
        return f"it used its {limits.cpu_s:g} s of CPU time while it was imported (plugins.cpu_s)"
    return f"{cause_of(status)} while it was imported"


def _plugin_frames(output: str) -> str:
    """The plugin's frames of a stack dumped by `faulthandler`."""
    return "\n".join(line for line in output.splitlines() if PLUGINS_FOLDER not in line and '"<frozen ' not in line)


def _results(source: PluginSource, report: Mapping[str, Any], output: str) -> list[ProbeResult]:
    if "plugins" not in report:
        return [
            ProbeResult(
                source, error=str(report.get("error")), trace=report.get("trace") or _plugin_frames(output) or None
            )
        ]
    return [
        ProbeResult(
            source,
            kind=about["class"],
            name=about["name"],
            capabilities=tuple(about.get("capabilities", ())),
            schema=about.get("schema", {}),
            is_async=about.get("is_async", False),
            is_provider=about.get("is_provider", False),
            description=about.get("description", ""),
            error=about["error"],
            trace=about["trace"],
        )
        for about in report["plugins"]
    ]
