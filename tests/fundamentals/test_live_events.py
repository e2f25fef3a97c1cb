"""The live events of a project, which clients receive without gaps. Read from top to bottom."""

from __future__ import annotations

from sqlalchemy import update

from kairos.db.models import ProjectRow
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.watching import signed_in_api_of, watching

TEXT = "one two three four five six seven eight nine ten"


async def test_watcher_receives_every_event_of_a_task(app: KairosApp):
    async with app.working(), signed_in_api_of(app, run_background=False) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        await app.finished(await app.submit("say hello", require=("hello",)))
        await watcher.wait_for("succeeded")
        [listed] = (await owner.get("/api/tasks"))["items"]
    assert watcher.kinds == ["queued", "running", "drafting", "decision", "verdict", "succeeded"]
    last = watcher.events[-1]["task"]
    assert (last["state"], last["prompt"], last["model"]) == ("succeeded", "say hello", "echo")
    assert last == listed, "events contain the row of the list"


async def test_missed_events_are_sent_from_the_last_cursor(app: KairosApp):
    """A client that reconnects with a new ticket and its last cursor receives every event exactly once."""
    async with signed_in_api_of(app) as owner:
        async with watching(owner) as watcher:
            await watcher.wait_for_hello()
            await app.submit("first")
            await watcher.wait_for("queued")
            cursor = watcher.cursor
        missed = [str(await app.submit(f"missed {number}")) for number in range(3)]
        async with watching(owner, after=cursor) as watcher:
            await eventually(lambda: len(watcher.events) == 3, why="the missed events arrive")
            live = str(await app.submit("live"))
            await eventually(lambda: len(watcher.events) == 4, why="the new event arrives")
    assert [event["task_id"] for event in watcher.events] == [*missed, live]


async def test_running_answer_is_streamed_before_the_verdict(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=TEXT, tokens_per_s=20))
    async with app.working(), signed_in_api_of(app, run_background=False) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        task_id = str(await app.submit("count"))
        await watcher.wait_for("succeeded")
        await eventually(lambda: shown(watcher.deltas) == TEXT, why="the whole answer is shown")
    assert len(watcher.deltas) > 2, "the answer arrives in several deltas"
    assert {(d["task_id"], d["attempt"], d["draft"]) for d in watcher.deltas} == {(task_id, 1, 1)}
    first_delta, verdict = watcher.received.index(watcher.deltas[0]), watcher.kinds.index("verdict")
    assert first_delta < watcher.received.index(watcher.events[verdict])


async def test_project_may_withhold_answers_until_the_verdict(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=TEXT, tokens_per_s=50))
    async with app.database.project(app.project_id, app.user_id) as session:
        await session.execute(update(ProjectRow).values(settings={"hold_answers": True}))
    async with app.working(), signed_in_api_of(app, run_background=False) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        await app.submit("count")
        await watcher.wait_for("succeeded")
    assert watcher.deltas == []


async def test_ticket_opens_only_one_socket(app: KairosApp):
    async with signed_in_api_of(app) as owner:
        ticket = (await owner.post("/api/events/ticket"))["ticket"]
        async with watching(owner, ticket=ticket) as watcher:
            await watcher.wait_for_hello()
        async with watching(owner, ticket=ticket) as second:
            assert await second.closed() == 4401
    assert second.received == []


def shown(deltas: list[dict]) -> str:
    """Return the text that a client shows: each delta is placed at its offset; offset 0 restarts the text."""
    text = ""
    for delta in deltas:
        text = text[: delta["offset"]] + delta["text"]
    return text
