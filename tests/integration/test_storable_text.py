"""Any text of a model, tool or check is stored, and a result that cannot be stored fails its task at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.db.engine import Database
from kairos.db.models import EventKind, TaskState
from kairos.errors import EngineUnavailable, KairosError
from kairos.tenancy import Scope
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel

ODD = "Ro\x00me \ud83d \ude00 \udc80"
CLEAN = "Ro\ufffdme \ufffd \ufffd \ufffd"


class Odd:
    """An agent whose texts all contain invalid characters."""

    name, capabilities = "Odd", frozenset({"be odd"})

    def __init__(self, text: str = ODD, **changes: Any) -> None:
        self._text = text
        self._changes = changes

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        odd = self._text
        await emit(EventKind.MODEL_FAILED, {odd: [odd, {"deep": odd, "nan": float("nan")}]})
        draft = Draft(odd, "stop", model=odd, messages=({"role": "user", "content": odd},), reasoning=odd)
        return replace(draft, **self._changes)


class Failing:
    """An agent that fails with a given error."""

    name, capabilities = "Failing", frozenset({"fail"})

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
        raise self._error


class OddError(KairosError):
    """It failed: {reason}."""

    code = "odd"


# Each fault is also tested alone, as one failure must not hide another.
@pytest.mark.parametrize(
    ("odd", "clean"),
    [(ODD, CLEAN), ("Ro\x00me", "Ro\ufffdme"), ("Ro\ud83dme", "Ro\ufffdme"), ("Ro\ud83d\ude00", "Ro\U0001f600")],
    ids=["all", "NUL", "half a pair", "a pair in halves"],
)
async def test_every_text_of_an_attempt_is_stored(app: KairosApp, odd: str, clean: str):
    app.parts.agents.registry.register(Odd(odd))
    async with app.working():
        task = await app.finished(await app.submit(agent="Odd", forbid=("Ro",)), within_s=10)
    assert (task.state, task.output, task.model) == (TaskState.REJECTED, clean, clean)
    verdict = (await app.verdicts(task.id))[-1]
    assert (verdict.output, verdict.reasoning) == (clean, clean)
    assert verdict.messages == [{"role": "user", "content": clean}]
    stored = next(event for event in await app.events(task.id) if event.kind == EventKind.MODEL_FAILED)
    assert stored.data == {clean: [clean, {"deep": clean, "nan": None}]}
    assert (await app.samples(task.id))[0].faulty_output == clean


async def test_number_beyond_64_bits_is_stored_as_text(app: KairosApp):
    class Counting(Odd):
        async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
            await emit(EventKind.MODEL_FAILED, {"big": 10**30})
            return await super().perform(task, attempt, emit)

    app.parts.agents.registry.register(Counting("x"))
    async with app.working():
        task = await app.finished(await app.submit(agent="Odd"), within_s=10)
    stored = next(event for event in await app.events(task.id) if "big" in event.data)
    assert stored.data == {"big": str(10**30)}


@pytest.mark.parametrize(
    "error", [ValueError(ODD), OddError(reason=ODD), UnicodeDecodeError("utf-8", b"\xff", 0, 1, ODD)]
)
async def test_every_error_of_an_attempt_is_stored(app: KairosApp, error: Exception):
    app.parts.agents.registry.register(Failing(error))
    async with app.working():
        task = await app.finished(await app.submit(agent="Failing"), within_s=10)
    assert task.state == TaskState.FAILED
    assert task.error is not None
    assert CLEAN in task.error["message"]


async def test_nul_in_an_answer_does_not_fail_the_task(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer="Ro\x00me", reasoning="a\x00b"))
    async with app.working():
        task = await app.finished(await app.submit(), within_s=10)
    assert (task.state, task.output, task.attempts) == (TaskState.SUCCEEDED, "Ro\ufffdme", 1)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"decision_id": "not-an-id"}, "badly formed hexadecimal UUID string"),
        ({"messages": ({"role": "user", "content": b"bytes"},)}, "not JSON serializable"),
        ({"decision_id": "00000000-0000-0000-0000-000000000000", "model": {"a": 1}}, "dict"),
    ],
)
async def test_result_that_cannot_be_stored_fails_at_once_with_its_cause(
    app: KairosApp, changes: dict[str, Any], cause: str
):
    app.parts.agents.registry.register(Odd(**changes))
    async with app.working():
        task = await app.finished(await app.submit(agent="Odd"), within_s=10)
    assert (task.state, task.attempts) == (TaskState.FAILED, 1)
    assert task.error is not None
    assert cause in task.error["message"]
    assert "[parameters" not in task.error["message"]
    assert (await app.events(task.id))[-1].kind == "failed"


async def test_statement_beyond_the_limits_of_postgresql_is_not_an_outage(database: Database):
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(Exception, match="stack depth limit exceeded") as caught:
        async with database.scope(Scope()) as session:
            await session.execute(text("select cast(:value as jsonb)"), {"value": deep})
    assert not isinstance(caught.value, EngineUnavailable)
