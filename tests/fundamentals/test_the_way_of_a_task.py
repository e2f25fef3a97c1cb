"""The life cycle of a task, from its submission to its result. Read from top to bottom."""

from __future__ import annotations

import asyncio

from kairos.agents.base import AttemptContext, Draft, Emit, Task
from kairos.db.models import TaskState
from kairos.llm.calls.providers import ModelTimeout
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import Fault, FaultKind, ScriptedModel


async def test_task_is_answered_by_an_agent_and_checked(app: KairosApp):
    """The task is queued, a worker claims it, an agent answers through the router, and the guardian approves."""
    task_id = await app.submit("say hello", require=("hello",))
    assert (await app.task(task_id)).state == TaskState.QUEUED
    async with app.working():
        task = await app.finished(task_id)
    assert task.state == TaskState.SUCCEEDED
    assert task.output == "hello"
    assert task.model == "echo"


async def test_every_state_change_and_step_is_an_event(app: KairosApp):
    task_id = await app.submit(require=("hello",))
    async with app.working():
        await app.finished(task_id)
    kinds = [event.kind for event in await app.events(task_id)]
    assert kinds == ["queued", "running", "drafting", "decision", "verdict", "succeeded"]


async def test_decision_is_stored_with_its_reasons(app: KairosApp):
    """The decision contains every candidate with the terms of its score, and the measured quality."""
    task_id = await app.submit(require=("hello",), task_type="greeting")
    async with app.working():
        await app.finished(task_id)
    [decision] = await app.decisions(task_id)
    assert (decision.chosen, decision.answered, decision.task_type) == ("echo", "echo", "greeting")
    [candidate] = decision.candidates
    assert {"mu", "bonus", "cost", "latency", "utility", "n", "pending"} <= set(candidate)
    assert decision.quality == 1.0
    [call] = decision.calls
    assert call["success"]
    assert call["output_tokens"] > 0


async def test_rejected_draft_is_retried_with_its_findings(app: KairosApp, models):
    """The second prompt contains the first draft and its findings, but not the required text. Both verdicts are
    stored."""
    models.add(ScriptedModel(name="echo", answer=lambda prompt: "good day" if len(prompt.messages) > 2 else "hello"))
    task_id = await app.submit(require=("good day",))
    async with app.working():
        task = await app.finished(task_id)
    assert (task.state, task.output) == (TaskState.SUCCEEDED, "good day")
    assert [verdict.approved for verdict in await app.verdicts(task_id)] == [False, True]
    retry = models.calls[-1].messages
    assert retry[-2]["content"] == "hello"
    assert "must contain" in retry[-1]["content"]
    assert "good day" not in retry[-1]["content"]


async def test_finally_rejected_drafts_become_samples(app: KairosApp):
    task_id = await app.submit("say goodbye", require=("goodbye",))
    async with app.working():
        task = await app.finished(task_id)
    assert task.state == TaskState.REJECTED
    samples = await app.samples(task_id)
    assert len(samples) == 2, "one sample for each rejected draft"
    assert samples[0].faulty_output == "hello"
    assert "goodbye" in samples[0].reason
    assert {"role": "user", "content": "say goodbye"} in samples[0].prompt


async def test_unchecked_answer_is_approved_with_unknown_quality(app: KairosApp):
    """Free text without checks has no measured quality, so the router learns nothing from it."""
    task_id = await app.submit("say anything")
    async with app.working():
        task = await app.finished(task_id)
    assert task.state == TaskState.SUCCEEDED
    [verdict] = await app.verdicts(task_id)
    [decision] = await app.decisions(task_id)
    assert (verdict.approved, verdict.score, decision.quality) == (True, None, None)


async def test_repeated_submission_with_an_idempotency_key_is_one_task(app: KairosApp):
    first = await app.submit("once", idempotency_key="k1")
    assert await app.submit("once", idempotency_key="k1") == first


async def test_queued_task_is_cancelled_at_once(app: KairosApp):
    task_id = await app.submit()
    assert (await app.cancel(task_id)).state == TaskState.CANCELLED
    async with app.working():
        other = await app.submit()
        await app.finished(other)
    assert (await app.task(task_id)).attempts == 0


