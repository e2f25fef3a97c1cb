"""One execution of a sync plugin: its process, the calls that it makes through us, and what became of it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kairos.errors import KairosError
from kairos.plugins.base_plugin import PluginTask
from kairos.plugins.child_process import ChildLimits, ChildProcess, LineBroken, cause_of, child_process
from kairos.plugins.plugin_errors import (
    PluginCallInvalid,
    PluginCpu,
    PluginCrashed,
    PluginDied,
    PluginMemory,
    PluginRefused,
    PluginRefusedForNow,
    PluginReturnedNonsense,
)
from kairos.plugins.sources import Source
from kairos.plugins.task_context import Calls

LEVELS = {logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL}


async def run_in_child(
    source: Source, kind: str, limits: ChildLimits, context: Calls, task: PluginTask
) -> Mapping[str, Any]:
    """What `wire.shape` made of its answer. Cancelled, it ends the process. Raises the errors of plugins, and those
    that its calls met and that it did not catch."""
    given = {name: getattr(task, name) for name in ("id", "project_id", "prompt", "attempt", "timeout_s", "rejected")}
    first = {
        "class": kind,
        "name": context.name,
        "config": dict(task.context.config),
        "task": {**given, "findings": [asdict(remark) for remark in task.findings]},
    }
    try:
        async with child_process("child", source, limits, context.log, first) as child:
            return await _Execution(child, limits, context).followed()
    except LineBroken as fault:
        raise PluginDied(name=context.name, reason=str(fault)) from None
    except OSError as fault:
        raise PluginDied(name=context.name, reason=f"it could not be started: {fault}") from fault


class _Execution:
    """Listens to one child until its end."""

    def __init__(self, child: ChildProcess, limits: ChildLimits, context: Calls) -> None:
        self._child = child
        self._limits = limits
        self._context = context
        self._errors: list[KairosError] = []

    async def followed(self) -> Mapping[str, Any]:
        while True:
            said = await self._child.hear()
            if said is None:
                raise self._death(await self._child.how_it_ended())
            if "end" in said:
                return self._end(said)
            if "log" in said:
                level = said["log"] if said["log"] in LEVELS else logging.INFO
                self._context.log.log(level, "%s", said.get("words"))
            elif "call" in said:
                reply = await self._child.while_alive(self._reply(said))
                if reply is not None:
                    await self._child.send(reply)
            else:
                raise LineBroken("it wrote into the line to the daemon")

    async def _reply(self, said: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"value": await self._call(str(said["call"]), said.get("arguments") or {})}
        except KairosError as error:
            self._errors.append(error)
            told = {"words": str(error), "code": error.code, "retryable": error.retryable}
            return {"error": {**told, "number": len(self._errors)}}

    async def _call(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """Raises `PluginCallInvalid` for arguments that the method does not take."""
        group, _, name = method.partition(".")
        if group not in ("llm", "storage", "http") or name.startswith("_"):
            raise PluginCallInvalid(name=self._context.name, method=method, reason="there is no such method")
        try:
            value = await getattr(getattr(self._context, group), name)(**arguments)
        except (TypeError, ValueError, AttributeError) as fault:
            raise PluginCallInvalid(name=self._context.name, method=method, reason=str(fault)) from fault
        return asdict(value) if group == "llm" else value

    def _end(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        name, words = self._context.name, str(said.get("words", ""))
        if trace := said.get("trace"):
            self._context.log.error("%s", trace)
        match said["end"]:
            case "result":
                return said
            case "nonsense":
                raise PluginReturnedNonsense(name=name, reason=words)
            case "memory":
                raise PluginMemory(name=name, limit=self._limits.memory_mb)
            case "refused":
                raise (PluginRefusedForNow if said.get("retryable") else PluginRefused)(name=name, reason=words)
            case "call" if 0 < int(said.get("number", 0)) <= len(self._errors):
                raise self._errors[said["number"] - 1]
            case _:
                raise PluginCrashed(name=name, reason=words or "no reason was given")

    def _death(self, status: int | None) -> KairosError:
        name = self._context.name
        if status == -signal.SIGXCPU:
            return PluginCpu(name=name, limit=f"{self._limits.cpu_s:g}")
        return PluginDied(name=name, reason=cause_of(status))
