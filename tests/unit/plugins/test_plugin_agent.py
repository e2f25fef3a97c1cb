"""An async plugin runs in the daemon and can fail only its own task. A plugin that keeps failing is set aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from kairos.agents.base import AttemptContext, Task, TaskSpec
from kairos.config import PluginSettings
from kairos.db.engine import Database
from kairos.db.models import EventKind
from kairos.http import HttpClient
from kairos.llm.health import breaker
from kairos.llm.routing.llm_router import LLMRouter
from kairos.plugins import plugin_agent
from kairos.plugins.base_plugin import BasePlugin, PluginError, PluginTask
from kairos.plugins.plugin_agent import PluginAgent
from kairos.plugins.plugin_errors import (
    PluginCrashed,
    PluginMisconfigured,
    PluginOver,
    PluginRefused,
    PluginReturnedNonsense,
    PluginSetAside,
)
from kairos.plugins.probing import ProbeResult
from kairos.plugins.sources import Origin, PluginSource
from kairos.plugins.task_context import PluginServices
from kairos.project_settings import ProjectSettings
from kairos.tenancy import ProjectId, TaskId, new_id
from tests.kit.conditions import eventually

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "default": 1, "x-kairos-scope": "project"}},
    "additionalProperties": False,
}


class Scripted(BasePlugin):
    """A plugin that runs a function of the test."""

    def __init__(self, action: Callable[[PluginTask], Any]) -> None:
        self.action = action
        self.stopped = False

    def get_name(self) -> str:
        return "Scripted"

    def get_capabilities(self) -> list[str]:
        return []

    async def execute(self, task: PluginTask) -> Any:
        done = self.action(task)
        return await done if asyncio.iscoroutine(done) else done

    def on_stop(self) -> None:
        self.stopped = True


def agent(action: Callable[[PluginTask], Any], settings: PluginSettings | None = None) -> PluginAgent:
    source = PluginSource(Origin.FILE, "/p.py", "p.py")
    found = ProbeResult(source, kind="Scripted", name="Scripted", schema=SCHEMA, is_async=True)
    services = PluginServices(cast(LLMRouter, None), cast(Database, None), HttpClient())  # no test here calls a service
    return PluginAgent(found, settings or PluginSettings(), services, Scripted(action))


async def perform(agent: PluginAgent, prompt: str = "p", timeout_s: float = 60, **settings: Any):
    task = Task(TaskId(new_id()), ProjectId(new_id()), prompt, "Scripted", None, TaskSpec(), 1)
    task = replace(task, settings=ProjectSettings(plugin_settings={"Scripted": settings}))
    return await agent.perform(task, AttemptContext(timeout_s=timeout_s), emit)


async def emit(kind: EventKind, data: Mapping[str, Any]) -> None:
    pass


async def raises(kind: type[BaseException], work: Any) -> Any:
    with pytest.raises(kind) as caught:
        await work
    return caught.value


def fails(task: PluginTask) -> Any:
    raise RuntimeError("broken")


async def test_result_of_a_plugin_is_a_draft_without_a_model():
    draft = await perform(agent(lambda task: f"{task.prompt} {task.context.config['n']}"), n=5)
    assert (draft.text, draft.finish_reason, draft.decision_id, draft.model) == ("p 5", "stop", None, None)


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), MemoryError(), StopIteration()])
async def test_any_exception_is_a_crash_of_the_plugin(error: BaseException):
    """SystemExit and KeyboardInterrupt would otherwise end the daemon's event loop."""

    async def action() -> None:
        raise error

    assert "Scripted" in str(await raises(PluginCrashed, perform(agent(lambda task: action()))))


async def test_plugin_that_cancels_itself_has_crashed():
    async def action() -> None:
        raise asyncio.CancelledError

    assert "cancelled itself" in str(await raises(PluginCrashed, perform(agent(lambda task: action()))))


async def test_invalid_results_and_refusals_have_specific_errors():
    await raises(PluginReturnedNonsense, perform(agent(lambda task: object())))

    def refuse(task: PluginTask) -> Any:
        raise PluginError("no such town")

    assert str(await raises(PluginRefused, perform(agent(refuse)))) == "Scripted: no such town"


async def test_invalid_configuration_fails_the_task_before_the_plugin_runs():
    called: list[str] = []
    one = agent(lambda task: called.append("x"))
    assert "$.n" in str(await raises(PluginMisconfigured, perform(one, n="many")))
    assert called == []
    system = agent(lambda task: "x", PluginSettings(settings={"Scripted": {"nonsense": 1}}))
    await raises(PluginMisconfigured, perform(system))


