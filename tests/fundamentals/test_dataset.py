"""Rejected drafts become samples, people correct and approve them, and approved samples are exported for training."""

from __future__ import annotations

from uuid import UUID

import orjson
import pytest

from kairos.db.models import AdapterRow, AdapterSampleRow, Role, TaskState, TrainingRunRow
from kairos.tenancy import Scope, UserId, new_id
from tests.kit.api import Caller, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer, ScriptedModel

LEAK = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2


@pytest.fixture
async def ada(app: KairosApp, anonymous: Caller) -> Caller:
    return await signed_in(app.parts, anonymous, app.user_id, app.project_id)


async def ben(app: KairosApp, anonymous: Caller) -> Caller:
    from kairos.db.repositories.access import members, people

    user_id = UserId(new_id())
    async with app.database.scope(Scope(app.project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "Ben", operator=False)
        await members.add_member(session, app.project_id, user_id, Role.MEMBER)
    return await signed_in(app.parts, anonymous, user_id, app.project_id)


async def rejected(app: KairosApp, prompt: str = "say hello") -> None:
    """Run a task whose drafts are rejected."""
    async with app.working():
        assert (await app.finished(await app.submit(prompt, require=("goodbye",)))).state == TaskState.REJECTED


async def rows(caller: Caller, query: str = "") -> list[dict]:
    return (await caller.get(f"/api/dataset{query}"))["items"]


async def test_rejection_creates_a_sample_and_repetitions_are_counted(app: KairosApp, ada: Caller):
    await rejected(app)
    first = {row["id"]: row["seen"] for row in await rows(ada)}
    await rejected(app)
    again = {row["id"]: row["seen"] for row in await rows(ada)}
    assert set(again) == set(first)
    assert sum(again.values()) == 2 * sum(first.values())
    (row, *_) = await rows(ada)
    assert (row["state"], row["source"], row["faulty_output"]) == ("open", "guardian", "hello")
    assert row["prompt"][0]["role"] == "system"
    assert "goodbye" in row["reason"]


async def test_sample_is_corrected_then_approved_then_exported(app: KairosApp, ada: Caller):
    await rejected(app)
    row = (await rows(ada))[-1]
    early = await ada.call("PATCH", f"/api/dataset/{row['id']}", json={"version": 1, "state": "approved"})
    assert (early.status, early["code"]) == (409, "nothing_to_approve")
    body = {"version": 1, "corrected_output": "goodbye"}
    corrected = await ada.call("PATCH", f"/api/dataset/{row['id']}", json=body)
    assert (corrected["state"], corrected["version"]) == ("corrected", 2)
    stale = await ada.call("PATCH", f"/api/dataset/{row['id']}", json=body)
    assert (stale.status, stale["code"]) == (409, "row_changed")
    approved = await ada.call("PATCH", f"/api/dataset/{row['id']}", json={"version": 2, "state": "approved"})
    assert approved["state"] == "approved"
    exported = await ada.get("/api/dataset/export")
    (line,) = [orjson.loads(line) for line in exported.body.splitlines()]
    assert line["messages"][-1] == {"role": "assistant", "content": "goodbye"}
    assert line["rejected"] == "hello"
    undone = await ada.post(f"/api/dataset/{row['id']}/undo")
    assert undone["state"] == "corrected"


async def test_two_people_never_get_the_same_sample(app: KairosApp, anonymous: Caller, ada: Caller):
    await rejected(app, "one")
    await rejected(app, "two")
    other = await ben(app, anonymous)
    mine, theirs = await ada.post("/api/dataset/next"), await other.post("/api/dataset/next")
    assert mine["id"] != theirs["id"]
    assert (await ada.post("/api/dataset/next"))["id"] == mine["id"], "a sample stays assigned until it is done"
    skipped = await ada.post(f"/api/dataset/next?skip={mine['id']}")
    assert skipped.status == 204 or skipped["id"] not in (mine["id"], theirs["id"])


async def test_samples_can_be_skipped_until_none_is_left(app: KairosApp, ada: Caller):
    for prompt in ("one", "two", "three"):
        await rejected(app, prompt)
    seen: list[str] = []
    while (row := await ada.post("/api/dataset/next?" + "&".join(f"skip={i}" for i in seen))).status == 200:
        assert row["id"] not in seen
        seen.append(row["id"])
    assert sorted(seen) == sorted(row["id"] for row in await rows(ada))
    assert (await ada.post("/api/dataset/next")).status == 200, "skipped samples are offered again"


async def test_sample_lists_the_adapters_that_used_it(app: KairosApp, ada: Caller):
    await rejected(app)
    row = (await rows(ada))[-1]
    assert (await ada.get(f"/api/dataset/{row['id']}"))["adapters"] == []
    ids = {"project_id": app.project_id, "id": new_id()}
    adapter = AdapterRow(**ids, run_id=new_id(), base="qwen", version=1, path="a", sha256="0", bytes=1, manifest={})
    seen = AdapterSampleRow(
        project_id=app.project_id, adapter_id=adapter.id, sample_id=UUID(row["id"]), version=1, part="held_out"
    )
    async with app.database.project(app.project_id) as session:
        for one in (TrainingRunRow(project_id=app.project_id, id=adapter.run_id, base="qwen"), adapter, seen):
            session.add(one)
            await session.flush()
    shown = (await ada.get(f"/api/dataset/{row['id']}"))["adapters"]
    assert shown == [{"id": str(adapter.id), "base": "qwen", "version": 1}]


async def test_sample_with_a_secret_is_excluded_until_a_person_clears_it(
    app: KairosApp, models: ModelServer, ada: Caller
):
    models.add(ScriptedModel("echo", answer=f"the token is {LEAK}"))
    await rejected(app)
    row = (await rows(ada))[-1]
    assert [secret["kind"] for secret in row["secrets"]] == ["a GitHub token"]
    body = {"version": 1, "corrected_output": "goodbye", "state": "approved"}
    refused = await ada.call("PATCH", f"/api/dataset/{row['id']}", json=body)
    assert (refused.status, refused["code"]) == (409, "holds_secrets")
    assert LEAK not in refused["detail"]
    assert (await ada.get("/api/dataset/stats"))["waiting_for_clearing"] == len(await rows(ada))
    assert (await ada.post(f"/api/dataset/{row['id']}/clear-secrets", {"version": 1})).status == 200
    assert (await ada.call("PATCH", f"/api/dataset/{row['id']}", json={**body, "version": 2})).status == 200


async def test_import_keeps_every_answer_and_reports_the_outcome_of_each_row(ada: Caller):
    def line(answer: str) -> bytes:
        messages = [{"role": "user", "content": "Tell a joke"}, {"role": "assistant", "content": answer}]
        return orjson.dumps({"messages": messages, "task_type": "t"})

    headers = {"Content-Type": "application/jsonl"}
    body = b"\n".join([line("one"), b"{}", line("two"), line("one")])
    done = await ada.call("POST", "/api/dataset/import?approve=true", data=body, headers=headers)
    assert {name: done[name] for name in ("rows", "new", "updated", "unchanged", "refused")} == {
        "rows": 4,
        "new": 2,
        "updated": 0,
        "unchanged": 1,
        "refused": 1,
    }
    (refusal,) = done["refusals"]
    assert refusal["line"] == 2
    assert "format is not known" in refusal["reason"]
    assert {(row["corrected_output"], row["state"]) for row in await rows(ada)} == {
        ("one", "approved"),
        ("two", "approved"),
    }


async def test_second_draft_is_not_given_the_required_text(app: KairosApp, models: ModelServer):
    """A weak model would only repeat the required text to pass the check. People still see the text."""
    await rejected(app)
    prompt = str(models.calls[-1].body["messages"][-1]["content"])
    assert "goodbye" not in prompt
    assert "must contain" in prompt
