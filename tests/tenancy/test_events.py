"""A receives neither the events nor the running answers of B, whatever cursor A sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kairos import redis_keys
from kairos.tenancy import ProjectId, UserId
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.watching import signed_in_api_of, watching, with_session

ANSWER = "b's answer in several words, none of which a may hear"


async def test_events_and_answers_stay_in_their_project(app: KairosApp, models: ModelServer):
    models.add(ScriptedModel("echo", answer=ANSWER, tokens_per_s=30))
    stranger_project, stranger = await new_project(app.parts, "A")
    async with app.working(), signed_in_api_of(app, run_background=False) as b:
        a, _ = await with_session(app.parts, b, stranger, stranger_project)
        async with watching(a, after="0-0") as of_a, watching(b) as of_b:
            await of_a.wait_for_hello()
            await of_b.wait_for_hello()
            await app.finished(await app.submit("b's question"))
            await of_b.wait_for("succeeded")
            await eventually(lambda: of_b.deltas, why="B receives its running answer")
            pubsub = app.parts.api.events._pubsub
            delta = b'{"type":"delta","task_id":"x","attempt":1,"draft":1,"offset":0,"text":"end"}'
            await pubsub.publish(redis_keys.deltas_channel(stranger_project), delta)
            await eventually(lambda: of_a.deltas, why="A receives its own delta")
            async with watching(a, after=of_b.events[0]["cursor"]) as with_foreign_cursor:
                await with_foreign_cursor.wait_for_hello()
                own = await owned_task(app, stranger_project, stranger)
                await with_foreign_cursor.wait_for("queued")
                await of_a.wait_for("queued")
    assert {event["task_id"] for event in (*of_a.events, *with_foreign_cursor.events)} == {own}
    assert [delta["text"] for delta in of_a.deltas] == ["end"]
    assert own not in {event["task_id"] for event in of_b.events}
    assert "end" not in [delta["text"] for delta in of_b.deltas]


async def owned_task(app: KairosApp, project_id: ProjectId, user_id: UserId) -> str:
    other = KairosApp(app.parts, app.models, project_id, user_id)
    # `not_before` lies in the future, so that the task is committed but not run.
    return str(await other.submit("a's own", not_before=datetime.now(UTC) + timedelta(days=1)))
