"""Makes a plugin an agent, and isolates its failures from other tasks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.background_tasks import end, run_in_thread
from kairos.config import PluginSettings
from kairos.errors import KairosError
from kairos.llm.health.breaker import Breaker, BreakerState, FaultKind
from kairos.plugins.base_plugin import BasePlugin, PluginContext, PluginError, PluginFinding, PluginTask
from kairos.plugins.child_process import ChildLimits
from kairos.plugins.child_run import run_in_child
from kairos.plugins.plugin_config import config_faults, merged
from kairos.plugins.plugin_errors import (
    PluginCallInvalid,
    PluginCpu,
    PluginCrashed,
    PluginDied,
    PluginMemory,
    PluginMisconfigured,
    PluginRefused,
    PluginRefusedForNow,
    PluginReturnedNonsense,
    PluginSetAside,
)
from kairos.plugins.plugin_reach import AddressPolicy
from kairos.plugins.probing import ProbeResult
from kairos.plugins.protocol import InvalidResult, shape
from kairos.plugins.task_context import PluginServices, TaskContext

log = logging.getLogger(__name__)

PLUGIN_FAULTS = (PluginCallInvalid, PluginCpu, PluginCrashed, PluginDied, PluginMemory, PluginReturnedNonsense)
"""Errors that count as failures of the plugin; all others are caused by the task, a model or another server."""
MIN_TIME_S = 10.0
"""A timeout counts as a failure of the plugin only if the task had at least this many seconds."""
CANCEL_LIMIT_S = 5.0
"""Time for an async plugin to react to a cancel, before its task ends without it."""
HOOK_S = 5.0


class PluginAgent:
    """Runs one plugin's tasks: async plugins in the daemon, sync ones in a process for each task."""

    def __init__(
        self, found: ProbeResult, settings: PluginSettings, services: PluginServices, plugin: BasePlugin | None
    ) -> None:
        """`plugin` is the object of an async plugin; None for a sync one, which runs in child processes."""
        assert found.name is not None
        self.name = found.name
        self.capabilities = frozenset(found.capabilities)
        self.found = found
        self._settings = settings
        self._services = services
        self._plugin = plugin
        self._breaker = Breaker()
        self._last_failure = ""
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._uncancelled: set[asyncio.Task[Any]] = set()
        self._approved: set[str] = set()

    @property
    def set_aside_until(self) -> datetime | None:
        """The time at which it may run again after failures; None while it takes tasks."""
        now = time.time()
        if self._breaker.state(now) is BreakerState.CLOSED:
            return None
        return datetime.fromtimestamp(self._breaker.retry_at(now) or now, UTC)

    @property
    def last_failure(self) -> str:
        """The message of its last failure; empty if there was none."""
        return self._last_failure

    async def configuration(self, project: Mapping[str, Any]) -> dict[str, Any]:
        """The system's values overridden by the project's. Raises `PluginMisconfigured`."""
        return await self._checked(merged(self.found.schema, self._settings.settings.get(self.name, {}), project))

    async def check(self, system: Mapping[str, Any]) -> None:
        """Validate values for the system's configuration. Raises `PluginMisconfigured`."""
        await self._checked(merged(self.found.schema, system, {}))

    async def _checked(self, values: dict[str, Any]) -> dict[str, Any]:
        known = repr(values)
        if known not in self._approved:
            if faults := await config_faults(self.found.schema, values):
                raise PluginMisconfigured(name=self.name, reason="; ".join(faults).rstrip("."))
            if len(self._approved) >= 1_000:
                self._approved.clear()
            self._approved.add(known)
        return values

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        """Run a task. Raises the errors in `plugin_errors`, and errors of the plugin's calls that it did not catch."""
        self._begin()
        try:
            return await self._perform(task, attempt, emit)
        finally:
            self._end()

    async def _perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        config = await self.configuration(task.settings.plugin_settings.get(self.name, {}))
        permit = self._permit()
        own, system = task.settings.plugin_settings.get(self.name, {}), self._settings.settings.get(self.name, {})
        context = TaskContext(
            self.name, self._services, task, attempt, emit, AddressPolicy(self.found.schema, system, own)
        )
        draft: Draft | None = None
        began = time.monotonic()
        try:
            draft = context.draft(await self._result(context, config))
            self._breaker.succeeded(permit, time.time())
            return draft
        except Exception as error:
            self._record(permit, error)
            raise
        except BaseException:  # cancelled, or the task's time is over
            hung = attempt.timeout_s >= MIN_TIME_S and time.monotonic() - began >= attempt.timeout_s - 1
            if hung:
                self._failed(permit, f"it did not end within the {attempt.timeout_s:.0f} s that its task had")
            else:
                self._breaker.abandoned(permit)
            raise
        finally:
            await context.close(draft)

    async def start(self) -> None:
        """Call `on_start` of an async plugin. Raises its errors, and `TimeoutError`."""
        if self._plugin:
            await _hook(self._plugin.on_start)

    async def retire(self) -> None:
        """Wait for running tasks, then call `on_stop`. Tasks that do not react to a cancel are cancelled again."""
        try:
            await self._idle.wait()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        await _end_within(CANCEL_LIMIT_S, *self._uncancelled)
        if self._plugin:
            try:
                await _hook(self._plugin.on_stop)
            except Exception:
                log.exception("on_stop of the plugin %s failed", self.name)

    async def _result(self, context: TaskContext, config: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._plugin is not None:
            return await self._run_async(self._plugin, context, config)
        limits = ChildLimits(self._settings.memory_mb, self._settings.cpu_s)
        task = _plugin_task(context, config)
        assert self.found.kind is not None
        return await run_in_child(self.found.source, self.found.kind, limits, context, task)

    async def _run_async(
        self, plugin: BasePlugin, context: TaskContext, config: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Run in a separate asyncio task. If it does not react to a cancel, it is abandoned and its context closed."""
        working = asyncio.create_task(in_daemon(self.name, plugin, _plugin_task(context, config)))
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.wait([working], timeout=CANCEL_LIMIT_S)
            raise
        finally:
            if not working.done():
                log.error("the plugin %s does not react to a cancel; its task ends without it", self.name)
                self._uncancelled.add(working)
            working.add_done_callback(self._on_done)
        if working.cancelled():
            raise PluginCrashed(name=self.name, reason="it cancelled itself")
        return working.result()

    def _on_done(self, working: asyncio.Task[Any]) -> None:
        """Retrieve the exception of an ended asyncio task, so that none is logged as never retrieved."""
        self._uncancelled.discard(working)
        if not working.cancelled():
            working.exception()

    def _permit(self) -> int:
        now = time.time()
        permit = self._breaker.acquire(now)
        if permit is None:
            raise PluginSetAside(
                name=self.name,
                failures=self._breaker.errors,
                at=self.set_aside_until or datetime.now(UTC),
                reason=self._last_failure,
            )
        return permit

    def _record(self, permit: int, error: Exception) -> None:
        if isinstance(error, PLUGIN_FAULTS):
            self._failed(permit, str(error))
        elif isinstance(error, PluginRefused):
            self._breaker.succeeded(permit, time.time())  # a refusal is not a failure
        else:
            self._breaker.abandoned(permit)

    def _failed(self, permit: int, reason: str) -> None:
        self._last_failure = reason
        self._breaker.failed(permit, FaultKind.INFRASTRUCTURE, time.time())
        if self.set_aside_until:
            log.warning("the plugin %s is set aside until %s: %s", self.name, self.set_aside_until, reason)

    def _begin(self) -> None:
        self._running += 1
        self._idle.clear()

    def _end(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()


async def in_daemon(name: str, plugin: BasePlugin, task: PluginTask) -> Mapping[str, Any]:
    """Run an async plugin and return its result as `protocol.shape` does. Its exceptions are raised as plugin
    errors."""
    try:
        return shape(await plugin.execute(task))
    except InvalidResult as fault:
        raise PluginReturnedNonsense(name=name, reason=str(fault)) from None
    except PluginError as error:
        raise (PluginRefusedForNow if error.retryable else PluginRefused)(name=name, reason=error) from error
    except KairosError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # the last two would end the daemon
        log.exception("the plugin %s failed on task %s", name, task.id)
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise PluginCrashed(name=name, reason=reason) from error


def _plugin_task(context: TaskContext, config: Mapping[str, Any]) -> PluginTask:
    task, attempt = context.task, context.attempt
    return PluginTask(
        id=str(task.id),
        project_id=str(task.project_id),
        prompt=task.prompt,
        attempt=task.attempt,
        timeout_s=attempt.timeout_s,
        context=PluginContext(dict(config), context.llm, context.storage, context.http, context.log),
        findings=tuple(PluginFinding(f.check, f.hint or f.message, f.line) for f in attempt.findings),
        rejected=attempt.rejected,
    )


async def _hook(method: Any) -> None:
    """Call `on_start` or `on_stop`, sync or async. Raises its errors, and `TimeoutError`."""
    if not asyncio.iscoroutinefunction(method):
        await run_in_thread(method, HOOK_S)
        return
    async with asyncio.timeout(HOOK_S):
        try:
            await method()
        except (SystemExit, KeyboardInterrupt) as error:  # they would end the daemon
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


async def _end_within(seconds: float, *tasks: asyncio.Task[Any]) -> None:
    """Cancel asyncio tasks. Coroutines that swallow every cancel are closed, so that the event loop can end."""
    try:
        async with asyncio.timeout(seconds):
            await end(*tasks)
    except TimeoutError:
        for task in tasks:
            coroutine = task.get_coro()
            with suppress(RuntimeError):  # it ignores that too, or runs at this moment
                if coroutine is not None and not task.done():
                    coroutine.close()
