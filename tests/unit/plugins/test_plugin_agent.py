"""An async plugin lives in the daemon, one that keeps failing is set aside: each harms its own task alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from kairos.agents.base import AttemptContext, Checks, Task
from kairos.config import PluginSettings
from kairos.db.engine import Database
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
from kairos.tenancy import ProjectId, TaskId, new_id
from tests.kit.conditions import eventually

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "default": 1, "x-kairos-scope": "project"}},
    "additionalProperties": False,
}


class Scripted(BasePlugin):
    """Does what the test says."""

    def __init__(self, does: Callable[[PluginTask], Any]) -> None:
        self.does = does
        self.stopped = False

    def get_name(self) -> str:
        return "Scripted"

    def get_capabilities(self) -> list[str]:
        return []

    async def execute(self, task: PluginTask) -> Any:
        done = self.does(task)
        return await done if asyncio.iscoroutine(done) else done

    def on_stop(self) -> None:
        self.stopped = True


def agent(does: Callable[[PluginTask], Any], settings: PluginSettings | None = None) -> PluginAgent:
    source = PluginSource(Origin.FILE, "/p.py", "p.py")
    found = ProbeResult(source, kind="Scripted", name="Scripted", schema=SCHEMA, is_async=True)
    means = PluginServices(cast(LLMRouter, None), cast(Database, None), HttpClient())  # none of these calls anything
    return PluginAgent(found, settings or PluginSettings(), means, Scripted(does))


async def perform(agent: PluginAgent, prompt: str = "p", timeout_s: float = 60, **settings: Any):
    task = Task(TaskId(new_id()), ProjectId(new_id()), prompt, "Scripted", None, Checks(), 1)
    task = replace(task, plugin_settings={"Scripted": settings})
    return await agent.perform(task, AttemptContext(timeout_s=timeout_s), emit)


async def emit(kind: str, data: Mapping[str, Any]) -> None:
    pass


async def raises(kind: type[BaseException], work: Any) -> Any:
    with pytest.raises(kind) as met:
        await work
    return met.value


def fails(task: PluginTask) -> Any:
    raise RuntimeError("broken")


async def test_it_gives_a_draft_that_no_model_made():
    draft = await perform(agent(lambda task: f"{task.prompt} {task.context.config['n']}"), n=5)
    assert (draft.text, draft.finish_reason, draft.decision_id, draft.model) == ("p 5", "stop", None, None)


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), MemoryError(), StopIteration()])
async def test_whatever_it_raises_is_a_crash_of_the_plugin(error: BaseException):
    """SystemExit and KeyboardInterrupt would end the daemon's loop."""

    async def does() -> None:
        raise error

    assert "Scripted" in str(await raises(PluginCrashed, perform(agent(lambda task: does()))))


async def test_one_that_cancels_itself_has_crashed():
    async def does() -> None:
        raise asyncio.CancelledError

    assert "cancelled itself" in str(await raises(PluginCrashed, perform(agent(lambda task: does()))))


async def test_nonsense_and_refusals_have_names():
    await raises(PluginReturnedNonsense, perform(agent(lambda task: object())))

    def refuses(task: PluginTask) -> Any:
        raise PluginError("no such town")

    assert str(await raises(PluginRefused, perform(agent(refuses)))) == "Scripted: no such town"


async def test_a_configuration_that_its_schema_refuses_fails_the_task_before_it_begins():
    called: list[str] = []
    one = agent(lambda task: called.append("x"))
    assert "$.n" in str(await raises(PluginMisconfigured, perform(one, n="many")))
    assert called == []
    system = agent(lambda task: "x", PluginSettings(settings={"Scripted": {"nonsense": 1}}))
    await raises(PluginMisconfigured, perform(system))


