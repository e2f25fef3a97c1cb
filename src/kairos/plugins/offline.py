"""Runs a plugin without a daemon: for tests, and for `kairos plugin run --file`.

    from kairos.plugins.offline import run

    def test_it_greets():
        assert run(Path("plugins/Greeter.py"), "Ada") == "Hello, Ada!"

The plugin runs as in a daemon, a sync one in a process of its own. Models return the given answers; storage is in
memory; HTTP calls are made, or return the given replies.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from kairos.config import PluginSettings
from kairos.errors import InvalidInput
from kairos.http import HttpClient
from kairos.plugins.base_plugin import Answer, BasePlugin, PluginContext, PluginTask
from kairos.plugins.child_process import ChildLimits
from kairos.plugins.child_run import run_in_child
from kairos.plugins.plugin_agent import in_daemon
from kairos.plugins.plugin_config import config_faults, with_defaults
from kairos.plugins.plugin_errors import PluginMisconfigured, PluginRefused, PluginReturnedNonsense
from kairos.plugins.probing import ProbeResult, probe
from kairos.plugins.sources import find, load, of_file
from kairos.plugins.task_context import TaskHttp, checked_messages
from kairos.proxies import Proxies
from kairos.tenancy import new_id

TIMEOUT_S = 60.0


def run(
    file: Path,
    prompt: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    answers: Sequence[str] = (),
    replies: Mapping[str, Any] | None = None,
    timeout_s: float = TIMEOUT_S,
    settings: PluginSettings = PluginSettings(),
) -> str:
    """Run the plugin in a file with a prompt and return its answer.

    `name` selects one of several plugins in a file. `answers` are the model's answers, in order. `replies` maps URLs
    without query to the JSON or text returned; without it HTTP calls are made. Raises the errors that would fail the
    task, `InvalidInput` if the file defines no plugin, `TimeoutError`.
    """
    return asyncio.run(perform(file, prompt, name, config or {}, answers, replies, timeout_s, settings))


async def perform(
    file: Path,
    prompt: str,
    name: str | None,
    config: Mapping[str, Any],
    answers: Sequence[str],
    replies: Mapping[str, Any] | None,
    timeout_s: float,
    settings: PluginSettings,
) -> str:
    """As `run`, within an event loop."""
    limits = ChildLimits(settings.memory_mb, settings.cpu_s)
    source = await asyncio.to_thread(of_file, file)
    found = _chosen(await probe(source, settings.probe_s, limits), file, name)
    assert found.name is not None
    assert found.kind is not None
    if found.is_provider:
        raise InvalidInput(where=found.name, problem="it is a provider, which runs no tasks", remedy="Name an agent")
    values = with_defaults(found.schema, {**settings.settings.get(found.name, {}), **config})
    if faults := await config_faults(found.schema, values):
        raise PluginMisconfigured(name=found.name, reason="; ".join(faults).rstrip("."))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpClient(proxies=Proxies.of(os.environ))) if replies is None else None
        context = OfflineContext(found.name, answers, http, replies or {}, timeout_s)
        task = context.task(prompt, values, timeout_s)
        async with asyncio.timeout(timeout_s):
            if not found.is_async:
                return context.text(await run_in_child(found.source, found.kind, limits, context, task))
            plugin = find(found.source, load(found.source), found.kind, BasePlugin)()
            await _maybe(plugin.on_start())
            try:
                return context.text(await in_daemon(found.name, plugin, task))
            finally:
                await _maybe(plugin.on_stop())


class OfflineContext:
    """Replacement of `TaskContext` without a daemon."""

    def __init__(
        self,
        name: str,
        answers: Sequence[str],
        http: HttpClient | None,
        replies: Mapping[str, Any],
        timeout_s: float,
    ) -> None:
        self.name = name
        self.answers = list(answers)
        self.asked: list[tuple[Mapping[str, Any], ...]] = []
        self.timeout_s = timeout_s
        self.llm = _OfflineModels(self)
        self.storage = _OfflineStorage()
        self.http = TaskHttp(self, http) if http else _OfflineHttp(name, replies)
        self.log = logging.getLogger(f"kairos.plugins.{name}")

    def left_s(self, method: str, wanted: float | None = None) -> float:
        return self.timeout_s if wanted is None else min(self.timeout_s, float(wanted))

    def task(self, prompt: str, config: Mapping[str, Any], timeout_s: float) -> PluginTask:
        context = PluginContext(config, self.llm, self.storage, self.http, self.log)
        return PluginTask(str(new_id()), str(new_id()), prompt, attempt=1, timeout_s=timeout_s, context=context)

    def text(self, result: Mapping[str, Any]) -> str:
        if "text" in result:
            return str(result["text"])
        if not 0 < result["answer"] <= len(self.asked):
            raise PluginReturnedNonsense(name=self.name, reason="execute returned an Answer that is not from this task")
        return self.answers[result["answer"] - 1]


class _OfflineModels:
    def __init__(self, context: OfflineContext) -> None:
        self._context = context

    async def complete(self, prompt: Any, *, system: str | None = None, **options: Any) -> Answer:
        del options
        context, messages = self._context, checked_messages(prompt, system)
        number = len(context.asked)
        if number >= len(context.answers):
            raise PluginRefused(name=context.name, reason="it calls a model, and no further answer was given")
        context.asked.append(messages)
        return Answer(context.answers[number], "offline", "stop", number=number + 1)


class _OfflineStorage:
    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str, default: Any = None) -> Any:
        found = self._values.get(key)
        return default if found is None else orjson.loads(found)

    async def set(self, key: str, value: Any) -> None:
        self._values[key] = orjson.dumps(value)

    async def delete(self, key: str) -> bool:
        return self._values.pop(key, None) is not None

    async def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._values if key.startswith(prefix))


class _OfflineHttp:
    def __init__(self, name: str, replies: Mapping[str, Any]) -> None:
        self._name = name
        self._replies = replies

    async def get_json(self, url: str, **options: Any) -> Any:
        del options
        address = url.partition("?")[0]
        if address not in self._replies:
            raise PluginRefused(name=self._name, reason=f"it calls {address}, for which no reply was given")
        return self._replies[address]

    async def get_text(self, url: str, **options: Any) -> str:
        return str(await self.get_json(url, **options))

    async def post_json(self, url: str, value: Any, **options: Any) -> Any:
        del value
        return await self.get_json(url, **options)


def _chosen(found: Sequence[ProbeResult], file: Path, name: str | None) -> ProbeResult:
    named = [one for one in found if name is None or name in (one.name, one.kind)]
    if not named:
        names = ", ".join(str(one.name or one.kind) for one in found)
        raise InvalidInput(where=str(file), problem=f"it defines no plugin {name!r}", remedy=f"It defines: {names}")
    if named[0].error:
        remedy = f"Run `kairos plugin check {file}` for details"
        raise InvalidInput(where=str(file), problem=named[0].error, remedy=remedy)
    return named[0]


async def _maybe(value: Any) -> None:
    if asyncio.iscoroutine(value):
        await value
