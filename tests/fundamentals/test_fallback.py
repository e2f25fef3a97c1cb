"""If a model fails, the next one answers, every call is recorded, and the circuit breaker stops further calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kairos.components import ComponentState
from kairos.config import ModelSettings, RouterSettings
from kairos.db.models import EventKind, TaskState
from kairos.db.repositories.monitoring import metrics
from kairos.embedded import Addresses
from kairos.llm.calls.providers import CallLimits, ChatRequest, ModelStreamCut
from kairos.llm.routing.call_terms import RoutedAnswer
from kairos.llm.routing.llm_router import CallContext
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel


@pytest.fixture
async def two_models(addresses: Addresses, models: ModelServer):
    """A `KairosApp` with `echo`, which has the higher tier, and `spare`."""
    models.add(ScriptedModel("spare", answer="from the spare"))
    entries = [
        ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
        ModelSettings(name="spare", base_url=models.base_url, local=True, tier=0.3),
    ]
    async with open_app(addresses, models, models=entries) as app:
        yield app


@pytest.fixture
async def two_servers(addresses: Addresses, models: ModelServer):
    """The same models, with `spare` on a separate server."""
    async with ModelServer(ScriptedModel("spare", answer="from the spare")) as other:
        entries = [
            ModelSettings(name="echo", base_url=models.base_url, local=True, tier=0.9),
            ModelSettings(name="spare", base_url=other.base_url, local=True, tier=0.3),
        ]
        async with open_app(addresses, models, models=entries) as app:
            yield app


@pytest.fixture
def short_first_token_limit(two_models: KairosApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the time to the first token to half a second instead of a minute."""
    monkeypatch.setattr(two_models.parts.llm.router._providers, "_limits", CallLimits(first_token_s=0.5))


async def streamed(app: KairosApp) -> tuple[str, RoutedAnswer]:
    """Make a streaming request. Returns the text received as deltas, and the answer."""
    received: list[str] = []

    async def on_delta(text: str) -> None:
        received.append(text)

    async def emit(kind: EventKind, data: Mapping[str, Any]) -> None:
        pass

    request = ChatRequest(messages=({"role": "user", "content": "say hello"},))
    answer = await app.parts.llm.router.complete(CallContext(app.project_id), request, emit, on_delta)
    return "".join(received), answer


FAULTS = {
    "unavailable": Fault(FaultKind.STATUS, status=503),
    "overloaded": Fault(FaultKind.STATUS, status=429, retry_after="30"),
    "key refused": Fault(FaultKind.STATUS, status=401),
    "model unknown": Fault(FaultKind.STATUS, status=404),
    "garbage": Fault(FaultKind.GARBAGE_BODY),
    "connection closed": Fault(FaultKind.DISCONNECT),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_next_model_answers_and_both_calls_are_recorded(two_models: KairosApp, models: ModelServer, fault: str):
    models.fail("echo", FAULTS[fault])
    async with two_models.working():
        task = await two_models.finished(await two_models.submit())
    assert (task.state, task.output, task.attempts) == (TaskState.SUCCEEDED, "from the spare", 1)
    [decision] = await two_models.decisions(task.id)
    assert (decision.chosen, decision.answered) == ("echo", "spare")
    assert [(call["model"], call["success"]) for call in decision.calls] == [("echo", False), ("spare", True)]


async def test_unreachable_server_is_replaced_within_the_attempt(two_servers: KairosApp, models: ModelServer):
    await models.refuse()
    async with two_servers.working():
        task = await two_servers.finished(await two_servers.submit())
    assert (task.state, task.output, task.attempts) == (TaskState.SUCCEEDED, "from the spare", 1)
    [decision] = await two_servers.decisions(task.id)
    assert [(call["model"], call["error"]) for call in decision.calls] == [
        ("echo", "model_unreachable"),
        ("spare", None),
    ]


async def test_call_to_a_hanging_server_is_aborted(
    two_models: KairosApp, models: ModelServer, short_first_token_limit: None
):
    models.fail("echo", Fault(FaultKind.HANG))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit())
    assert task.output == "from the spare"
    assert models.calls_of("echo")[0].aborted, "the server does not generate an answer that nobody reads"


async def test_hanging_server_leaves_time_for_the_next_model(two_models: KairosApp, models: ModelServer):
    """Each candidate gets a share of the task's time. The timeout counts as an error of the breaker."""
    models.fail("echo", Fault(FaultKind.HANG))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit(timeout_s=6))
    assert (task.state, task.output, task.attempts) == (TaskState.SUCCEEDED, "from the spare", 1)
    [decision] = await two_models.decisions(task.id)
    assert [(call["model"], call["error"]) for call in decision.calls] == [("echo", "model_timeout"), ("spare", None)]
    breaker, _ = two_models.parts.llm.router.health.snapshot("echo")
    assert breaker.errors == 1


async def test_short_task_timeout_does_not_count_against_a_server(two_models: KairosApp, models: ModelServer):
    """Projects share the breakers, so a project with very short timeouts must not open a breaker for the others."""
    models.fail("echo", Fault(FaultKind.HANG))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit(timeout_s=1))
    assert task.output == "from the spare"
    breaker, _ = two_models.parts.llm.router.health.snapshot("echo")
    assert breaker.errors == 0


