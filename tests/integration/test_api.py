"""The HTTP API: sign-in, projects, tasks and error replies."""

from __future__ import annotations

import time
from dataclasses import asdict
from uuid import UUID

import jwt
import pytest

from kairos.api.access.first_account import FIRST_ADMIN
from kairos.db.models import DecisionRow
from kairos.db.repositories.access import sessions
from kairos.db.repositories.tasks import history
from kairos.llm.routing.scoring import DecisionKind
from kairos.llm.routing.task_types import TaskTypeSource
from kairos.monitoring.performance_tracker import ModelCall
from kairos.tenancy import Scope, new_id
from tests.kit.api import Caller, signed_in
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project
from tests.kit.model_server import Fault, FaultKind


async def with_password(app: KairosApp, password: str) -> str:
    """Give the project's owner a password through a one-time link, and return the e-mail."""
    from datetime import timedelta

    from kairos.api.access.tokens import digest, new_secret

    token = new_secret()
    async with app.database.scope(Scope(user_id=app.user_id)) as session:
        await sessions.add_link(session, digest(token), app.user_id, "setup", timedelta(hours=1))
    await app.parts.api.accounts.use_link(token, password, "test")
    return f"{app.user_id}@test"


async def add_decision(app: KairosApp, task_id: str, costs: list[float | None]) -> None:
    """Store a decision for the task, with one call for each cost."""
    calls = [asdict(ModelCall("echo", True, None, None, 0.1, 1, 1, cost)) for cost in costs]
    row = DecisionRow(
        project_id=app.project_id,
        id=new_id(),
        task_id=UUID(task_id),
        attempt=1,
        task_type="code",
        task_type_source=TaskTypeSource.CALLER,
        kind=DecisionKind.ONLY,
        candidates=[],
        excluded=[],
        calls=calls,
    )
    async with app.database.project(app.project_id) as session:
        await history.add_decision(session, row)


class TestSignIn:
    async def test_sign_in_with_email_and_password(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app, "correct horse battery")
        reply = await anonymous.post("/api/auth/login", {"email": email.upper(), "password": "correct horse battery"})
        assert reply.status == 200
        me = await anonymous.with_token(reply["access_token"]).get("/api/auth/me")
        assert (me["email"], me["role"], me["project_name"]) == (email, "owner", "Test")

    async def test_unknown_user_and_wrong_password_receive_the_same_answer(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app, "correct horse battery")
        wrong = await anonymous.post("/api/auth/login", {"email": email, "password": "wrong"})
        nobody = await anonymous.post("/api/auth/login", {"email": "nobody@test", "password": "wrong"})
        assert wrong.status == nobody.status == 401
        assert wrong.body == nobody.body

    async def test_token_contains_user_session_and_project_but_no_role(self, owner: Caller):
        claims = jwt.decode(owner.token, options={"verify_signature": False})
        assert set(claims) == {"sub", "sid", "project_id", "jti", "iat", "exp"}
        assert "kid" in jwt.get_unverified_header(owner.token)

    async def test_unknown_link_is_refused(self, app: KairosApp, anonymous: Caller):
        reply = await anonymous.post("/api/auth/setup", {"token": "no such link", "password": "long enough!"})
        assert (reply.status, reply["code"]) == (401, "unauthenticated")

    async def test_short_password_is_refused(self, app: KairosApp, anonymous: Caller):
        reply = await anonymous.post("/api/auth/setup", {"token": "x", "password": "short"})
        assert reply.status == 422
        assert "10 characters" in reply["detail"]

    async def test_local_admin_signs_in_with_the_local_secret(self, app: KairosApp, anonymous: Caller):
        right = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
        wrong = await anonymous.post("/api/auth/local", {"secret": "guess"})
        assert (right.status, wrong.status) == (200, 401)
        me = await anonymous.with_token(right["access_token"]).get("/api/auth/me")
        assert (me["email"], me["operator"]) == (FIRST_ADMIN, True)


