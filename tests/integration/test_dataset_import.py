"""Imports over HTTP: rows are identified by id or content, one import at a time, in few statements."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from kairos.db.models import DatasetImportRow, SampleRow, SampleState
from kairos.db.repositories import dataset_imports
from kairos.fine_tuning.dataset.formats.records import records
from kairos.orchestration.dataset import dataset_import
from kairos.orchestration.dataset.samples import SampleSource, record
from kairos.tenancy import new_id
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.people import new_project_in
from tests.kit.statements import counted

COUNTS = ("new", "updated", "unchanged", "refused")


@pytest.fixture
async def ada(app: KairosApp, anybody: Caller) -> Caller:
    return await signed_in(app.parts, anybody, app.user_id, app.project_id)


async def another(app: KairosApp, caller: Caller) -> Caller:
    """An owner of another project."""
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


async def test_sending_an_import_again_changes_nothing(ada: Caller):
    rows = [row("q", "one"), row("q", "two"), row("q", "two", rejected="three")]
    assert counts(await send(ada, *rows)) == (3, 0, 0, 0)
    assert counts(await send(ada, *rows)) == (0, 0, 3, 0)
    assert [text for text, _ in await answers(ada)] == ["one", "two", "two"]


async def test_an_export_corrected_elsewhere_updates_its_rows(ada: Caller):
    await send(ada, row("Capital of Italy?", "Milan", rejected="Paris"), row("q", "a"))
    (line, other) = await exported(ada)
    line["messages"][-1]["content"] = "Rome"
    assert counts(await send(ada, line, other, approve=True)) == (0, 2, 0, 0)
    assert await answers(ada) == [("Rome", "approved"), ("a", "approved")]
    assert counts(await send(ada, line, other, approve=True)) == (0, 0, 2, 0)
    line["messages"][-1]["content"] = "Roma"
    assert counts(await send(ada, line)) == (0, 1, 0, 0), "corrected further in the same file"
    assert ("Roma", "corrected") in await answers(ada)


async def test_an_import_can_be_undone_row_by_row(ada: Caller):
    await send(ada, row("q", "Milan"))
    (line,) = await exported(ada)
    line["messages"][-1]["content"] = "Rome"
    await send(ada, line)
    (shown,) = (await ada.get("/api/dataset"))["items"]
    undone = await ada.post(f"/api/dataset/{shown['id']}/undo")
    assert (undone.status, undone["corrected_output"]) == (200, "Milan")


async def test_a_row_that_a_person_changed_after_the_export_is_not_overwritten(ada: Caller):
    await send(ada, row("q", "Milan"))
    (line,) = await exported(ada)
    (shown,) = (await ada.get("/api/dataset"))["items"]
    change = {"version": 1, "corrected_output": "Turin"}
    assert (await ada.call("PATCH", f"/api/dataset/{shown['id']}", json=change)).status == 200
    line["messages"][-1]["content"] = "Rome"
    reply = await send(ada, line)
    assert counts(reply) == (0, 0, 0, 1)
    assert "changed in Kairos after the export (version 2, exported 1)" in reply["refusals"][0]["reason"]
    assert await answers(ada) == [("Turin", "corrected")]


async def test_an_export_comes_back_by_way_of_another_project(app: KairosApp, ada: Caller):
    """The row keeps its id there, so that corrections made there find it."""
    await send(ada, row("Capital of Italy?", "Milan"))
    (shown,) = (await ada.get("/api/dataset"))["items"]
    for version in (1, 2):  # newer here than the copy will ever be there
        await ada.call("PATCH", f"/api/dataset/{shown['id']}", json={"version": version, "reason": f"r{version}"})
    elsewhere = await another(app, ada)
    await send(elsewhere, *await exported(ada))
    (there,) = await exported(elsewhere)
    there["messages"][-1]["content"] = "Rome"
    await send(elsewhere, there)
    assert counts(await send(ada, *await exported(elsewhere))) == (0, 1, 0, 0)
    assert await answers(ada) == [("Rome", "corrected")]


async def test_an_id_that_a_file_names_twice_loses_no_answer(ada: Caller):
    await send(ada, row("q", "one"))
    (line,) = await exported(ada)
    second = {**line, "messages": row("q", "two")["messages"]}
    assert counts(await send(ada, line, second)) == (1, 0, 1, 0)
    assert [text for text, _ in await answers(ada)] == ["one", "two"]


async def test_the_right_answer_of_an_open_fault_fills_it(app: KairosApp, ada: Caller):
    fault = {"prompt": [{"role": "user", "content": "q"}], "faulty_output": "wrong", "reason": "r"}
    async with app.database.project(app.project_id) as session:
        await record(session, SampleRow(project_id=app.project_id, id=new_id(), **fault), SampleSource.GUARDIAN)
    assert counts(await send(ada, row("q", "right", rejected="wrong"))) == (0, 1, 0, 0)
    assert counts(await send(ada, row("q", "also right", rejected="wrong"))) == (1, 0, 0, 0)
    assert [text for text, _ in await answers(ada)] == ["also right", "right"]


async def test_a_fault_that_was_imported_with_its_answer_is_counted_there(app: KairosApp, ada: Caller):
    await send(ada, row("q", "right", rejected="wrong"), row("q", "also right", rejected="wrong"))
    fault = {"prompt": [{"role": "user", "content": "q"}], "faulty_output": "wrong", "reason": "r"}
    for _ in range(2):
        async with app.database.project(app.project_id) as session:
            await record(session, SampleRow(project_id=app.project_id, id=new_id(), **fault), SampleSource.GUARDIAN)
    assert sorted(one["seen"] for one in (await ada.get("/api/dataset"))["items"]) == [1, 3]


async def test_what_a_person_held_out_or_rejected_stays_so(app: KairosApp, ada: Caller):
    await send(ada, row("q", "held"), row("q", "no"))
    for one in (await ada.get("/api/dataset"))["items"]:
        state = "held_out" if one["corrected_output"] == "held" else "rejected"
        await ada.call("PATCH", f"/api/dataset/{one['id']}", json={"version": 1, "state": state})
    assert counts(await send(ada, row("q", "held"), row("q", "no"), approve=True)) == (0, 0, 2, 0)
    assert await answers(ada) == [("held", "held_out"), ("no", "rejected")]


async def test_many_answers_to_one_prompt_are_all_kept_and_found_again(ada: Caller):
    rows = [row("q", f"answer {number}") for number in range(1200)]
    assert counts(await send(ada, *rows)) == (1200, 0, 0, 0)
    assert counts(await send(ada, *rows)) == (0, 0, 1200, 0)


async def test_a_second_import_into_the_project_is_refused_until_the_first_has_ended(app: KairosApp, ada: Caller):
    project_id, user_id = app.project_id, app.user_id
    async with dataset_import.slot(app.database, project_id, user_id):
        second = await ada.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")))
        assert (second.status, second["code"]) == (409, "import_running")
        assert "send this one again" in second["detail"]
        elsewhere = await another(app, ada)
        assert counts(await send(elsewhere, row("q", "a"))) == (1, 0, 0, 0)
    assert counts(await send(ada, row("q", "a"))) == (1, 0, 0, 0)


async def test_the_slot_of_a_daemon_that_died_is_free_after_a_while(app: KairosApp, ada: Caller):
    async with app.database.project(app.project_id) as session:
        assert await dataset_imports.acquire_slot(session, app.project_id, new_id())
    assert (await ada.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")))).status == 409
    async with app.database.project(app.project_id) as session:
        past = DatasetImportRow.held_until - dataset_imports.HOLD * 2
        await session.execute(update(DatasetImportRow).values(held_until=past))
    assert counts(await send(ada, row("q", "a"))) == (1, 0, 0, 0)


async def test_an_import_whose_slot_was_taken_meanwhile_writes_nothing(app: KairosApp, ada: Caller):
    async with dataset_import.slot(app.database, app.project_id, app.user_id) as slot:
        async with app.database.project(app.project_id) as session:
            await session.execute(update(DatasetImportRow).values(holder=new_id()))
        with pytest.raises(dataset_import.ImportRunning):
            await dataset_import.import_records(slot, records(json.dumps(row("q", "a")).encode()), approve=False)
    assert await answers(ada) == []


async def test_more_rows_than_a_request_may_have_are_refused_whole(ada: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset_import, "MAX_ROWS", 2)
    body = "\n".join(json.dumps(row("q", str(number))) for number in range(3))
    reply = await ada.call("POST", "/api/dataset/import", data=body)
    assert (reply.status, reply["code"]) == (413, "too_many_rows")
    assert await answers(ada) == []


async def test_no_connection_is_held_while_the_client_sends(app: KairosApp, ada: Caller):
    """More slow uploads than the pool has connections, each into a project of its own."""
    started, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slowly():
        yield json.dumps(row("q", "a")).encode()
        started.release()
        await go_on.wait()

    callers = [await another(app, ada) for _ in range(app.parts.settings.database.pool_size + 2)]
    uploads = [asyncio.create_task(c.call("POST", "/api/dataset/import", data=slowly())) for c in callers]
    async with asyncio.timeout(30):
        for _ in uploads:
            await started.acquire()
        assert (await ada.get("/api/dataset/stats")).status == 200
    go_on.set()
    assert [(await upload).status for upload in uploads] == [200] * len(uploads)


async def test_an_import_takes_a_few_statements_for_each_batch(app: KairosApp, ada: Caller):
    rows = [row(f"q {number}", "a") for number in range(dataset_import.BATCH_ROWS * 2)]
    with counted(app.database) as few:
        await send(ada, *rows[:1])
    with counted(app.database) as many:
        await send(ada, *rows)
    with counted(app.database) as again:
        await send(ada, *rows, approve=True)
    assert len(many) <= len(few) + 8
    assert len(again) <= len(few) + 8


async def test_words_are_found_in_prompts(ada: Caller):
    await send(ada, row('Say "hello"\nto 100%', "a"), row("other", "b"))
    for words, found in {'say "HELLO"\nto': 1, "100%": 1, "user": 0, "content": 0, "100_": 0, "OTHER": 1}.items():
        reply = await ada.call("GET", "/api/dataset", params={"q": words})
        assert len(reply["items"]) == found, words


async def test_a_json_array_with_bom_and_crlf_is_imported(ada: Caller):
    body = (
        b"\xef\xbb\xbf" + json.dumps([row("q", "a"), {"x": 1}, row("q", "b")], indent=2).replace("\n", "\r\n").encode()
    )
    reply = await ada.call("POST", "/api/dataset/import", data=body)
    assert counts(reply) == (2, 0, 0, 1)
    (refusal,) = reply["refusals"]
    assert body.decode("utf-8-sig").split("\r\n")[refusal["line"]].strip() == '"x": 1'


@pytest.mark.parametrize("body", ["", "\n\n", "[]", "\ufeff"])
async def test_an_import_without_rows_is_refused(ada: Caller, body: str):
    reply = await ada.call("POST", "/api/dataset/import", data=body.encode())
    assert (reply.status, reply["code"]) == (422, "invalid_input")


async def test_a_utf_16_file_is_named(ada: Caller):
    reply = await ada.call("POST", "/api/dataset/import", data=json.dumps(row("q", "a")).encode("utf-16"))
    assert (reply.status, "UTF-8" in reply["detail"]) == (422, True)


async def test_imported_rows_are_looked_at_for_secrets(app: KairosApp, ada: Caller):
    leak = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    await send(ada, row("q", leak), approve=True)
    (shown,) = (await ada.get("/api/dataset"))["items"]
    assert [secret["kind"] for secret in shown["secrets"]] == ["a GitHub token"]
    assert await exported(ada, SampleState.APPROVED) == []