async def test_every_failed_call_is_an_event_and_a_metrics_row(two_models: KairosApp, models: ModelServer):
    models.fail("echo", Fault(FaultKind.STATUS, status=503))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit())
    [failed] = [event for event in await two_models.events(task.id) if event.kind == "model_failed"]
    assert (failed.data["model"], failed.data["code"]) == ("echo", "model_server_error")
    async with two_models.database.project(two_models.project_id) as session:
        figures = {row.model: (row.calls, row.successes) for row in await metrics.by_model(session)}
    assert figures == {"echo": (1, 0), "spare": (1, 1)}


async def test_stream_cut_before_its_first_token_falls_back(two_models: KairosApp, models: ModelServer):
    models.fail("echo", Fault(FaultKind.DISCONNECT, after_tokens=0))
    received, answer = await streamed(two_models)
    assert (received, answer.model) == ("from the spare", "spare")


async def test_stream_cut_after_sent_tokens_raises(two_models: KairosApp, models: ModelServer):
    """The answer of another model cannot continue the text that the caller already has."""
    models.add(ScriptedModel("echo", answer="a longer answer of several words", tokens_per_s=200))
    models.fail("echo", Fault(FaultKind.DISCONNECT, after_tokens=2))
    with pytest.raises(ModelStreamCut) as cut:
        await streamed(two_models)
    assert cut.value.partial.startswith("a longer")
    assert models.calls_of("spare") == []


async def test_draft_stream_may_restart_with_another_model(two_models: KairosApp, models: ModelServer):
    """The stream of a task is a draft until its verdict. If it is cut, the next model answers the same attempt, and
    clients discard the text."""
    models.add(ScriptedModel("echo", answer="a longer answer of several words", tokens_per_s=200))
    models.fail("echo", Fault(FaultKind.DISCONNECT, after_tokens=2))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit())
    assert (task.state, task.output, task.attempts) == (TaskState.SUCCEEDED, "from the spare", 1)


async def test_named_model_is_not_replaced(two_models: KairosApp, models: ModelServer):
    """A request for a named model gets that model or an error."""
    models.fail("echo", Fault(FaultKind.STATUS, status=503))
    async with two_models.working():
        task = await two_models.finished(await two_models.submit(model="echo", max_attempts=1))
    assert task.error
    assert (task.state, task.error["code"]) == (TaskState.DEAD, "model_server_error")
    assert models.calls_of("spare") == []


async def test_server_with_retry_after_is_not_called_earlier(two_models: KairosApp, models: ModelServer):
    """One such response opens the breaker, other than the three failures that are needed otherwise."""
    models.fail("echo", Fault(FaultKind.STATUS, status=429, retry_after="30", requests=1))
    async with two_models.working():
        for _ in range(3):
            await two_models.finished(await two_models.submit())
    assert len(models.calls_of("echo")) == 1


async def test_three_consecutive_failures_open_the_breaker(two_models: KairosApp, models: ModelServer):
    """The model is not called while its breaker is open."""
    models.fail("echo", Fault(FaultKind.STATUS, status=503))
    async with two_models.working():
        for _ in range(5):
            await two_models.finished(await two_models.submit())
    assert len(models.calls_of("echo")) == 3
    assert two_models.parts.llm.router.health.status("echo", 0).state == "unhealthy"


async def test_open_breaker_and_its_reset_reach_the_other_replicas(
    two_models: KairosApp, addresses: Addresses, models: ModelServer
):
    async with open_app(addresses, models, models=list(two_models.parts.settings.models)) as other:
        models.fail("echo", Fault(FaultKind.STATUS, status=401))
        async with two_models.working(), other.working():
            await two_models.finished(await two_models.submit())
            await eventually(lambda: "echo" in _unavailable_models(other), 5, "the other replica opens its breaker")
            two_models.parts.llm.router.health.reset("echo")
            await eventually(
                lambda: "echo" not in _unavailable_models(other), 5, "the other replica closes its breaker"
            )


async def test_task_fails_at_once_when_every_breaker_is_open(two_models: KairosApp, models: ModelServer):
    models.fail("*", Fault(FaultKind.STATUS, status=401))
    async with two_models.working():
        first = await two_models.finished(await two_models.submit(max_attempts=1))
        second = await two_models.finished(await two_models.submit(max_attempts=1))
    assert first.error
    assert second.error
    assert second.error["code"] == "no_model_available"
    assert len(models.calls) == 2, "the second task called no model"
    assert "echo" in second.error["message"]
    assert "spare" in second.error["message"]


async def test_last_resort_is_called_when_all_breakers_are_open(addresses: Addresses, models: ModelServer):
    settings = RouterSettings(last_resort="echo")
    async with open_app(addresses, models, router=settings) as app:
        models.fail("echo", Fault(FaultKind.STATUS, status=503, requests=3))
        async with app.working():
            for _ in range(3):
                await app.finished(await app.submit(max_attempts=1))
            task = await app.finished(await app.submit(max_attempts=1))
    assert task.state == TaskState.SUCCEEDED


def _unavailable_models(app: KairosApp) -> str:
    """Return the readiness detail, which names the models with an open breaker; empty if all are available."""
    return app.parts.llm.router.readiness().detail if _degraded(app) else ""


def _degraded(app: KairosApp) -> bool:
    return app.parts.llm.router.readiness().state is not ComponentState.OK
