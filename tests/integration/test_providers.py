"""Stored providers over the API: keys, models, versions, audit, errors, and projects' own providers."""

from __future__ import annotations

import asyncio
import io
import logging
import tarfile
from typing import Any

import pytest
from sqlalchemy import text

from kairos.config import ProviderSettings
from kairos.db.models import TaskState
from kairos.llm.routing.call_terms import CallContext
from kairos.tenancy import NOBODY, ProjectId, Scope
from tests.kit.api import Caller, serving, signed_in
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.kit.providers import KEY, create, draft, dump

OTHER_KEY = "sk-tests-other-93b1ee04d5"


async def names(caller: Caller) -> set[str]:
    return {item["name"] for item in (await caller.get("/api/models"))["items"]}


def authorizations(server: ModelServer) -> list[str]:
    return [call.headers.get("Authorization", "") for call in server.calls]


class TestStoredModels:
    async def test_added_model_is_called_with_the_key(self, app: KairosApp, operator: Caller, cloud: ModelServer):
        await create(operator, cloud, "large")
        async with app.working():
            task = await app.finished(await app.submit(model="large"))
        assert (task.state, task.output) == (TaskState.SUCCEEDED, "from large")
        assert authorizations(cloud) == [f"Bearer {KEY}"]

    async def test_catalogue_shows_where_models_come_from(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        items = {item["name"]: item for item in (await operator.get("/api/models"))["items"]}
        assert (items["echo"]["origin"], items["echo"]["provider_id"]) == ("file", None)
        assert (items["large"]["origin"], items["large"]["provider_id"]) == ("stored", provider["id"])
        assert items["large"]["price"] is None

    async def test_removed_provider_takes_its_models_along(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large", "small")
        assert await names(operator) == {"echo", "large", "small"}
        assert (await operator.call("DELETE", f"/api/providers/{provider['id']}")).status == 204
        assert await names(operator) == {"echo"}
        assert (await operator.get(f"/api/providers/{provider['id']}")).status == 404

    async def test_disabled_model_leaves_the_catalogue_and_returns(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        path = f"/api/providers/{provider['id']}/models/{provider['models'][0]['id']}"
        await operator.call("PATCH", path, json={"enabled": False})
        assert await names(operator) == {"echo"}
        changed = await operator.call("PATCH", path, json={"enabled": True, "price": {"input": 1, "output": 2}})
        assert await names(operator) == {"echo", "large"}
        assert changed["models"][0]["price"]["source"] == "entered by hand"
        assert (await operator.call("DELETE", path)).status == 204
        assert await names(operator) == {"echo"}

    async def test_price_of_the_list_has_its_day_and_source(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, kind="anthropic")
        body = {"models": [{"upstream": "claude-opus-5"}, {"upstream": "claude-opus-5", "name": "x", "price": None}]}
        added = await operator.post(f"/api/providers/{provider['id']}/models", body)
        by_name = {model["name"]: model for model in added["models"]}
        assert by_name["anthropic/claude-opus-5"]["price"]["at"] >= "2026-01-01"
        assert by_name["anthropic/claude-opus-5"]["price"]["source"]
        assert by_name["x"]["price"] is None

    async def test_name_of_a_configured_model_is_refused(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud)
        for taken in ({"upstream": "large", "name": "echo"}, {"upstream": "large", "name": "auto"}):
            refused = await operator.post(f"/api/providers/{provider['id']}/models", {"models": [taken]})
            assert refused.status in (409, 422), refused.body
        assert await names(operator) == {"echo"}

    async def test_server_may_call_a_model_auto(self, operator: Caller, cloud: ModelServer):
        """`auto` is reserved in the catalogue only. The names on a server are the server's own."""
        provider = await create(operator, cloud, name="Auto")
        added = await operator.post(f"/api/providers/{provider['id']}/models", {"models": [{"upstream": "auto"}]})
        assert [(model["name"], model["upstream"]) for model in added["models"]] == [("openai-compatible/auto", "auto")]
        refused = await operator.post(
            f"/api/providers/{provider['id']}/models", {"models": [{"upstream": "auto", "name": " Auto "}]}
        )
        assert (refused.status, refused["code"]) == (422, "invalid_input")
        assert "lets the router choose" in refused["detail"]

    async def test_models_are_added_all_or_none(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud)
        body = {"models": [{"upstream": "large", "name": "new"}, {"upstream": "small", "name": "echo"}]}
        assert (await operator.post(f"/api/providers/{provider['id']}/models", body)).status == 409
        assert (await operator.get(f"/api/providers/{provider['id']}"))["models"] == []

    async def test_model_that_a_setting_names_cannot_be_removed(
        self, app: KairosApp, operator: Caller, cloud: ModelServer
    ):
        provider = await create(operator, cloud, "large")
        version = (await operator.get("/api/config"))["version"]
        changed = await operator.call(
            "PATCH", "/api/config", json={"changes": {"default_llm_model": "large"}, "version": version}
        )
        assert changed.status == 200, changed.body
        refused = await operator.call("DELETE", f"/api/providers/{provider['id']}")
        assert (refused.status, "default_llm_model" in refused["detail"]) == (409, True)
        await operator.call(
            "PATCH",
            "/api/config",
            json={"changes": {"default_llm_model": None}, "version": changed["version"]},
        )
        assert (await operator.call("DELETE", f"/api/providers/{provider['id']}")).status == 204

    async def test_local_only_excludes_stored_models_that_are_not_local(
        self, app: KairosApp, operator: Caller, cloud: ModelServer
    ):
        await create(operator, cloud, "large")
        decision = app.parts.llm.router.select_model(_request(app, local_only=True))
        assert decision.chosen == "echo"
        assert {(e.model, str(e.reason)) for e in decision.excluded} == {("large", "not_local")}


class TestKeys:
    async def test_key_appears_nowhere(
        self,
        app: KairosApp,
        operator: Caller,
        cloud: ModelServer,
        addresses: Any,
        caplog: pytest.LogCaptureFixture,
    ):
        """Not in a dump, a log, an export, the audit log, or a response, and neither does a secret header."""
        caplog.set_level(logging.DEBUG)
        header = "header-secret-77aa01"
        provider = await create(operator, cloud, "large", headers={"X-Team": header})
        own = await operator.post("/api/project/providers", draft("https://api.example.com/v1", key=OTHER_KEY))
        assert own.status == 201, own.body
        async with app.working():
            await app.finished(await app.submit(model="large"))
        assert cloud.calls[0].headers["X-Team"] == header
        replies = [provider, own, *[await operator.get(path) for path in READABLE]]
        replies += [await operator.get(f"/api/providers/{provider['id']}{tail}") for tail in ("", "/models")]
        replies.append(
            await operator.call(
                "PATCH", f"/api/providers/{provider['id']}", json={"version": 99, "key": KEY, "headers": {"X": header}}
            )
        )
        export = await operator.get(f"/api/projects/{app.project_id}/export")
        places = {
            "responses": str([reply.body for reply in replies]),
            "database": dump(addresses),
            "log": caplog.text,
            "export": _unpacked(export.body),
            "models": repr(app.parts.llm.stored.models),
        }
        assert "Scripted" in places["responses"]
        assert "Scripted" in places["database"]
        found = [(place, s) for place, text_ in places.items() for s in (KEY, OTHER_KEY, header) if s in text_]
        assert found == []

    async def test_invalid_bodies_do_not_repeat_the_key(self, operator: Caller, cloud: ModelServer):
        for body in (
            draft(cloud.base_url, key=f"{KEY}\nsecond line"),
            draft(cloud.base_url, kind=KEY),
            draft(cloud.base_url, key=[KEY]),
            {**draft(cloud.base_url), "unknown": KEY},
            draft(f"{cloud.base_url}?key={KEY}", key=None),
            draft(cloud.base_url, headers={"X": f"{KEY}\r\nHost: y"}),
            draft(cloud.base_url, ca=f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----"),
        ):
            refused = await operator.post("/api/providers", body)
            assert refused.status == 422, refused.body
            assert KEY not in str(refused.body)

    async def test_key_with_a_line_break_is_named(self, operator: Caller, cloud: ModelServer):
        refused = await operator.post("/api/providers", draft(cloud.base_url, key="sk-one\nsk-two"))
        assert "line breaks" in refused["detail"]

    async def test_surrounding_white_space_is_removed(self, app: KairosApp, operator: Caller, cloud: ModelServer):
        await create(operator, cloud, "large", key=f"  '{KEY}'\n")
        async with app.working():
            await app.finished(await app.submit(model="large"))
        assert authorizations(cloud) == [f"Bearer {KEY}"]

    async def test_changed_key_is_used_by_the_next_call(self, app: KairosApp, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        path = f"/api/providers/{provider['id']}"
        changed = await operator.call("PATCH", path, json={"version": provider["version"], "key": OTHER_KEY})
        assert changed.status == 200, changed.body
        async with app.working():
            await app.finished(await app.submit(model="large"))
        assert authorizations(cloud) == [f"Bearer {OTHER_KEY}"]

    async def test_stored_key_is_not_sent_to_another_server(self, app: KairosApp, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        path, version = f"/api/providers/{provider['id']}", provider["version"]
        async with ModelServer(ScriptedModel(name="large")) as other:
            refused = await operator.call("PATCH", path, json={"version": version, "address": other.base_url})
            assert (refused.status, "another server" in refused["detail"]) == (422, True)
            body = {"version": version, "address": other.base_url, "key": None}
            moved = await operator.call("PATCH", path, json=body)
            assert (moved.status, moved["has_key"]) == (200, False)
            async with app.working():
                await app.finished(await app.submit(model="large"))
            assert [call.headers.get("Authorization") for call in other.calls] == [None]

    async def test_path_of_the_address_may_change_without_the_key(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud)
        path = f"/api/providers/{provider['id']}"
        body = {"version": provider["version"], "address": f"{cloud.address}/v2"}
        assert (await operator.call("PATCH", path, json=body))["has_key"] is True

    async def test_swapped_ciphertexts_are_refused_and_others_go_on(
        self, app: KairosApp, operator: Caller, cloud: ModelServer
    ):
        """Someone who can write to the database cannot use a key for another provider or another server."""
        first = await create(operator, cloud, "large", name="First")
        second = await create(operator, cloud, "small", name="Second", key=OTHER_KEY)
        async with app.database.scope(Scope(user_id=app.user_id, operator=True)) as session:
            await session.execute(
                text(
                    "update providers p set sealed = o.sealed, version = p.version + 1, revision = p.revision + 1 "
                    "from providers o where p.id = :a and o.id = :b"
                ),
                {"a": first["id"], "b": second["id"]},
            )
        await app.parts.llm.stored.refresh()
        problem = (await operator.get(f"/api/providers/{first['id']}"))["problem"]
        assert "another row" in problem
        items = {item["name"]: item for item in (await operator.get("/api/models"))["items"]}
        assert (items["large"]["health"], items["small"]["health"]) == ("unhealthy", "healthy")
        components = await app.parts.api.readiness.components()
        assert "First" in components["provider keys"].detail
        assert "Second" not in components["provider keys"].detail
        async with app.working():
            task = await app.finished(await app.submit(model="small"))
        assert (task.state, authorizations(cloud)) == (TaskState.SUCCEEDED, [f"Bearer {OTHER_KEY}"])

    async def test_moved_row_does_not_send_its_key_to_another_server(
        self, app: KairosApp, operator: Caller, cloud: ModelServer
    ):
        provider = await create(operator, cloud, "large")
        async with app.database.scope(Scope(user_id=app.user_id, operator=True)) as session:
            await session.execute(
                text("update providers set address = 'http://evil.example', version = 2, revision = 9 where id = :a"),
                {"a": provider["id"]},
            )
        await app.parts.llm.stored.refresh()
        assert (await operator.get(f"/api/providers/{provider['id']}"))["problem"]
        again = {"version": 2, "address": cloud.base_url, "key": KEY}
        repaired = await operator.call("PATCH", f"/api/providers/{provider['id']}", json=again)
        assert (repaired.status, repaired["problem"]) == (200, None), "the answer has the state after the change"


class TestConcurrency:
    async def test_second_of_two_editors_gets_the_current_version(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud)
        path = f"/api/providers/{provider['id']}"
        replies = await asyncio.gather(
            *(operator.call("PATCH", path, json={"version": 1, "name": name}) for name in ("Mine", "Theirs"))
        )
        assert sorted(reply.status for reply in replies) == [200, 409]
        refused = next(reply for reply in replies if reply.status == 409)
        assert (refused["code"], "version 2" in refused["detail"]) == ("provider_moved", True)

    async def test_adding_models_is_no_conflict_for_an_editor(self, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        path = f"/api/providers/{provider['id']}"
        assert (await operator.call("PATCH", path, json={"version": 1, "name": "Renamed"})).status == 200

    async def test_two_providers_cannot_have_one_name(self, operator: Caller, cloud: ModelServer):
        await create(operator, cloud)
        refused = await operator.post("/api/providers", draft(cloud.base_url))
        assert (refused.status, refused["code"]) == (409, "duplicate")
        assert "a provider named" in refused["detail"]


class TestAudit:
    async def test_each_change_is_audited(self, app: KairosApp, operator: Caller, cloud: ModelServer):
        provider = await create(operator, cloud, "large")
        path = f"/api/providers/{provider['id']}"
        await operator.call("PATCH", path, json={"version": 1, "key": OTHER_KEY})
        await operator.call("PATCH", f"{path}/models/{provider['models'][0]['id']}", json={"tier": 0.5})
        await operator.call("DELETE", f"{path}/models/{provider['models'][0]['id']}")
        await operator.call("DELETE", path)
        async with app.database.scope(Scope(user_id=app.user_id, operator=True)) as session:
            rows = await session.execute(text("select action from audit_log where action like 'provider%' order by id"))
        assert [action for (action,) in rows][-6:] == [
            "provider.created",
            "provider.model_added",
            "provider.changed",
            "provider.model_changed",
            "provider.model_removed",
            "provider.deleted",
        ]


class TestProjects:
    async def test_owner_brings_a_provider_that_only_the_project_sees(
        self, addresses: Any, models: ModelServer, cloud: ModelServer
    ):
        allowed = ProviderSettings(private_hosts=["127.0.0.1"])
        async with open_app(addresses, models, providers=allowed) as app, serving(app.parts) as anonymous:
            owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
            other_project, other_user = await new_project(app.parts, "Other")
            other = await signed_in(app.parts, anonymous, other_user, other_project)
            made = await owner.post("/api/project/providers", draft(cloud.base_url))
            assert made.status == 201, made.body
            body = {"models": [{"upstream": "large", "name": "large"}]}
            added = await owner.post(f"/api/project/providers/{made['id']}/models", body)
            [name] = [model["name"] for model in added["models"]]
            assert name == f"large@{app.project_id.hex[-8:]}"
            assert await names(owner) == {"echo", name}
            assert await names(other) == {"echo"}
            assert (await other.get(f"/api/project/providers/{made['id']}")).status == 404
            assert (await other.get("/api/project/providers"))["items"] == []
            assert (await owner.get("/api/providers")).status == 403
            async with app.working():
                task = await app.finished(await app.submit(model=name))
            assert (task.state, authorizations(cloud)) == (TaskState.SUCCEEDED, [f"Bearer {KEY}"])
            server = {"kind": "openai-compatible", "address": cloud.base_url, "key": KEY}
            tested = await owner.post("/api/project/providers/test", server)
            assert {model["local"] for model in tested["models"]} == {made["local"]} == {True}, "an operator listed it"
            two = await other.post("/api/project/providers", draft(cloud.base_url, key=OTHER_KEY))
            same = await other.post(f"/api/project/providers/{two['id']}/models", body)
            assert same.status == 201, "another project may choose the same name"

    @pytest.mark.parametrize(
        "address", ["http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1", "http://169.254.169.254/v1"]
    )
    async def test_project_cannot_reach_private_networks(self, owner: Caller, address: str):
        refused = await owner.post("/api/project/providers", draft(address))
        assert (refused.status, "providers.private_hosts" in refused["detail"]) == (422, True)
        refused = await owner.post("/api/project/providers/test", {"kind": "ollama", "address": address})
        assert refused.status == 422

    async def test_name_that_resolves_to_a_private_address_is_not_called(self, owner: Caller, models: ModelServer):
        address = f"http://ip6-localhost:{models.port}/v1"
        tested = await owner.post("/api/project/providers/test", {"kind": "openai-compatible", "address": address})
        assert (tested["ok"], tested["problem"]["kind"]) in ((False, "private_address"), (False, "unreachable"))
        assert models.calls == []

    async def test_project_cannot_declare_a_cloud_server_local(self, owner: Caller):
        """Else a project's "local only" would not hold for it."""
        refused = await owner.post("/api/project/providers", draft("https://api.example.com/v1", local=True))
        assert (refused.status, refused["detail"].startswith("local")) == (422, True)
        made = await owner.post("/api/project/providers", draft("https://ollama.example.com/v1", kind="ollama"))
        assert made["local"] is False


async def test_shared_providers_are_read_outside_of_projects_only(app: KairosApp, operator: Caller, cloud: ModelServer):
    """Code in a project's scope reads no shared provider, and only operators write them."""
    await create(operator, cloud, "large")
    counts = {}
    for name, scope in (("daemon", NOBODY), ("project", Scope(ProjectId(app.project_id), app.user_id))):
        async with app.database.scope(scope) as session:
            counts[name] = await session.scalar(text("select count(*) from providers"))
            changed = await session.execute(text("update providers set name = 'x' returning id"))
            deleted = await session.execute(text("delete from provider_models returning id"))
            assert (changed.all(), deleted.all()) == ([], [])
    assert counts == {"daemon": 1, "project": 0}


READABLE = ("/api/providers", "/api/project/providers", "/api/models", "/api/audit", "/api/config", "/api/overview")


def _request(app: KairosApp, **fields: Any) -> Any:
    context = CallContext(project_id=app.project_id, **fields)
    from kairos.llm.routing.decision import Request

    return Request(context.project_id, "code", local_only=context.local_only)


def _unpacked(archive: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = [tar.extractfile(member) for member in tar.getmembers()]
        return "\n".join(member.read().decode() for member in members if member)