class TestSetAside:
    """A plugin is set aside after three consecutive failures. After a pause, which doubles, one task tries it again."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        now = [1_000_000.0]
        monkeypatch.setattr(plugin_agent.time, "time", lambda: now[0])

        def on(seconds: float) -> None:
            now[0] += seconds

        return on

    async def fail(self, one: PluginAgent, times: int = breaker.ERRORS_IN_A_ROW) -> None:
        for _ in range(times):
            await raises(PluginCrashed, perform(one))

    async def test_plugin_takes_no_more_tasks_and_gives_the_reason(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one, 2)
        assert one.set_aside_until is None
        await self.fail(one, 1)
        error = await raises(PluginSetAside, perform(one))
        assert "failed 3 times" in str(error)
        assert "RuntimeError: broken" in str(error)
        assert error.retryable
        assert one.set_aside_until

    async def test_plugin_returns_after_one_successful_task(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one)
        clock(breaker.PERIOD_S + 1)
        cast(Scripted, one._plugin).action = lambda task: "well again"
        assert (await perform(one)).text == "well again"
        assert one.set_aside_until is None

    async def test_pause_doubles(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one)
        clock(breaker.PERIOD_S + 1)
        await self.fail(one, 1)
        clock(breaker.PERIOD_S + 1)
        await raises(PluginSetAside, perform(one))
        clock(breaker.PERIOD_S)
        await self.fail(one, 1)

    async def test_refusals_and_cancellations_are_not_failures(self, clock: Callable[[float], None]):
        def refuse(task: PluginTask) -> Any:
            raise PluginError("no such town")

        one = agent(refuse)
        for _ in range(5):
            await raises(PluginRefused, perform(one))
        cast(Scripted, one._plugin).action = lambda task: asyncio.Event().wait()
        for _ in range(5):
            running = asyncio.create_task(perform(one))
            await asyncio.sleep(0)
            running.cancel()
            await raises(asyncio.CancelledError, running)
        assert one.set_aside_until is None

    async def test_timeout_counts_as_failure_if_the_task_had_enough_time(
        self, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
    ):
        limits: list[asyncio.Timeout] = []

        async def hang(task: PluginTask) -> None:
            limits[-1].reschedule(asyncio.get_running_loop().time())  # the plugin may start late on a busy machine
            await asyncio.Event().wait()

        async def cut_off() -> None:
            async with asyncio.timeout(30) as limit:
                limits.append(limit)
                await perform(one, timeout_s=0.02)

        one = agent(hang)
        for long_enough, set_aside in ((10.0, False), (0.0, True)):
            monkeypatch.setattr(plugin_agent, "MIN_TIME_S", long_enough)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await cut_off()
            assert bool(one.set_aside_until) is set_aside


class TestCancel:
    async def test_plugin_that_ignores_cancellation_is_abandoned(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plugin_agent, "CANCEL_LIMIT_S", 0.05)
        started, over, refused = asyncio.Event(), asyncio.Event(), []

        async def ignore_cancellation(task: PluginTask) -> None:
            started.set()
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
            try:
                await task.context.storage.get("k")
            except PluginOver as error:
                refused.append(error)

        one = agent(ignore_cancellation)
        running = asyncio.create_task(perform(one))
        await asyncio.wait_for(started.wait(), 5)
        running.cancel()
        await raises(asyncio.CancelledError, running)
        over.set()
        await eventually(lambda: refused, 5, "its context was closed")

    async def test_task_that_suppresses_cancellation_ends_when_the_plugin_retires(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        """Otherwise the daemon's event loop could not end."""
        monkeypatch.setattr(plugin_agent, "CANCEL_LIMIT_S", 0.05)

        started = asyncio.Event()

        async def suppress_cancellation(task: PluginTask) -> None:
            started.set()
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

        one = agent(suppress_cancellation)
        running = asyncio.create_task(perform(one))
        await asyncio.wait_for(started.wait(), 5)
        running.cancel()
        await raises(asyncio.CancelledError, running)
        [left] = one._uncancelled
        await one.retire()
        left.cancel()
        await asyncio.wait([left], timeout=5)
        assert left.done()

    async def test_plugin_retires_after_its_tasks_have_ended(self):
        go = asyncio.Event()

        async def wait(task: PluginTask) -> str:
            await go.wait()
            return "done"

        one = agent(wait)
        running = asyncio.create_task(perform(one))
        await asyncio.sleep(0)
        retiring = asyncio.create_task(one.retire())
        await asyncio.sleep(0)
        assert not cast(Scripted, one._plugin).stopped
        go.set()
        assert (await running).text == "done"
        await asyncio.wait_for(retiring, 5)
        assert cast(Scripted, one._plugin).stopped
