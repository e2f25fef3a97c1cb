"""What a page that watches a project sees, and what it never misses. Read from top to bottom."""

from __future__ import annotations

from sqlalchemy import update

from kairos.db.models import ProjectRow
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.watching import signed_in_api_of, watching

WORDS = "one two three four five six seven eight nine ten"


async def test_watcher_receives_every_event_of_a_task(app: KairosApp):
    async with app.working(), signed_in_api_of(app, alone=False) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        await app.finished(await app.submit("say hello", require=("hello",)))
        await watcher.wait_for("succeeded")
    assert watcher.kinds == ["queued", "running", "drafting", "decision", "verdict", "succeeded"]
    last = watcher.events[-1]["task"]
    assert (last["state"], last["title"], last["model"]) == ("succeeded", "say hello", "echo")


async def test_missed_events_are_sent_from_the_last_cursor(app: KairosApp):
    """A page that lost its connection comes back with a new ticket and misses nothing, and hears nothing twice."""
    async with signed_in_api_of(app) as owner:
        async with watching(owner) as watcher:
            await watcher.wait_for_hello()
            await app.submit("first")
            await watcher.wait_for("queued")
            cursor = watcher.cursor
        missed = [str(await app.submit(f"missed {number}")) for number in range(3)]
        async with watching(owner, after=cursor) as watcher:
            await eventually(lambda: len(watcher.events) == 3, why="what was missed comes")
            live = str(await app.submit("live"))
            await eventually(lambda: len(watcher.events) == 4, why="what is new comes")
    assert [event["task_id"] for event in watcher.events] == [*missed, live]


async def test_running_answer_is_streamed_before_the_verdict(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=WORDS, tokens_per_s=20))
    async with app.working(), signed_in_api_of(app, alone=False) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        task_id = str(await app.submit("count"))
        await watcher.wait_for("succeeded")
        await eventually(lambda: shown(watcher.deltas) == WORDS, why="all of the answer was shown")
    assert len(watcher.deltas) > 2, "piece by piece"
    assert {(d["task_id"], d["attempt"], d["draft"]) for d in watcher.deltas} == {(task_id, 1, 1)}
    first_delta, verdict = watcher.received.index(watcher.deltas[0]), watcher.kinds.index("verdict")
    assert first_delta < watcher.received.index(watcher.events[verdict])


async def test_project_may_withhold_answers_until_the_verdict(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=WORDS, tokens_per_s=50))
    async with app.database.project(app.project_id, app.user_id) as session:
        await session.execute(update(ProjectRow).values(settings={"hold_answers": True}))
    async with app.working(), signed_in_api_of(app, alone=False) as owner, watching(owner) as watcher:
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
    """What a page shows: each piece stands at its offset, and one at 0 begins anew."""
    text = ""
    for delta in deltas:
        text = text[: delta["offset"]] + delta["text"]
    return text