class TestTokens:
    async def test_sign_out_revokes_the_access_token(self, owner: Caller):
        assert (await owner.post("/api/auth/logout")).status == 204
        assert (await owner.get("/api/auth/me")).status == 401

    @pytest.mark.parametrize("forge", ["project", "unsigned", "other_key", "expired", "garbage"])
    async def test_forged_token_is_refused(self, app: KairosApp, owner: Caller, forge: str):
        claims = jwt.decode(owner.token, options={"verify_signature": False})
        header = jwt.get_unverified_header(owner.token)
        key = app.parts.api.keys._keys[header["kid"]]
        forged = {
            "project": lambda: _with_payload(owner.token, {**claims, "project_id": str(app.user_id)}),
            "unsigned": lambda: jwt.encode(claims, "", algorithm="none", headers={"kid": header["kid"]}),
            "other_key": lambda: jwt.encode(claims, b"k" * 32, algorithm="HS256", headers={"kid": header["kid"]}),
            "expired": lambda: jwt.encode(
                {**claims, "exp": int(time.time()) - 1}, key, algorithm="HS256", headers={"kid": header["kid"]}
            ),
            "garbage": lambda: "not.a.token",
        }[forge]()
        reply = await owner.with_token(forged).get("/api/auth/me")
        assert (reply.status, reply["code"]) == (401, "unauthenticated")
        assert "kairos login" in reply["detail"]

    async def test_role_comes_from_the_membership_and_not_from_the_token(self, app: KairosApp, owner: Caller):
        async with app.database.scope(Scope(app.project_id, app.user_id)) as session:
            from sqlalchemy import update

            from kairos.db.models import MembershipRow

            await session.execute(update(MembershipRow).values(role="viewer"))
        reply = await owner.post("/api/tasks", {"prompt": "x"})
        assert (reply.status, reply["code"]) == (403, "forbidden")
        assert (await owner.get("/api/tasks")).status == 200


def _with_payload(token: str, claims: dict) -> str:
    head, _, signature = token.split(".")
    payload = jwt.encode(claims, "x" * 32, algorithm="HS256").split(".")[1]
    return ".".join((head, payload, signature))


class TestProjects:
    async def test_create_list_and_switch(self, owner: Caller):
        created = await owner.post("/api/projects", {"name": "Second"})
        assert (created.status, created["role"], created["active"]) == (201, "owner", False)
        names = [project["name"] for project in (await owner.get("/api/projects"))["items"]]
        assert names == ["Test", "Second"]
        switched = await owner.post(f"/api/projects/{created['id']}/switch")
        me = await owner.with_token(switched["access_token"]).get("/api/auth/me")
        assert me["project_name"] == "Second"

    async def test_other_peoples_project_looks_like_a_missing_one(self, app: KairosApp, owner: Caller):
        foreign, _ = await new_project(app.parts)
        nowhere = "00000000-0000-7000-8000-000000000000"
        replies = [await owner.post(f"/api/projects/{id_}/switch") for id_ in (foreign, nowhere)]
        assert [reply.status for reply in replies] == [404, 404]
        assert replies[0]["detail"].replace(str(foreign), "") == replies[1]["detail"].replace(nowhere, "")


