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
from kairos.plugins.child_process import ChildLimits, ChildProcess, LineBroken, cause_of, child_process
from kairos.plugins.sources import Source

SILENT = logging.getLogger(f"{__name__}.output")
SILENT.setLevel(logging.WARNING)
"""What an import prints is in the trace where it matters, and not in the log of every start."""

START_S = 30.0
"""Longest time for the interpreter of a probe to start. It does not count as import time: on a loaded machine with
many plugins it would use up the time of imports that are fine."""
AT_ONCE = 4 * (os.cpu_count() or 1)
"""More than there are cores: one that sleeps or hangs must not keep the others waiting for its whole time."""


@dataclass(frozen=True, slots=True)
class Found:
    """One plugin of a source, or what kept a source from being one."""

    source: Source
    kind: str | None = None
    """Its class; None where the source itself is the trouble."""
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    is_async: bool = False
    description: str = ""
    error: str | None = None
    trace: str | None = None


async def probe_all(sources: Sequence[Source], seconds: float, limits: ChildLimits) -> list[Found]:
    """What was found in each, in the same order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(source: Source) -> list[Found]:
        async with slots:
            return await probe(source, seconds, limits)

    return [found for several in await asyncio.gather(*map(one, sources)) for found in several]


async def probe(source: Source, seconds: float, limits: ChildLimits) -> list[Found]:
    """Import a source in a process of its own, which is ended when the import takes longer than `seconds`."""
    try:
        async with child_process("probe", source, limits, SILENT, {"seconds": seconds}) as child:
            said = await _report(child, seconds)
            if said is None:
                said = {"error": await _death(child, limits)}
        words = child.last_words
    except (LineBroken, OSError) as fault:
        said, words = {"error": f"it could not be looked at: {fault}"}, ""
    return _found(source, said, words)


async def _report(child: ChildProcess, seconds: float) -> Mapping[str, Any] | None:
    """The probe's result; None where its process ended without one."""
    try:
        started = await asyncio.wait_for(child.hear(), START_S)
    except TimeoutError:
        return {"error": f"its process did not start within {START_S:g} s; the machine is overloaded"}
    if started is None:
        return None
    try:
        return await asyncio.wait_for(child.hear(), seconds)
    except TimeoutError:
        return {"error": f"it did not end within {seconds:g} s while it was imported (plugins.probe_s)"}


async def _death(child: ChildProcess, limits: ChildLimits) -> str:
    status = await child.how_it_ended()
    if status == -signal.SIGXCPU:
        return f"it used its {limits.cpu_s:g} s of CPU time while it was imported (plugins.cpu_s)"
    return f"{cause_of(status)} while it was imported"


def _without_ours(words: str) -> str:
    """Of a place where it hung, written down by `faulthandler`, the frames that are the plugin's."""
    return "\n".join(line for line in words.splitlines() if OWN not in line and '"<frozen ' not in line)


def _found(source: Source, said: Mapping[str, Any], words: str) -> list[Found]:
    if "plugins" not in said:
        return [Found(source, error=str(said.get("error")), trace=said.get("trace") or _without_ours(words) or None)]
    return [
        Found(
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
        for about in said["plugins"]
    ]
