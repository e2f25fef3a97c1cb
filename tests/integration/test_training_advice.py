"""The plan of a run reviews the project's samples, and the base model is asked only on request and within bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kairos.agents.base_check import BASE_CHECK_ROWS, CONCURRENCY, FAILURES
from kairos.config import ModelSettings
from kairos.embedded import Addresses
from kairos.fine_tuning.dataset.success_rates import SuccessRate
from kairos.llm.routing.embedder import Embedder, EmbedderUnavailable
from kairos.orchestration.tasks import training_advice
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.approved import CALLS, NOTES, add_approved
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel

KNOWN = dict(CALLS[:4])
"""Prompts that the base model answers right."""


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        server.add(ScriptedModel("tiny", answer={**KNOWN, "": "I do not know."}))
        server.add(ScriptedModel("plain"))
        yield server


@pytest.fixture
async def app(addresses: Addresses, models: ModelServer, tmp_path: Path) -> AsyncIterator[KairosApp]:
    (weights := tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    common: dict[str, Any] = {"base_url": models.base_url, "context": 8192}
    entries = [
        ModelSettings(name="plain", local=True, **common),
        ModelSettings(name="tiny", local=True, weights=weights, adapters="ollama", **common),
        ModelSettings(name="remote", local=False, weights=weights, adapters="ollama", **common),
    ]
    async with open_app(addresses, models, data_dir=tmp_path, models=entries) as app:
        yield app


async def add(app: KairosApp, samples: list[tuple[str, str]], **values: Any) -> list[str]:
    return [str(one) for one in await add_approved(app.database, app.project_id, samples, **values)]


async def plan_of(caller: Caller, **body: Any) -> Reply:
    reply = await caller.post("/api/training/plan", body)
    assert reply.status == 200, reply.body
    return reply


async def test_plan_names_kinds_contradictions_and_what_to_do(app: KairosApp, owner: Caller):
    ids = await add(app, [*CALLS, *NOTES], task_type="code")
    [other] = await add(app, [(f"  {CALLS[0][0].upper()}", "vex.paint('kettle')")])
    await add(app, [CALLS[1]])
    plan = await plan_of(owner)
    review = plan["review"]
    assert (plan["base"], plan["rows"], review["reviewed"], review["distinct"], review["repeated"]) == (
        *("tiny", 17),
        *(17, 16, 1),
    )
    kinds = [(kind["task_type"], kind["rows"], kind["prompt"] is None) for kind in review["kinds"]]
    assert kinds == [("code", 12, False), ("code", 3, False), (None, 2, False)]
    assert review["kinds"][0]["prompt"] in dict(CALLS)
    assert review["contradictions"] == 1
    [conflict] = review["conflicts"]
    assert [conflict["first"], conflict["second"]] == [ids[0], other]
    [resolve] = [one for one in plan["advice"] if one["action"] == "resolve_contradictions"]
    assert resolve["count"] == 1
    small = [one["kind"]["prompt"] for one in plan["advice"] if one["action"] == "add_to_kind"]
    assert set(small) & set(dict(NOTES)), plan["advice"]
    assert (plan["success"], plan["fewest_measured"]) == (None, None)


async def test_plan_of_a_project_contains_no_sample_of_another(app: KairosApp, owner: Caller, anonymous: Caller):
    other_project, other_user = await new_project(app.parts)
    other = await signed_in(app.parts, anonymous, other_user, other_project)
    secret = "the red balloon"
    foreign = await add_approved(app.database, other_project, [(secret, "a"), (secret, "b"), ("shared", "c")])
    await add(app, [("shared", "d"), ("shared", "d")])
    mine, theirs = await plan_of(owner), await plan_of(other)
    assert (mine["review"]["reviewed"], mine["review"]["contradictions"], mine["review"]["repeated"]) == (2, 0, 1)
    assert secret not in str(mine.body)
    assert not any(str(one) in str(mine.body) for one in foreign)
    assert (theirs["review"]["reviewed"], theirs["review"]["contradictions"]) == (3, 1)
    asked = await owner.post("/api/training/base-check", {})
    assert asked["asked"] == 2
    assert secret not in str(asked.body)
    assert secret not in str([call.body for call in app.models.calls])


async def test_plan_without_samples_or_embedder(app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch):
    empty = await plan_of(owner)
    assert (empty["review"]["reviewed"], empty["review"]["kinds"]) == (0, [])
    assert empty["advice"][0]["action"] == "add_samples"

    async def unavailable(*_: object) -> None:
        raise EmbedderUnavailable(reason="it is away")

    monkeypatch.setattr(Embedder, "embed", unavailable)
    await add(app, CALLS, task_type="code")
    review = (await plan_of(owner))["review"]
    assert [(kind["task_type"], kind["prompt"], kind["rows"]) for kind in review["kinds"]] == [("code", None, 12)]
    assert "it is away" in review["kinds_problem"]
    assert review["grouped_prompts"] == 0


async def test_plan_names_the_nearest_measured_success_rate(
    app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch
):
    values = {"runs": 8, "base": "tiny", "title": "Tiny", "recipe": "f6cb38f", "measured": "2026-12-02"}
    rates = tuple(SuccessRate.model_validate({"rows": rows, "promoted": 7, **values}) for rows in (4, 48))
    monkeypatch.setattr(training_advice, "success_rates", lambda: rates)
    await add(app, [CALLS[0]] * 30)
    few = await plan_of(owner)
    assert (few["success"], few["fewest_measured"]) == (None, 4), "30 repetitions are one sample"
    await add(app, CALLS)
    plan = await plan_of(owner)
    assert plan["success"] == {"rows": 4, "promoted": 7, **values}


async def test_base_is_asked_samples_of_every_kind_at_temperature_0(app: KairosApp, owner: Caller):
    await add(app, [*CALLS, *CALLS, *NOTES])
    reply = await owner.post("/api/training/base-check", {"base": "tiny"})
    assert reply.status == 200, reply.body
    calls = app.models.calls_of("tiny")
    assert (reply["asked"], reply["chosen"], reply["failed"], len(calls)) == (24, 24, 0, BASE_CHECK_ROWS)
    prompts = Counter(call.messages[-1]["content"] for call in calls)
    assert all(prompts[note] == 1 for note, _ in NOTES), "the small kind is asked as well"
    assert {call.body["temperature"] for call in calls} == {0}
    assert reply["right"] == sum(prompts[prompt] for prompt in KNOWN) > 0
    assert {sample["prompt"] for sample in reply["samples"] if sample["right"]} <= set(KNOWN)
    assert reply["advice"] == []


async def test_answers_are_graded_by_the_checks_of_the_task(app: KairosApp, owner: Caller):
    """An answer that differs from the approved one is right if the task's checks accept it, as in the gate."""
    prompt = "Paint the lamp."
    task_id = await app.submit(prompt, require=["do not know"])
    await add(app, [(prompt, "anything else")], task_id=task_id)
    reply = await owner.post("/api/training/base-check", {"base": "tiny"})
    assert (reply["asked"], reply["right"]) == (1, 1)
    [advice] = reply["advice"]
    assert (advice["action"], advice["have"], advice["need"]) == ("teach_other", 1, 1)