class TestTasks:
    async def test_submit_and_show(self, app: KairosApp, owner: Caller):
        submitted = await owner.post("/api/tasks", {"prompt": "hi", "checks": {"require": ["hello"]}})
        assert (submitted.status, submitted["state"]) == (201, "queued")
        async with app.working():
            await app.finished(submitted["id"])
        shown = await owner.get(submitted.headers["Location"])
        assert (shown["state"], shown["output"], shown["model"]) == ("succeeded", "hello", "echo")
        assert shown["decisions"][0]["chosen"] == "echo"
        assert shown["verdicts"][0]["approved"]
        assert [event["kind"] for event in shown["events"]][-1] == "succeeded"

    async def test_idempotency_key_creates_one_task_for_two_submissions(self, owner: Caller):
        first = await owner.post("/api/tasks", {"prompt": "a"}, headers={"Idempotency-Key": "k"})
        again = await owner.post("/api/tasks", {"prompt": "a"}, headers={"Idempotency-Key": "k"})
        other = await owner.post("/api/tasks", {"prompt": "b"}, headers={"Idempotency-Key": "k"})
        assert (first.status, again.status, other.status) == (201, 200, 409)
        assert first["id"] == again["id"]
        assert "idempotency key 'k'" in other["detail"]

    async def test_list_is_paged_by_cursor_newest_first(self, owner: Caller):
        made = [(await owner.post("/api/tasks", {"prompt": str(n)}))["id"] for n in range(5)]
        first = await owner.get("/api/tasks?limit=3")
        second = await owner.get(f"/api/tasks?limit=3&cursor={first['next']}")
        assert [task["id"] for task in first["items"] + second["items"]] == made[::-1]
        assert second["next"] is None

    async def test_filters(self, app: KairosApp, owner: Caller):
        one = (await owner.post("/api/tasks", {"prompt": "1"}))["id"]
        await owner.post("/api/tasks", {"prompt": "2"})
        await owner.post(f"/api/tasks/{one}/cancel")
        cancelled = await owner.get("/api/tasks?state=cancelled&state=failed")
        assert [task["id"] for task in cancelled["items"]] == [one]

    async def test_cost_is_the_sum_of_the_known_costs_of_all_calls(self, app: KairosApp, owner: Caller):
        queued, costly, unknown = [(await owner.post("/api/tasks", {"prompt": "x"}))["id"] for _ in range(3)]
        await add_decision(app, costly, [0.5, None])
        await add_decision(app, costly, [0.25])
        await add_decision(app, unknown, [None])
        listed = {item["id"]: item["cost_usd"] for item in (await owner.get("/api/tasks"))["items"]}
        assert listed == {queued: None, costly: 0.75, unknown: None}
        for task_id, cost in listed.items():
            assert (await owner.get(f"/api/tasks/{task_id}"))["cost_usd"] == cost

    async def test_impossible_action_is_refused_with_its_reason(self, owner: Caller):
        task = (await owner.post("/api/tasks", {"prompt": "x"}))["id"]
        assert (await owner.post(f"/api/tasks/{task}/retry")).status == 409
        await owner.post(f"/api/tasks/{task}/cancel")
        twice = await owner.post(f"/api/tasks/{task}/cancel")
        assert twice.status == 409
        assert "it is cancelled" in twice["detail"]
        assert (await owner.post(f"/api/tasks/{task}/retry"))["state"] == "queued"


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"prompt": "x", "agent": "ExecutionAgnt"}, "Did you mean 'ExecutionAgent'?"),
            ({"prompt": "x", "model": "gpt-9"}, "No model is named 'gpt-9'. Known models: echo"),
            ({"prompt": "x", "checks": {"schema": {"type": "objekt"}}}, "objekt"),
            ({"prompt": "x", "checks": {"tests": "def test_x(:"}}, "tests"),
            ({"prompt": "x", "surprise": 1}, "body/surprise"),
            ({"prompt": ""}, "body/prompt"),
            ({"prompt": "a\x00b"}, "NUL"),
            ({"prompt": "x", "lane": "fast"}, "body/lane"),
            ({"prompt": "x", "not_before": "2030-01-01T00:00:00"}, "no time zone"),
            ({}, "body/prompt"),
        ],
    )
    async def test_invalid_submission_is_a_422_that_names_the_fault(self, owner: Caller, body: dict, message: str):
        reply = await owner.post("/api/tasks", body)
        assert (reply.status, reply.headers["Content-Type"]) == (422, "application/problem+json")
        assert message in reply["detail"], reply["detail"]

    @pytest.mark.parametrize("key", ["a", "k" * 5000])
    async def test_path_of_a_deep_fault_is_shortened(self, owner: Caller, key: str):
        schema: dict = {key: "\x00"}
        for _ in range(90):
            schema = {key: schema}
        reply = await owner.post("/api/tasks", {"prompt": "x", "checks": {"schema": schema}})
        assert reply.status == 422
        assert reply.body["detail"].startswith(f"body/checks/schema/{key[:100]}")
        assert len(reply.body["detail"]) < 1000

    async def test_at_most_a_hundred_faults_are_listed(self, owner: Caller):
        reply = await owner.post("/api/tasks", {"prompt": "x", **{f"unknown_{n}": 1 for n in range(1000)}})
        assert reply.status == 422
        assert len(reply.body["errors"]) == 100

    async def test_body_over_the_limit_is_a_413(self, app: KairosApp, owner: Caller):
        limit = app.parts.settings.server.body_limit_bytes
        announced = await owner.call("POST", "/api/tasks", data=b"x" * (limit + 1))
        assert (announced.status, announced["code"]) == (413, "body_too_large")

        async def chunks():
            for _ in range(limit // 65536 + 2):
                yield b"x" * 65536

        streamed = await owner.call("POST", "/api/tasks", data=chunks(), headers={"Content-Type": "application/json"})
        assert (streamed.status, streamed["code"]) == (413, "body_too_large")

    async def test_invalid_json_unknown_paths_and_methods_return_problem_details(self, owner: Caller):
        broken = await owner.call("POST", "/api/tasks", data=b"{", headers={"Content-Type": "application/json"})
        nowhere = await owner.get("/api/nothing")
        method = await owner.call("DELETE", "/api/tasks")
        assert [reply.status for reply in (broken, nowhere, method)] == [422, 404, 405]
        for reply in (broken, nowhere, method):
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "code", "instance"} <= set(reply.body)

    async def test_request_without_a_token_is_a_401(self, anonymous: Caller):
        reply = await anonymous.get("/api/tasks")
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")


