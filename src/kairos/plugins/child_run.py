"""Runs one execution of a sync plugin in a process, and makes its calls."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kairos.errors import KairosError
from kairos.plugins.base_plugin import PluginTask
from kairos.plugins.child_process import ChildLimits, ChildProcess, ProtocolError, cause_of, child_process
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
from kairos.plugins.sources import PluginSource
from kairos.plugins.task_context import Calls

LEVELS = {logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL}


async def run_in_child(
    source: PluginSource, kind: str, limits: ChildLimits, context: Calls, task: PluginTask
) -> Mapping[str, Any]:
    """Run a plugin and return its result as `protocol.shape` does. A cancel ends the process.

    Raises the errors in `plugin_errors`, and errors of the plugin's calls that it did not catch.
    """
    given = {name: getattr(task, name) for name in ("id", "project_id", "prompt", "attempt", "timeout_s", "rejected")}
    first = {
        "class": kind,
        "name": context.name,
        "config": dict(task.context.config),
        "task": {**given, "findings": [asdict(finding) for finding in task.findings]},
    }
    try:
        async with child_process("child", source, limits, context.log, first) as child:
            return await _Execution(child, limits, context).result()
    except ProtocolError as fault:
        raise PluginDied(name=context.name, reason=str(fault)) from None
    except OSError as fault:
        raise PluginDied(name=context.name, reason=f"it could not be started: {fault}") from fault


class _Execution:
    """Processes the messages of one child until its end."""

    def __init__(self, child: ChildProcess, limits: ChildLimits, context: Calls) -> None:
        self._child = child
        self._limits = limits
        self._context = context
        self._errors: list[KairosError] = []

    async def result(self) -> Mapping[str, Any]:
        while True:
            message = await self._child.receive()
            if message is None:
                raise self._exit_error(await self._child.exit_status())
            if "end" in message:
                return self._end(message)
            if "log" in message:
                level = message["log"] if message["log"] in LEVELS else logging.INFO
                self._context.log.log(level, "%s", message.get("message"))
            elif "call" in message:
                reply = await self._child.while_alive(self._reply(message))
                if reply is not None:
                    await self._child.send(reply)
            else:
                raise ProtocolError("it wrote to the channel of the daemon")

    async def _reply(self, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"value": await self._call(str(message["call"]), message.get("arguments") or {})}
        except KairosError as error:
            self._errors.append(error)
            failure = {"message": str(error), "code": error.code, "retryable": error.retryable}
            return {"error": {**failure, "number": len(self._errors)}}

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

    def _end(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        name, reason = self._context.name, str(message.get("message", ""))
        if trace := message.get("trace"):
            self._context.log.error("%s", trace)
        match message["end"]:
            case "result":
                return message
            case "nonsense":
                raise PluginReturnedNonsense(name=name, reason=reason)
            case "memory":
                raise PluginMemory(name=name, limit=self._limits.memory_mb)
            case "refused":
                raise (PluginRefusedForNow if message.get("retryable") else PluginRefused)(name=name, reason=reason)
            case "call" if 0 < int(message.get("number", 0)) <= len(self._errors):
                raise self._errors[message["number"] - 1]
            case _:
                raise PluginCrashed(name=name, reason=reason or "no reason was given")

    def _exit_error(self, status: int | None) -> KairosError:
        name = self._context.name
        if status == -signal.SIGXCPU:
            return PluginCpu(name=name, limit=f"{self._limits.cpu_s:g}")
        return PluginDied(name=name, reason=cause_of(status))
