"""Imports over HTTP: rows are identified by id or content, one import runs at a time, with few statements."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from kairos.db.models import DatasetImportRow, SampleRow, SampleSource, SampleState
from kairos.db.repositories.dataset import dataset_imports
from kairos.fine_tuning.dataset.formats.records import records
from kairos.orchestration.dataset import dataset_import
from kairos.orchestration.dataset.samples import record
from kairos.tenancy import new_id
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.people import new_project_in
from tests.kit.statements import counted

COUNTS = ("new", "updated", "unchanged", "refused")


@pytest.fixture
async def owner(app: KairosApp, anonymous: Caller) -> Caller:
    return await signed_in(app.parts, anonymous, app.user_id, app.project_id)


async def owner_of_another_project(app: KairosApp, caller: Caller) -> Caller:
    """Return a caller for the owner of another project."""
    project_id, user_id = await new_project_in(app.database)
    return await signed_in(app.parts, caller, user_id, project_id)


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


async def send(caller: Caller, *rows: dict[str, Any], approve: bool = False) -> Reply:
    body = "\n".join(json.dumps(one) for one in rows)
    reply = await caller.call("POST", f"/api/dataset/import?approve={str(approve).lower()}", data=body)
    assert reply.status == 200, reply.body
    return reply


def counts(reply: Reply) -> tuple[int, ...]:
    return tuple(reply[name] for name in COUNTS)


async def exported(caller: Caller, state: str = "corrected") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await caller.get(f"/api/dataset/export?state={state}")).body.splitlines()]


async def answers(caller: Caller) -> list[tuple[str, str]]:
    items = (await caller.get("/api/dataset?limit=200"))["items"]
    return sorted((one["corrected_output"], one["state"]) for one in items)


async def test_repeated_import_changes_nothing(owner: Caller):
    rows = [row("q", "one"), row("q", "two"), row("q", "two", rejected="three")]
    assert counts(await send(owner, *rows)) == (3, 0, 0, 0)
    assert counts(await send(owner, *rows)) == (0, 0, 3, 0)
    assert [text for text, _ in await answers(owner)] == ["one", "two", "two"]


async def test_import_of_a_corrected_export_updates_its_rows(owner: Caller):
    await send(owner, row("Capital of Italy?", "Milan", rejected="Paris"), row("q", "a"))
    (line, other) = await exported(owner)
    line["messages"][-1]["content"] = "Rome"
    assert counts(await send(owner, line, other, approve=True)) == (0, 2, 0, 0)
    assert await answers(owner) == [("Rome", "approved"), ("a", "approved")]
    assert counts(await send(owner, line, other, approve=True)) == (0, 0, 2, 0)
    line["messages"][-1]["content"] = "Roma"
    assert counts(await send(owner, line)) == (0, 1, 0, 0), "corrected again in the same file"
    assert ("Roma", "corrected") in await answers(owner)


async def test_import_can_be_undone_row_by_row(owner: Caller):
    await send(owner, row("q", "Milan"))
    (line,) = await exported(owner)
    line["messages"][-1]["content"] = "Rome"
    await send(owner, line)
    (shown,) = (await owner.get("/api/dataset"))["items"]
    undone = await owner.post(f"/api/dataset/{shown['id']}/undo")
    assert (undone.status, undone["corrected_output"]) == (200, "Milan")


async def test_row_changed_after_the_export_is_not_overwritten(owner: Caller):
    await send(owner, row("q", "Milan"))
    (line,) = await exported(owner)
    (shown,) = (await owner.get("/api/dataset"))["items"]
    change = {"version": 1, "corrected_output": "Turin"}
    assert (await owner.call("PATCH", f"/api/dataset/{shown['id']}", json=change)).status == 200
    line["messages"][-1]["content"] = "Rome"
    reply = await send(owner, line)
    assert counts(reply) == (0, 0, 0, 1)
    assert "changed in Kairos after the export (version 2, exported 1)" in reply["refusals"][0]["reason"]
    assert await answers(owner) == [("Turin", "corrected")]


async def test_export_can_return_through_another_project(app: KairosApp, owner: Caller):
    """The row keeps its id in the other project, so corrections made there are matched to it."""
    await send(owner, row("Capital of Italy?", "Milan"))
    (shown,) = (await owner.get("/api/dataset"))["items"]
    for version in (1, 2):  # a higher version here than the copy will have there
        await owner.call("PATCH", f"/api/dataset/{shown['id']}", json={"version": version, "reason": f"r{version}"})
    elsewhere = await owner_of_another_project(app, owner)
    await send(elsewhere, *await exported(owner))
    (there,) = await exported(elsewhere)
    there["messages"][-1]["content"] = "Rome"
    await send(elsewhere, there)
    assert counts(await send(owner, *await exported(elsewhere))) == (0, 1, 0, 0)
    assert await answers(owner) == [("Rome", "corrected")]


async def test_repeated_id_in_a_file_loses_no_answer(owner: Caller):
    await send(owner, row("q", "one"))
    (line,) = await exported(owner)
    second = {**line, "messages": row("q", "two")["messages"]}
    assert counts(await send(owner, line, second)) == (1, 0, 1, 0)
    assert [text for text, _ in await answers(owner)] == ["one", "two"]


async def test_import_completes_an_open_sample_with_the_same_rejected_answer(app: KairosApp, owner: Caller):
    fault = {"prompt": [{"role": "user", "content": "q"}], "faulty_output": "wrong", "reason": "r"}
    async with app.database.project(app.project_id) as session:
        await record(session, SampleRow(project_id=app.project_id, id=new_id(), **fault), SampleSource.GUARDIAN)
    assert counts(await send(owner, row("q", "right", rejected="wrong"))) == (0, 1, 0, 0)
    assert counts(await send(owner, row("q", "also right", rejected="wrong"))) == (1, 0, 0, 0)
    assert [text for text, _ in await answers(owner)] == ["also right", "right"]


async def test_recurring_fault_is_counted_on_the_imported_sample(app: KairosApp, owner: Caller):
    await send(owner, row("q", "right", rejected="wrong"), row("q", "also right", rejected="wrong"))
    fault = {"prompt": [{"role": "user", "content": "q"}], "faulty_output": "wrong", "reason": "r"}
    for _ in range(2):
        async with app.database.project(app.project_id) as session:
            await record(session, SampleRow(project_id=app.project_id, id=new_id(), **fault), SampleSource.GUARDIAN)
    assert sorted(one["seen"] for one in (await owner.get("/api/dataset"))["items"]) == [1, 3]


async def test_held_out_and_rejected_samples_keep_their_state(app: KairosApp, owner: Caller):
    await send(owner, row("q", "held"), row("q", "no"))
    for one in (await owner.get("/api/dataset"))["items"]:
        state = "held_out" if one["corrected_output"] == "held" else "rejected"
        await owner.call("PATCH", f"/api/dataset/{one['id']}", json={"version": 1, "state": state})
    assert counts(await send(owner, row("q", "held"), row("q", "no"), approve=True)) == (0, 0, 2, 0)
    assert await answers(owner) == [("held", "held_out"), ("no", "rejected")]


async def test_many_answers_to_one_prompt_are_kept_and_recognised(owner: Caller):
    rows = [row("q", f"answer {number}") for number in range(1200)]
    assert counts(await send(owner, *rows)) == (1200, 0, 0, 0)
    assert counts(await send(owner, *rows)) == (0, 0, 1200, 0)


async def test_second_import_into_a_project_is_refused_until_the_first_has_ended(app: KairosApp, owner: Caller):
    project_id, user_id = app.project_id, app.user_id
    async with dataset_import.slot(app.database, project_id, user_id):
        second = await owner.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")))
        assert (second.status, second["code"]) == (409, "import_running")
        assert "send this one again" in second["detail"]
        elsewhere = await owner_of_another_project(app, owner)
        assert counts(await send(elsewhere, row("q", "a"))) == (1, 0, 0, 0)
    assert counts(await send(owner, row("q", "a"))) == (1, 0, 0, 0)


async def test_import_slot_of_a_dead_daemon_expires(app: KairosApp, owner: Caller):
    async with app.database.project(app.project_id) as session:
        assert await dataset_imports.acquire_slot(session, app.project_id, new_id())
    assert (await owner.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")))).status == 409
    async with app.database.project(app.project_id) as session:
        past = DatasetImportRow.held_until - dataset_imports.HOLD * 2
        await session.execute(update(DatasetImportRow).values(held_until=past))
    assert counts(await send(owner, row("q", "a"))) == (1, 0, 0, 0)


async def test_import_that_lost_its_slot_writes_nothing(app: KairosApp, owner: Caller):
    async with dataset_import.slot(app.database, app.project_id, app.user_id) as slot:
        async with app.database.project(app.project_id) as session:
            await session.execute(update(DatasetImportRow).values(holder=new_id()))
        with pytest.raises(dataset_import.ImportRunning):
            await dataset_import.import_records(slot, records(json.dumps(row("q", "a")).encode()), approve=False)
    assert await answers(owner) == []


async def test_request_with_too_many_rows_is_refused_completely(owner: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset_import, "MAX_ROWS", 2)
    body = "\n".join(json.dumps(row("q", str(number))) for number in range(3))
    reply = await owner.call("POST", "/api/dataset/import", data=body)
    assert (reply.status, reply["code"]) == (413, "too_many_rows")
    assert await answers(owner) == []


async def test_no_connection_is_held_while_the_client_sends(app: KairosApp, owner: Caller):
    """Start more slow uploads than the pool has connections, each into its own project."""
    started, resume = asyncio.Semaphore(0), asyncio.Event()

    async def slowly():
        yield json.dumps(row("q", "a")).encode()
        started.release()
        await resume.wait()

    callers = [await owner_of_another_project(app, owner) for _ in range(app.parts.settings.database.pool_size + 2)]
    uploads = [asyncio.create_task(c.call("POST", "/api/dataset/import", data=slowly())) for c in callers]
    async with asyncio.timeout(30):
        for _ in uploads:
            await started.acquire()
        assert (await owner.get("/api/dataset/stats")).status == 200
    resume.set()
    assert [(await upload).status for upload in uploads] == [200] * len(uploads)


async def test_import_needs_few_statements_for_each_batch(app: KairosApp, owner: Caller):
    rows = [row(f"q {number}", "a") for number in range(dataset_import.BATCH_ROWS * 2)]
    with counted(app.database) as few:
        await send(owner, *rows[:1])
    with counted(app.database) as many:
        await send(owner, *rows)
    with counted(app.database) as again:
        await send(owner, *rows, approve=True)
    assert len(many) <= len(few) + 8
    assert len(again) <= len(few) + 8


async def test_search_finds_text_in_prompts(owner: Caller):
    await send(owner, row('Say "hello"\nto 100%', "a"), row("other", "b"))
    for query, found in {'say "HELLO"\nto': 1, "100%": 1, "user": 0, "content": 0, "100_": 0, "OTHER": 1}.items():
        reply = await owner.call("GET", "/api/dataset", params={"q": query})
        assert len(reply["items"]) == found, query


async def test_json_array_with_bom_and_crlf_is_imported(owner: Caller):
    body = (
        b"\xef\xbb\xbf" + json.dumps([row("q", "a"), {"x": 1}, row("q", "b")], indent=2).replace("\n", "\r\n").encode()
    )
    reply = await owner.call("POST", "/api/dataset/import", data=body)
    assert counts(reply) == (2, 0, 0, 1)
    (refusal,) = reply["refusals"]
    assert body.decode("utf-8-sig").split("\r\n")[refusal["line"]].strip() == '"x": 1'


@pytest.mark.parametrize("body", ["", "\n\n", "[]", "\ufeff"])
async def test_import_without_rows_is_refused(owner: Caller, body: str):
    reply = await owner.call("POST", "/api/dataset/import", data=body.encode())
    assert (reply.status, reply["code"]) == (422, "invalid_input")


async def test_utf_16_file_is_reported(owner: Caller):
    reply = await owner.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")).encode("utf-16"))
    assert (reply.status, "UTF-8" in reply["detail"]) == (422, True)


async def test_imported_rows_are_scanned_for_secrets(app: KairosApp, owner: Caller):
    leak = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    await send(owner, row("q", leak), approve=True)
    (shown,) = (await owner.get("/api/dataset"))["items"]
    assert [secret["kind"] for secret in shown["secrets"]] == ["a GitHub token"]
    assert await exported(owner, SampleState.APPROVED) == []