class TestSetAside:
    """After three failures of its own in a row; tried again by one task, after a pause that doubles."""

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

    async def test_it_takes_no_more_tasks_and_says_why(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one, 2)
        assert one.set_aside_until is None
        await self.fail(one, 1)
        error = await raises(PluginSetAside, perform(one))
        assert "failed 3 times" in str(error)
        assert "RuntimeError: broken" in str(error)
        assert error.retryable
        assert one.set_aside_until

    async def test_one_task_tries_it_again_and_a_good_end_closes_it(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one)
        clock(breaker.PERIOD_S + 1)
        cast(Scripted, one._plugin).does = lambda task: "well again"
        assert (await perform(one)).text == "well again"
        assert one.set_aside_until is None

    async def test_the_pause_doubles(self, clock: Callable[[float], None]):
        one = agent(fails)
        await self.fail(one)
        clock(breaker.PERIOD_S + 1)
        await self.fail(one, 1)
        clock(breaker.PERIOD_S + 1)
        await raises(PluginSetAside, perform(one))
        clock(breaker.PERIOD_S)
        await self.fail(one, 1)

    async def test_refusals_and_cancels_are_no_failures(self, clock: Callable[[float], None]):
        def refuses(task: PluginTask) -> Any:
            raise PluginError("no such town")

        one = agent(refuses)
        for _ in range(5):
            await raises(PluginRefused, perform(one))
        cast(Scripted, one._plugin).does = lambda task: asyncio.Event().wait()
        for _ in range(5):
            running = asyncio.create_task(perform(one))
            await asyncio.sleep(0)
            running.cancel()
            await raises(asyncio.CancelledError, running)
        assert one.set_aside_until is None

    async def test_a_hang_counts_where_there_was_time(
        self, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
    ):
        limits: list[asyncio.Timeout] = []

        async def hangs(task: PluginTask) -> None:
            limits[-1].reschedule(asyncio.get_running_loop().time())  # from now on: it may begin late on a busy machine
            await asyncio.Event().wait()

        async def cut_off() -> None:
            async with asyncio.timeout(30) as limit:
                limits.append(limit)
                await perform(one, timeout_s=0.02)

        one = agent(hangs)
        for long_enough, set_aside in ((10.0, False), (0.0, True)):
            monkeypatch.setattr(plugin_agent, "MIN_TIME_S", long_enough)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await cut_off()
            assert bool(one.set_aside_until) is set_aside


class TestCancel:
    async def test_one_that_does_not_heed_it_is_left_behind(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plugin_agent, "CANCEL_LIMIT_S", 0.05)
        begun, over, refused = asyncio.Event(), asyncio.Event(), []

        async def stubborn(task: PluginTask) -> None:
            begun.set()
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
            try:
                await task.context.storage.get("k")
            except PluginOver as error:
                refused.append(error)

        one = agent(stubborn)
        running = asyncio.create_task(perform(one))
        await asyncio.wait_for(begun.wait(), 5)
        running.cancel()
        await raises(asyncio.CancelledError, running)
        over.set()
        await eventually(lambda: refused, 5, "its context was closed to it")

    async def test_one_that_swallows_every_cancel_ends_with_its_plugin(self, monkeypatch: pytest.MonkeyPatch):
        """The daemon's loop could never end otherwise."""
        monkeypatch.setattr(plugin_agent, "CANCEL_LIMIT_S", 0.05)

        begun = asyncio.Event()

        async def immortal(task: PluginTask) -> None:
            begun.set()
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

        one = agent(immortal)
        running = asyncio.create_task(perform(one))
        await asyncio.wait_for(begun.wait(), 5)
        running.cancel()
        await raises(asyncio.CancelledError, running)
        [left] = one._uncancelled
        await one.retire()
        left.cancel()
        await asyncio.wait([left], timeout=5)
        assert left.done()

    async def test_it_retires_once_its_tasks_have_ended(self):
        go = asyncio.Event()

        async def waits(task: PluginTask) -> str:
            await go.wait()
            return "done"

        one = agent(waits)
        running = asyncio.create_task(perform(one))
        await asyncio.sleep(0)
        retiring = asyncio.create_task(one.retire())
        await asyncio.sleep(0)
        assert not cast(Scripted, one._plugin).stopped
        go.set()
        assert (await running).text == "done"
        await asyncio.wait_for(retiring, 5)
        assert cast(Scripted, one._plugin).stopped