async def test_check_of_the_base_leaves_no_trace_at_the_router(app: KairosApp, owner: Caller):
    await add(app, NOTES)
    assert (await owner.post("/api/training/base-check", {}))["asked"] == 3
    assert (await owner.get("/api/router/traffic"))["items"] == []


async def test_check_of_the_base_ends_in_time(app: KairosApp, owner: Caller, monkeypatch: pytest.MonkeyPatch):
    await add(app, CALLS)
    app.models.fail("tiny", Fault(FaultKind.HANG))
    monkeypatch.setattr(training_advice, "BASE_CHECK_S", 1.0)
    reply = await owner.post("/api/training/base-check", {})
    assert (reply.status, reply["asked"], reply["chosen"]) == (200, 0, 12), reply.body
    assert len(app.models.calls) == CONCURRENCY


async def test_failing_base_is_not_asked_for_every_sample(app: KairosApp, owner: Caller):
    await add(app, CALLS)
    app.models.fail("tiny", Fault(FaultKind.STATUS, status=503))
    reply = await owner.post("/api/training/base-check", {})
    assert reply.status in (502, 503), reply.body
    assert reply["code"].startswith("model_")
    assert len(app.models.calls) == FAILURES + 1


async def test_single_failed_call_is_counted(app: KairosApp, owner: Caller):
    await add(app, NOTES)
    app.models.fail("tiny", Fault(FaultKind.STATUS, status=503, requests=1))
    reply = await owner.post("/api/training/base-check", {})
    assert (reply["asked"], reply["failed"], reply["chosen"]) == (2, 1, 3)


async def test_one_check_of_a_project_runs_at_a_time(app: KairosApp, owner: Caller):
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answer(_: object) -> str:
        asked.set()
        await answered.wait()
        return "late"

    app.models.add(ScriptedModel("tiny", answer=answer))
    await add(app, NOTES[:1])
    first = asyncio.create_task(owner.post("/api/training/base-check", {}))
    await asked.wait()
    assert (await owner.post("/api/training/base-check", {})).status == 409
    answered.set()
    assert (await first)["asked"] == 1
    assert (await owner.post("/api/training/base-check", {})).status == 200


@pytest.mark.parametrize("name", ["plain", "no-such-model"])
async def test_model_that_cannot_be_trained_is_not_asked(app: KairosApp, owner: Caller, name: str):
    await add(app, NOTES)
    reply = await owner.post("/api/training/base-check", {"base": name})
    assert reply.status in (404, 409, 422), reply.body
    assert app.models.calls == []


async def test_remote_base_is_not_asked_where_only_local_models_may_be(app: KairosApp, owner: Caller):
    await add(app, NOTES)
    changed = await owner.call("PATCH", f"/api/projects/{app.project_id}", json={"settings": {"local_only": True}})
    assert changed.status == 200, changed.body
    reply = await owner.post("/api/training/base-check", {"base": "remote"})
    assert reply.status == 409
    assert "local models only" in reply["detail"]
    assert app.models.calls == []
