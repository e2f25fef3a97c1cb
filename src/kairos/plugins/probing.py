"""Every source imported in a throw-away process first, side by side: what it defines, or what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kairos.plugins.child_ipc import OWN
from kairos.plugins.child_process import ChildLimits, ChildProcess, ProtocolError, cause_of, child_process
from kairos.plugins.sources import PluginSource

SILENT = logging.getLogger(f"{__name__}.output")
SILENT.setLevel(logging.WARNING)
"""What an import prints is in the trace where it matters, and not in the log of every start."""

START_S = 30.0
"""Longest time for the interpreter of a probe to start. It does not count as import time: on a loaded machine with
many plugins it would use up the time of imports that are fine."""
AT_ONCE = 4 * (os.cpu_count() or 1)
"""More than there are cores: one that sleeps or hangs must not keep the others waiting for its whole time."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One plugin of a source, or what kept a source from being one."""

    source: PluginSource
    kind: str | None = None
    """Its class; None where the source itself is the trouble."""
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    is_async: bool = False
    description: str = ""
    error: str | None = None
    trace: str | None = None


async def probe_all(sources: Sequence[PluginSource], seconds: float, limits: ChildLimits) -> list[ProbeResult]:
    """What was found in each, in the same order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(source: PluginSource) -> list[ProbeResult]:
        async with slots:
            return await probe(source, seconds, limits)

    return [found for several in await asyncio.gather(*map(one, sources)) for found in several]


async def probe(source: PluginSource, seconds: float, limits: ChildLimits) -> list[ProbeResult]:
    """Import a source in a process of its own, which is ended when the import takes longer than `seconds`."""
    try:
        async with child_process("probe", source, limits, SILENT, {"seconds": seconds}) as child:
            report = await _report(child, seconds)
            if report is None:
                report = {"error": await _exit_reason(child, limits)}
        output = child.last_output
    except (ProtocolError, OSError) as fault:
        report, output = {"error": f"it could not be looked at: {fault}"}, ""
    return _results(source, report, output)


async def _report(child: ChildProcess, seconds: float) -> Mapping[str, Any] | None:
    """The probe's result; None where its process ended without one."""
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
    """Of a place where it hung, written down by `faulthandler`, the frames that are the plugin's."""
    return "\n".join(line for line in output.splitlines() if OWN not in line and '"<frozen ' not in line)


def _results(source: PluginSource, report: Mapping[str, Any], output: str) -> list[ProbeResult]:
    if "plugins" not in report:
        return [ProbeResult(source, error=str(report.get("error")), trace=report.get("trace") or _plugin_frames(output) or None)]
    return [
        ProbeResult(
            source,
            kind=about["class"],
            name=about["name"],
            capabilities=tuple(about.get("capabilities", ())),
            schema=about.get("schema", {}),
            is_async=about.get("is_async", False),
            description=about.get("description", ""),
            error=about["error"],
            trace=about["trace"],
        )
        for about in report["plugins"]
    ]