async def test_cancelling_a_running_task_aborts_the_model_call(app: KairosApp, models):
    models.add(ScriptedModel(name="echo", answer="slow", first_token_s=60))
    async with app.working():
        task_id = await app.submit()
        await eventually(lambda: models.calls, why="the model is called")
        await app.cancel(task_id)
        task = await app.finished(task_id, within_s=5)
        await eventually(lambda: models.calls[-1].aborted, 5, "the client disconnects from the server")
    assert task.state == TaskState.CANCELLED


async def test_task_timeout_fails_the_task_and_aborts_its_call(app: KairosApp, models):
    models.add(ScriptedModel(name="echo", answer="slow", first_token_s=60))
    async with app.working():
        for timeout_s in (0.5, 2, 8):  # on a busy machine a task may time out before its model is called
            task = await app.finished(await app.submit(timeout_s=timeout_s))
            assert task.state == TaskState.FAILED
            assert task.error
            assert task.error["code"] == "task_timeout"
            if models.calls:
                break
        await eventually(lambda: models.calls[-1].aborted, 5, "the client disconnects from the server")


async def test_model_timeout_at_the_task_deadline_is_a_task_timeout(app: KairosApp):
    """The router receives the remaining time of the task and may time out just before the coordinator."""

    class Slow:
        name, capabilities = "Slow", frozenset({"be slow"})

        async def perform(self, task: Task, attempt: AttemptContext, emit: Emit) -> Draft:
            await asyncio.sleep(attempt.timeout_s - 0.01)
            raise ModelTimeout(model="echo", reason="", phase="the next token", seconds=0.5, remedy="")

    app.parts.agents.registry.register(Slow())
    async with app.working():
        task = await app.finished(await app.submit(agent="Slow", timeout_s=0.5))
    assert task.error
    assert (task.state, task.error["code"]) == (TaskState.FAILED, "task_timeout")


async def test_transient_error_is_retried(app: KairosApp, models):
    """The server fails one call; the second attempt succeeds."""
    models.fail("echo", Fault(FaultKind.STATUS, status=503, requests=1))
    async with app.working():
        task_id = await app.submit()
        task = await app.finished(task_id)
    assert (task.state, task.attempts) == (TaskState.SUCCEEDED, 2)
    kinds = [event.kind for event in await app.events(task_id)]
    assert "model_failed" in kinds


async def test_task_that_fails_all_attempts_is_dead(app: KairosApp, models):
    models.fail("echo", Fault(FaultKind.STATUS, status=503, requests=2))
    async with app.working():
        task_id = await app.submit(max_attempts=2)
        task = await app.finished(task_id)
    assert (task.state, task.attempts) == (TaskState.DEAD, 2)
    [sample] = await app.samples(task_id)
    assert sample.faulty_output is None, "a sample without output is not used for training until it is labelled"


async def test_dead_task_can_be_retried_manually(app: KairosApp, models):
    models.fail("echo", Fault(FaultKind.STATUS, status=503, requests=1))
    async with app.working():
        task_id = await app.submit(max_attempts=1)
        assert (await app.finished(task_id)).state == TaskState.DEAD
        await app.parts.orchestration.submissions.retry(app.project_id, task_id)
        assert (await app.in_state(task_id, TaskState.SUCCEEDED)).attempts == 2


async def test_draining_worker_finishes_its_tasks(app: KairosApp, models):
    """After SIGTERM the worker claims no tasks; running ones continue until the drain limit."""
    models.add(ScriptedModel(name="echo", answer="done", first_token_s=1))
    async with app.working() as draining:
        task_id = await app.submit()
        await eventually(lambda: models.calls, why="the task runs")
        draining.set()
        late = await app.submit()
        await asyncio.sleep(0)
        task = await app.finished(task_id)
    assert task.state == TaskState.SUCCEEDED
    assert (await app.task(late)).state == TaskState.QUEUED


async def test_task_running_after_the_drain_limit_is_requeued(app: KairosApp, models):
    """The lease is returned at once, and the interrupted run does not count as an attempt."""
    models.add(ScriptedModel(name="echo", answer="slow", first_token_s=60))
    async with app.working() as draining:
        task_id = await app.submit()
        await eventually(lambda: models.calls, why="the task runs")
        draining.set()
        task = await app.in_state(task_id, TaskState.QUEUED, within_s=10)
    assert (task.state, task.attempts) == (TaskState.QUEUED, 0)
