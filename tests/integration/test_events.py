"""Every event is sent exactly once: after late commits, without Redis, by other daemons, to slow listeners."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select, text, update

from kairos.api.live import event_feed, event_listener, event_tail
from kairos.api.live.event_tail import ProjectTail
from kairos.background_tasks import end
from kairos.db.models import EventKind, TaskEventRow, TaskRow, TaskState
from kairos.db.repositories.tasks import history
from kairos.embedded import Addresses
from tests.kit.api import Caller
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.valkey import ValkeyServer
from tests.kit.watching import Watcher, signed_in_api, signed_in_api_of, watching


@pytest.fixture
async def owner(app: KairosApp) -> AsyncIterator[Caller]:
    async with signed_in_api_of(app) as caller:
        yield caller


def tail_of(app: KairosApp) -> ProjectTail:
    return app.parts.api.events._tails[app.project_id]


async def write(app: KairosApp, task_id: Any, kind: EventKind, **data: Any) -> None:
    """Write one event in a transaction of its own."""
    async with app.database.project(app.project_id) as session:
        await history.add_event(session, app.project_id, task_id, 1, kind, data)
    app.parts.orchestration.submissions._notices.notify(app.project_id)


async def in_order(app: KairosApp) -> list[int]:
    """Return the ids of all events of the project in the order in which they must be sent."""
    async with app.database.project(app.project_id) as session:
        rows = await session.execute(select(TaskEventRow.id).order_by(TaskEventRow.xact, TaskEventRow.id))
    return list(rows.scalars())


async def test_event_that_commits_late_is_not_skipped(app: KairosApp, owner: Caller):
    """The slow transaction took its id first. While it is open, later events are held back."""
    task_id = await app.submit()
    async with watching(owner) as watcher:
        await watcher.wait_for_hello()
        async with app.database.project(app.project_id) as slow:
            await history.add_event(slow, app.project_id, task_id, 1, EventKind.DRAFTING, {})
            await write(app, task_id, EventKind.DECISION)
            before = tail_of(app).reads
            await eventually(lambda: tail_of(app).reads >= before + 3, why="the tail polls several times")
            assert watcher.kinds == []
        await watcher.wait_for(EventKind.DRAFTING, EventKind.DECISION, within_s=3)
    assert watcher.kinds == [EventKind.DRAFTING, EventKind.DECISION]


async def test_transaction_of_another_project_delays_events_only_while_it_lasts(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    """Nothing notifies the tail when that transaction ends: the tail reads again without waiting for its next poll."""
    monkeypatch.setattr(event_tail, "POLL_S", 60)
    task_id = await app.submit()
    async with watching(owner) as watcher:
        await watcher.wait_for_hello()
        async with app.database._sessions.begin() as other_session:
            await other_session.execute(text("select pg_current_xact_id()"))
            await write(app, task_id, EventKind.JUDGED)
            await eventually(lambda: tail_of(app).reads > 2, why="the tail reads")
        await watcher.wait_for(EventKind.JUDGED, within_s=3)


async def test_every_commit_of_an_event_sends_a_notice(
    app: KairosApp, owner: Caller, models: ModelServer, monkeypatch: pytest.MonkeyPatch
):
    """Submission, cancellation, retry, agent, end and sweeper: without polling, each event arrives by its notice."""
    monkeypatch.setattr(event_tail, "POLL_S", 60)
    submissions, worker = app.parts.orchestration.submissions, app.parts.orchestration.worker
    models.add(ScriptedModel("echo", answer="slow", first_token_s=60))

    async def hang() -> None:
        """Renew no lease: a renewal would extend the lease that the test lets expire."""

    monkeypatch.setattr(worker._leases, "renew", hang)
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(watching(owner))
        await watcher.wait_for_hello()
        task_id = await app.submit()
        await watcher.wait_for("queued", within_s=5)
        await app.cancel(task_id)
        await watcher.wait_for("cancelled", within_s=5)
        await submissions.retry(app.project_id, task_id)
        await eventually(lambda: watcher.kinds.count("queued") == 2, 5, "the retry arrives")
        running = asyncio.create_task(worker.run(draining := asyncio.Event(), hurry := asyncio.Event()))
        stack.push_async_callback(end, running)  # this worker must not run the next test's tasks
        await watcher.wait_for("decision", within_s=5)
        async with app.database.project(app.project_id) as session:
            expired = update(TaskRow).where(TaskRow.id == task_id, TaskRow.state == TaskState.RUNNING)
            await session.execute(expired.values(lease_until=func.now() - text("interval '1 minute'"), attempts=99))

        async def dead() -> bool:
            """Sweep repeatedly, as a daemon does: no lease expires before PostgreSQL itself has run for one lease."""
            await app.parts.orchestration.sweeper.sweep()
            return "dead" in watcher.kinds

        await eventually(dead, 10, "the sweeper's event arrives")
        models.add(ScriptedModel("echo", answer="quick"))
        await app.submit()
        await watcher.wait_for("succeeded", within_s=5)
        draining.set()
        hurry.set()
        await running


async def test_every_event_arrives_without_redis(addresses: Addresses, models: ModelServer, own_valkey: ValkeyServer):
    async with (
        open_app(replace(addresses, redis_url=own_valkey.url), models) as app,
        signed_in_api_of(app) as owner,
        watching(owner) as watcher,
    ):
        await watcher.wait_for_hello()
        submitted = [str(await app.submit("before"))]
        await eventually(lambda: len(watcher.events) == 1, why="the event arrives with Redis")
        own_valkey.kill()
        submitted += [str(await app.submit(f"without {number}")) for number in range(3)]
        await eventually(lambda: len(watcher.events) == 4, 5, "the events arrive without Redis")
        own_valkey.start()
        submitted.append(str(await app.submit("after")))
        await eventually(lambda: len(watcher.events) == 5, why="the event arrives when Redis is back")
    assert [event["task_id"] for event in watcher.events] == submitted


async def test_client_resumes_at_another_daemon(addresses: Addresses, models: ModelServer, app: KairosApp):
    """The cursor is a position in the database: any daemon resumes from it, and receives events that others commit."""
    async with signed_in_api_of(app) as owner, watching(owner) as watcher:
        await watcher.wait_for_hello()
        submitted = [str(await app.submit("at the first"))]
        await eventually(lambda: watcher.events, why="the first daemon sends the event")
        cursor = watcher.cursor
    submitted.append(str(await app.submit("between")))
    async with (
        open_app(addresses, models) as second,
        signed_in_api(second.parts, app.user_id, app.project_id) as owner,
        watching(owner, after=cursor) as watcher,
    ):
        await eventually(lambda: len(watcher.events) == 1, why="the missed event arrives")
        submitted.append(str(await app.submit("of the first, heard at the second")))
        await eventually(lambda: len(watcher.events) == 2, why="the live event arrives")
    assert [event["task_id"] for event in watcher.events] == submitted[1:]


async def test_many_sockets_need_one_read(app: KairosApp, owner: Caller):
    task_id = await app.submit()
    watchers: list[Watcher] = []

    async def watch(done: asyncio.Event) -> None:
        async with watching(owner) as watcher:
            watchers.append(await watcher.wait_for_hello())
            await done.wait()

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(watch(done))
        await eventually(lambda: len(watchers) == 30, why="all are connected")
        await write(app, task_id, EventKind.DRAFTING)
        await eventually(
            lambda: all(EventKind.DRAFTING in watcher.kinds for watcher in watchers), why="all have joined"
        )
        before = tail_of(app).reads
        await write(app, task_id, EventKind.DECISION)
        await eventually(lambda: all(EventKind.DECISION in watcher.kinds for watcher in watchers), why="all receive it")
        assert tail_of(app).reads - before < 5, "one read for the event, and the polls of a second or two"
        done.set()
    await eventually(lambda: not app.parts.api.events._tails, why="the tail ends with its last listener")


async def test_reconnecting_client_receives_each_event_once_under_load(app: KairosApp, owner: Caller):
    task_id = await app.submit()
    cursor, received, writing = "0-0", [], True

    async def writer(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(40):
            async with app.database.project(app.project_id) as session:
                await history.add_event(
                    session, app.project_id, task_id, 1, EventKind.DRAFTING, {"writer": seed, "number": number}
                )
                await asyncio.sleep(chance.random() * 0.03)
            app.parts.orchestration.submissions._notices.notify(app.project_id)

    async def watcher() -> None:
        nonlocal cursor
        while writing or len(received) < 121:
            async with watching(owner, after=cursor) as watch:
                await eventually(lambda: len(watch.events) >= min(7, 121 - len(received)), why="more events arrive")
            received.extend(event["id"] for event in watch.events)
            cursor = watch.cursor

    async with asyncio.TaskGroup() as group:
        watching_task = group.create_task(watcher())
        writers = [group.create_task(writer(seed)) for seed in range(3)]
        await asyncio.wait(writers)
        writing = False
        await watching_task
    assert received == await in_order(app)


async def test_client_that_does_not_read_is_disconnected_without_delaying_others(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_listener, "WAITING", 10)
    feed = app.parts.api.events
    task_id = await app.submit()
    ticket = (await owner.post("/api/events/ticket"))["ticket"]
    async with owner.connect("/api/events", params={"ticket": ticket}) as socket:
        await eventually(lambda: feed._tails and not tail_of(app)._joining, why="the listener has joined")
        for _ in range(80):
            await write(app, task_id, EventKind.DRAFTING, text="x" * 300_000)
        await eventually(lambda: not feed._listeners, why="the listener is removed")
        async for _ in socket:
            pass
        assert socket.close_code == 4408


async def test_invalid_cursor_is_refused(owner: Caller):
    for bad in ("yesterday", "1", "-1-1", "99999999999999999999-1", "1-9999999999999999999"):
        async with watching(owner, after=bad) as watcher:
            assert await watcher.closed() == 4400
        assert watcher.received == []


async def test_only_pages_of_kairos_may_open_a_socket(app: KairosApp, owner: Caller):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with watching(owner, origin="https://elsewhere.test"):
            pass
    assert refused.value.status == 403
    own = str(owner._session._base_url).rstrip("/")
    async with watching(owner, origin=own) as watcher:
        await watcher.wait_for_hello()


async def test_quiet_socket_is_pinged(app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_feed, "PING_S", 0.1)
    async with watching(owner) as watcher:
        await eventually(lambda: {"type": "ping"} in watcher.received, why="a ping arrives")