class TestHealth:
    async def test_live_and_ready_need_no_token(self, anonymous: Caller):
        assert (await anonymous.get("/api/health/live"))["status"] == "ok"
        ready = await anonymous.get("/api/health/ready")
        assert ready.status == 200
        assert {name: part["state"] for name, part in ready["parts"].items()} == {
            "postgresql": "ok",
            "redis": "ok",
            "models": "ok",
        }

    async def test_unavailable_model_is_shown_as_degraded(self, app: KairosApp, anonymous: Caller, models):
        models.fail("echo", Fault(FaultKind.STATUS, status=401, requests=1))
        async with app.working():
            await app.finished(await app.submit())
        ready = await anonymous.get("/api/health/ready")
        assert (ready.status, ready["status"]) == (200, "degraded")
        assert ready["parts"]["models"]["state"] == "away"


class TestRouter:
    async def test_decision_is_shown_to_its_own_project_only(self, app: KairosApp, owner: Caller):
        async with app.working():
            task = await app.finished(await app.submit(require=("hello",)))
        [decision] = await app.decisions(task.id)
        shown = await owner.get(f"/api/decisions/{decision.id}")
        assert (shown["chosen"], shown["task_type_source"], shown["length"]) == ("echo", "default", "short")
        other = await new_project(app.parts)
        other_caller = await signed_in(app.parts, owner, other[1], other[0])
        assert (await other_caller.get(f"/api/decisions/{decision.id}")).status == 404

    async def test_leaderboard_shows_quality_and_share(self, app: KairosApp, owner: Caller):
        async with app.working():
            await app.finished(await app.submit(require=("hello",), task_type="greeting"))
            await eventually(lambda: _measured(owner), 5)
        [kind] = (await owner.get("/api/leaderboard"))["items"]
        [model] = kind["models"]
        assert (kind["task_type"], model["model"], model["share"], model["quality"]) == ("greeting", "echo", 1.0, 1.0)

    async def test_cache_shows_its_savings_and_is_flushed_by_admins(self, app: KairosApp, owner: Caller):
        async with app.working():
            for _ in range(2):
                await app.finished(await app.submit(temperature=0.0))
        figures = await owner.get("/api/cache")
        assert (figures["entries"], figures["hits"], figures["misses"]) == (1, 1, 1)
        assert (await owner.post("/api/cache/flush"))["entries"] == 1

    async def test_only_operators_reset_a_model(self, app: KairosApp, owner: Caller):
        assert (await owner.post("/api/models/reset", {"name": "echo"})).status == 403
        local = await owner.post("/api/auth/local", {"secret": app.parts.api.local_secret})
        operator = owner.with_token(local["access_token"])
        assert (await operator.post("/api/models/reset", {"name": "echo"})).status == 204
        assert (await operator.post("/api/models/reset", {"name": "nobody"})).status == 422

    async def test_judge_figures_are_shown_without_a_judge(self, owner: Caller):
        assert (await owner.get("/api/judge"))["judged"] == 0


async def _measured(owner: Caller) -> bool:
    board = (await owner.get("/api/leaderboard"))["items"]
    return bool(board) and board[0]["models"][0]["quality"] is not None


async def test_models_are_listed_with_health_and_figures(app: KairosApp, owner: Caller):
    async with app.working():
        await app.finished(await app.submit(require=("hello",)))
    [model] = (await owner.get("/api/models"))["items"]
    assert (model["name"], model["health"], model["price"]) == ("echo", "healthy", None)
    assert (model["figures"]["calls"], model["figures"]["quality"], model["figures"]["measured"]) == (1, 1.0, 1)
