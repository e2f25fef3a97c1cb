"""Export of a project: all of its rows, none of other projects, and no credential."""

from __future__ import annotations

import asyncio
import io
import json
import random
import string
import tarfile
from contextlib import AsyncExitStack
from typing import Any, cast

import aiohttp
import pytest
from sqlalchemy import QueuePool, insert

from kairos import __version__
from kairos.db.models import PROJECT_OWNED, DatasetImportRow, TaskEventRow
from kairos.db.repositories.projects import export
from kairos.embedded import Addresses
from kairos.orchestration.projects import project_export
from tests.kit.api import Caller, Reply
from tests.kit.conditions import eventually
from tests.kit.filling import fill, rows_of
from tests.kit.kairos_app import KairosApp, new_project


def unpacked(reply: Reply) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return the manifest and the rows of each table."""
    with tarfile.open(fileobj=io.BytesIO(reply.body), mode="r:gz") as tar:
        texts = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
        assert tar.getnames()[-1] == "manifest.json"
    manifest = json.loads(texts.pop("manifest.json"))
    tables = {
        name.removesuffix(".jsonl"): [json.loads(line) for line in text.splitlines()] for name, text in texts.items()
    }
    return manifest, tables


async def test_export_contains_every_row_of_the_project_and_no_other(
    app: KairosApp, owner: Caller, addresses: Addresses
):
    task_id = await fill(app.database, app.project_id, app.user_id)
    other = await new_project(app.parts)
    other_task = await fill(app.database, *other)
    reply = await owner.get(f"/api/projects/{app.project_id}/export")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/gzip")
    manifest, tables = unpacked(reply)
    held = rows_of(addresses, app.project_id)
    assert held[DatasetImportRow.__tablename__] == 1
    assert DatasetImportRow.__tablename__ not in tables, "it is a lock of this installation"
    for row in (row for row in PROJECT_OWNED if row is not DatasetImportRow):
        assert len(tables[row.__tablename__]) == held[row.__tablename__] == 1, row.__tablename__
    assert manifest["counts"] == {name: len(rows) for name, rows in tables.items()}
    assert (manifest["kairos"], manifest["project"]["name"]) == (__version__, "Test")
    assert tables["tasks"][0]["id"] == str(task_id)
    assert [person["email"] for person in tables["people"]] == [f"{app.user_id}@test"]
    assert "project.exported" in [entry["action"] for entry in tables["audit_log"]]
    everything = json.dumps([manifest, tables])
    assert str(other[0]) not in everything
    assert str(other_task) not in everything


async def test_export_contains_no_credential(app: KairosApp, owner: Caller):
    await fill(app.database, app.project_id, app.user_id)
    made = await owner.post("/api/keys", {"name": "k", "scopes": ["tasks:read"]})
    link = (await owner.post("/api/invitations", {"role": "viewer"}))["link"]
    _, tables = unpacked(await owner.get(f"/api/projects/{app.project_id}/export"))
    columns = {name for rows in tables.values() for row in rows for name in row}
    assert not {name for name in columns if "hash" in name} - {
        "request_hash",
        "rows_hash",
    }  # hashes of a task's request and of a run's training rows
    assert made["key"] not in json.dumps(tables)
    assert link.split("#")[1] not in json.dumps(tables)


async def test_pages_contain_every_row_once(app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "PAGE", 10)
    task_id = await fill(app.database, app.project_id, app.user_id)
    event = {"project_id": app.project_id, "task_id": task_id, "attempt": 1}
    async with app.database.project(app.project_id) as session:
        await session.execute(insert(TaskEventRow), [{**event, "kind": f"k{n}"} for n in range(49)])
    for _ in range(25):
        await owner.post("/api/tasks", {"prompt": "x"})
    manifest, tables = unpacked(await owner.get(f"/api/projects/{app.project_id}/export"))
    assert len({row["id"] for row in tables["task_events"]}) == manifest["counts"]["task_events"] == 50 + 25
    assert len({row["id"] for row in tables["tasks"]}) == manifest["counts"]["tasks"] == 26


async def test_rows_added_during_an_export_are_not_in_it(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    """The export reads one snapshot, so the task of every event is included."""
    pages = export.pages

    async def slowly(session, table, project_id):
        await app.submit("meanwhile")
        async for page in pages(session, table, project_id):
            yield page

    monkeypatch.setattr(export, "pages", slowly)
    await app.submit("before")
    _, tables = unpacked(await owner.get(f"/api/projects/{app.project_id}/export"))
    assert [row["prompt"] for row in tables["tasks"]] == ["before"]
    assert len(tables["task_events"]) == 1


async def test_first_byte_is_sent_before_the_last_table_is_read(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    """A client that stops reading holds no connection."""
    pages, resume = export.pages, asyncio.Event()

    async def held_up(session, table, project_id):
        async for page in pages(session, table, project_id):
            yield page
        if table is export.TABLES[-1]:
            await resume.wait()

    monkeypatch.setattr(export, "pages", held_up)
    noise = "".join(random.Random(1).choices(string.printable, k=400_000))
    await owner.post("/api/tasks", {"prompt": noise})
    pieces = app.parts.orchestration.exports.stream(app.project_id)
    async with asyncio.timeout(30):
        first = await anext(pieces)
        resume.set()
        size = app.parts.settings.database.pool_size
        async with AsyncExitStack() as held:
            await eventually(
                lambda: cast(QueuePool, app.database._app.pool).checkedout() == 0,
                why="the export has returned its connection",
            )
            for _ in range(size):
                await held.enter_async_context(app.database.project(app.project_id))
        whole = first + b"".join([piece async for piece in pieces])
    manifest, _ = unpacked(Reply(200, {}, whole))
    assert manifest["counts"]["tasks"] == 1


async def test_failing_export_breaks_off_the_response(app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch):
    async def failing(session, table, project_id):
        raise RuntimeError("the disk is full")
        yield

    monkeypatch.setattr(export, "pages", failing)
    with pytest.raises(aiohttp.ClientPayloadError):
        await owner.get(f"/api/projects/{app.project_id}/export")


async def test_exports_beyond_the_limit_of_a_daemon_are_refused(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(project_export, "WAIT_S", 0.1)
    slots = app.parts.orchestration.exports._slots
    async with slots, slots:
        reply = await owner.get(f"/api/projects/{app.project_id}/export")
    assert (reply.status, reply["code"]) == (503, "exports_busy")
    assert (await owner.get(f"/api/projects/{app.project_id}/export")).status == 200
