"""The models of an Ollama server over the API: list, pull with progress, cancel, delete; several daemons and projects.

The server is the kit's, whose pulls are scripted. `test_ollama_pulls.py` runs against a real Ollama.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from kairos.config import ProviderSettings
from kairos.embedded import Addresses
from kairos.orchestration.providers.ollama.pull_board import MOST_PULLS
from kairos.orchestration.providers.ollama.pulls import CHECK_S
from kairos.tenancy import Scope, new_id
from tests.kit.any_server import AnyServer
from tests.kit.api import Caller, Reply, serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, new_project, open_app
from tests.kit.model_server import ModelServer
from tests.kit.ollama_pulls import COMPLETE, HOLD, LOST, MANIFEST, SUCCESS, VERIFYING, error, layer, line
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import base_file
from tests.kit.providers import KEY, delete_all, draft, operator_of

HEADER = "header-secret-5be21c"
NO_SECRET: dict[str, Any] = {"key": None, "headers": {}}
"""The daemons of a test have different master keys."""
HALF = (MANIFEST, layer(0, 100), layer(50, 100), HOLD, layer(100, 100), VERIFYING, SUCCESS)


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    async with OllamaServer() as server:
        server.store.add_base("smol", base_file())
        yield server
        server.release()


async def shared(operator: Caller, address: str, **fields: Any) -> str:
    """Create a shared provider; return the path of its Ollama endpoints."""
    body = draft(address, kind="ollama", **{"headers": {"X-Team": HEADER}, **fields})
    made = await operator.post("/api/providers", body)
    assert made.status == 201, made.body
    return f"/api/providers/{made['id']}/ollama"


async def pull(caller: Caller, path: str, model: str = "tiny", **fields: Any) -> Reply:
    return await caller.post(f"{path}/pulls", {"model": model, **fields})


async def in_state(caller: Caller, path: str, pull_id: str, *states: str) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        items = (await caller.get(f"{path}/pulls"))["items"]
        found = next(item for item in items if item["id"] == pull_id)
        return found if found["state"] in states else None

    return await eventually(reached, 20, f"the pull is {states}", every_s=0.05)


async def ended(caller: Caller, path: str, model: str = "tiny", **fields: Any) -> dict[str, Any]:
    """Pull a model, and return the pull's last state."""
    started = await pull(caller, path, model, **fields)
    assert started.status == 202, started.body
    return await in_state(caller, path, started["id"], "succeeded", "failed", "cancelled", "interrupted")


async def held(caller: Caller, path: str, ollama: OllamaServer, model: str = "tiny") -> str:
    """Start a pull that stops in the middle until `release`; return its id."""
    ollama.hold()
    ollama.scripts[model] = HALF
    pull_id = (await pull(caller, path, model))["id"]
    await half_done(caller, path, pull_id)
    return pull_id


async def half_done(caller: Caller, path: str, pull_id: str) -> None:
    async def shown() -> bool:
        items = (await caller.get(f"{path}/pulls"))["items"]
        return any(item["id"] == pull_id and item["completed"] == 50 for item in items)

    await eventually(shown, 20, "half of the model is there", every_s=0.05)


async def audited(app: KairosApp, action: str) -> list[tuple[str, dict[str, Any]]]:
    async with app.database.scope(Scope(app.project_id, app.user_id, operator=True)) as session:
        rows = await session.execute(
            text("select target, data from audit_log where action = :a order by id"), {"a": action}
        )
        return [(target, data) for target, data in rows]


class TestListing:
    async def test_installed_and_loaded_models_are_listed(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        ollama.store.add_base("idle", base_file(text="idle"))
        async with ollama.store.loaded("smol", {"num_ctx": 4096}):
            listed = await operator.get(f"{path}/models")
        assert (listed["ok"], listed["problem"], listed["not_installed"]) == (True, None, [])
        assert [model["name"] for model in listed["installed"]] == ["idle:latest", "smol:latest"]
        smol = listed["installed"][1]
        assert (smol["size"], smol["parameters"], smol["quantization"]) == (len(base_file()), "135M", "Q4_1")
        assert (smol["context"], smol["capabilities"], smol["added"]) == (8192, ["completion", "tools"], [])
        [loaded] = listed["loaded"]
        assert (loaded["name"], loaded["memory"], loaded["vram"], loaded["context"]) == ("smol:latest", 200, 150, 4096)
        assert loaded["until"] is None

    async def test_wizard_and_page_describe_a_model_alike(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        [installed] = (await operator.get(f"{path}/models"))["installed"]
        [listed] = (await operator.get(path.replace("/ollama", "/models")))["models"]
        assert (listed["name"], listed["context"]) == (installed["name"], installed["context"]) == ("smol:latest", 8192)
        assert (installed["capabilities"], listed["capabilities"]) == (
            ["completion", "tools"],
            ["json_schema", "tools"],
        )

    async def test_traits_are_asked_for_once(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        for _ in range(3):
            assert (await operator.get(f"{path}/models"))["installed"][0]["context"] == 8192
        assert ollama.calls["POST /api/show"] == 1

    async def test_model_that_cannot_be_described_is_listed(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        ollama.fail("/api/show", 500, "broken file")
        [model] = (await operator.get(f"{path}/models"))["installed"]
        assert (model["name"], model["context"], model["capabilities"]) == ("smol:latest", None, None)

    async def test_catalogue_and_disk_are_compared(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        models = [{"upstream": "Smol", "name": "small"}, {"upstream": "gone:1b", "name": "gone"}]
        added = await operator.post(path.replace("/ollama", "/models"), {"models": models})
        assert added.status == 201, added.body
        listed = await operator.get(f"{path}/models")
        assert listed["installed"][0]["added"] == ["small"]
        assert [(one["name"], one["upstream"]) for one in listed["not_installed"]] == [("gone", "gone:1b")]

    async def test_server_that_is_away_is_a_problem_with_a_remedy(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        await ollama.close_port()
        listed = await operator.get(f"{path}/models")
        assert (listed.status, listed["ok"], listed["problem"]["kind"]) == (200, False, "unreachable")
        assert "OLLAMA_HOST=0.0.0.0" in listed["problem"]["remedy"]

    @pytest.mark.parametrize("answer", [(404, {"error": "no such page"}), {"data": []}, [1]])
    async def test_other_server_is_recognised(self, operator: Caller, answer: Any):
        async with AnyServer(lambda _: answer) as server:
            path = await shared(operator, f"{server.address}/v1")
            listed = await operator.get(f"{path}/models")
        assert listed["ok"] is False
        assert "Ollama server" in listed["problem"]["remedy"]

    async def test_provider_of_another_kind_is_refused(self, operator: Caller, ollama: OllamaServer):
        made = await operator.post("/api/providers", draft(ollama.base_url))
        path = f"/api/providers/{made['id']}/ollama"
        for reply in (
            await operator.get(f"{path}/models"),
            await operator.get(f"{path}/pulls"),
            await pull(operator, path),
            await operator.call("DELETE", f"{path}/models/smol"),
        ):
            assert (reply.status, reply["code"]) == (409, "not_ollama")
        assert not ollama.pulled

    async def test_unknown_provider_is_not_found(self, operator: Caller):
        for tail in ("models", "pulls"):
            assert (await operator.get(f"/api/providers/{new_id()}/ollama/{tail}")).status == 404


class TestPulls:
    async def test_pull_shows_its_progress_and_installs_the_model(
        self, app: KairosApp, operator: Caller, ollama: OllamaServer
    ):
        path = await shared(operator, ollama.base_url)
        pull_id = await held(operator, path, ollama)
        [shown] = (await operator.get(f"{path}/pulls"))["items"]
        assert (shown["id"], shown["model"], shown["state"]) == (pull_id, "tiny", "running")
        assert (shown["phase"], shown["completed"], shown["total"]) == ("downloading", 50, 100)
        ollama.release()
        done = await in_state(operator, path, pull_id, "succeeded")
        assert (done["phase"], done["completed"], done["total"], done["problem"]) == ("finishing", 100, 100, None)
        assert done["ended_at"] >= done["started_at"]
        installed = (await operator.get(f"{path}/models"))["installed"]
        assert "tiny:latest" in [model["name"] for model in installed]
        assert ollama.pulled == [{"model": "tiny", "insecure": False}]
        assert (await audited(app, "provider.pull_started"))[-1:] == [("tiny", {"provider": "Scripted"})]

    @pytest.mark.parametrize(
        ("text_", "cause", "remedy"),
        [
            ("pull model manifest: file does not exist", "the registry has no model tiny", "Check the name"),
            ("write /models/blobs/x: no space left on device", "the disk of the Ollama server is full", "enlarge"),
            ('Get "https://r.test/": dial tcp: lookup r.test: no such host', "cannot reach the registry", "proxy"),
        ],
    )
    async def test_error_in_the_stream_names_cause_and_remedy(
        self, operator: Caller, ollama: OllamaServer, text_: str, cause: str, remedy: str
    ):
        ollama.scripts["tiny"] = (MANIFEST, layer(10, 100), error(text_))
        failed = await ended(operator, await shared(operator, ollama.base_url))
        assert (failed["state"], failed["completed"]) == ("failed", 10)
        assert cause in failed["problem"]["cause"]
        assert remedy in failed["problem"]["remedy"]

    async def test_error_before_the_stream_names_cause_and_remedy(self, operator: Caller, ollama: OllamaServer):
        ollama.fail("/api/pull", 500, "insecure protocol http")
        failed = await ended(operator, await shared(operator, ollama.base_url))
        assert "no TLS" in failed["problem"]["cause"]

    @pytest.mark.parametrize(
        ("script", "cause"),
        [
            ((MANIFEST, layer(50, 100)), "closed the connection before tiny was complete"),
            ((), "closed the connection before tiny was complete"),
            ((MANIFEST, LOST), "closed the connection"),
            ((b"<!doctype html><title>Proxy</title>\n",), "did not answer like Ollama"),
            ((MANIFEST, b'{"status": \n'), "did not answer like Ollama"),
            ((b"x" * 70_000,), "did not answer like Ollama"),
            (({"status": "Success"}, [1], None), "closed the connection"),
        ],
        ids=range(7),
    )
    async def test_odd_stream_fails_with_a_cause(self, operator: Caller, ollama: OllamaServer, script: Any, cause: str):
        ollama.scripts["tiny"] = script
        failed = await ended(operator, await shared(operator, ollama.base_url))
        assert failed["state"] == "failed"
        assert cause in failed["problem"]["cause"]
        assert failed["problem"]["remedy"]

    async def test_odd_numbers_do_not_fail_a_pull(self, operator: Caller, ollama: OllamaServer):
        odd = ({"digest": "a", "total": -5}, {"digest": "b", "completed": 9e99}, layer(500, 100))
        ollama.scripts["tiny"] = (MANIFEST, *odd, line(SUCCESS).strip())
        done = await ended(operator, await shared(operator, ollama.base_url))
        assert (done["state"], done["completed"], done["total"]) == ("succeeded", 100, 100)

    async def test_cancelled_pull_closes_its_connection(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        pull_id = await held(operator, path, ollama)
        assert ollama.pulling == 1
        assert (await operator.post(f"{path}/pulls/{pull_id}/cancel")).status == 200
        cancelled = await in_state(operator, path, pull_id, "cancelled")
        assert (cancelled["completed"], cancelled["problem"]) == (50, None)
        await eventually(lambda: ollama.pulling == 0, 5, "the connection is closed")
        again = await operator.post(f"{path}/pulls/{pull_id}/cancel")
        assert (again.status, again["state"]) == (200, "cancelled"), "an ended pull stays as it is"
        ollama.scripts["tiny"] = COMPLETE
        assert (await ended(operator, path))["state"] == "succeeded"

    async def test_unknown_pull_cannot_be_cancelled(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        assert (await operator.post(f"{path}/pulls/{new_id()}/cancel")).status == 404

    async def test_number_of_pulls_is_limited(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        ids = [await held(operator, path, ollama, f"tiny{number}") for number in range(MOST_PULLS)]
        refused = await pull(operator, path, "another")
        assert (refused.status, "which is the limit" in refused["detail"]) == (409, True)
        same = await pull(operator, path, "Tiny0:latest")
        assert (same.status, "already" in same["detail"]) == (409, True)
        assert (await pull(operator, await shared(operator, ollama.base_url, name="Other"), "x")).status == 202
        await operator.post(f"{path}/pulls/{ids[0]}/cancel")
        await in_state(operator, path, ids[0], "cancelled")
        ollama.scripts["another"] = COMPLETE
        assert (await ended(operator, path, "another"))["state"] == "succeeded"

    async def test_concurrent_starts_stay_within_the_limit(self, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        ollama.hold()
        ollama.scripts |= {f"tiny{number}": HALF for number in range(6)}
        replies = await asyncio.gather(*(pull(operator, path, f"tiny{number}") for number in range(6)))
        assert sorted(reply.status for reply in replies) == [202] * MOST_PULLS + [409] * (6 - MOST_PULLS)

    @pytest.mark.parametrize("name", ["", "a b", "../x", "user:pass@host/a/b", "x" * 700])
    async def test_invalid_name_is_refused(self, operator: Caller, ollama: OllamaServer, name: str):
        path = await shared(operator, ollama.base_url)
        assert (await pull(operator, path, name)).status == 422
        assert ollama.pulled == []

    async def test_secrets_are_sent_and_do_not_come_back(
        self, operator: Caller, ollama: OllamaServer, caplog: pytest.LogCaptureFixture
    ):
        """A proxy in front of Ollama may want a key, and an error may repeat it."""
        echo = f"token {KEY} of {HEADER} is wrong"
        ollama.scripts["tiny"] = (MANIFEST, error(echo))
        ollama.scripts["odd"] = (f"<html>{echo}</html>\n".encode(),)
        path = await shared(operator, ollama.base_url)
        texts = [str(await ended(operator, path)), str(await ended(operator, path, "odd"))]
        ollama.fail("/api/pull", 500, echo)
        texts.append(str(await ended(operator, path, "third")))
        for failing in ("/api/tags", "/api/delete"):
            ollama.fail(failing, 403, echo)
        texts.append(str((await operator.get(f"{path}/models")).body))
        texts.append(str((await operator.call("DELETE", f"{path}/models/smol")).body))
        assert all("is wrong" in text_ for text_ in texts)
        assert not [text_ for text_ in (*texts, caplog.text) if KEY in text_ or HEADER in text_]

    async def test_removed_provider_ends_its_pull(
        self, operator: Caller, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
    ):
        """Nobody could see or cancel it any more."""
        monkeypatch.setattr("kairos.orchestration.providers.ollama.pulls.CHECK_S", 0.1)
        assert CHECK_S <= 5
        path = await shared(operator, ollama.base_url)
        await held(operator, path, ollama)
        assert (await operator.call("DELETE", path.removesuffix("/ollama"))).status == 204
        await eventually(lambda: ollama.pulling == 0, 10, "the connection is closed")


class TestSeveralDaemons:
    async def test_pull_is_seen_and_cancelled_on_another_daemon(
        self, addresses: Addresses, models: ModelServer, app: KairosApp, operator: Caller, ollama: OllamaServer
    ):
        path = await shared(operator, ollama.base_url, **NO_SECRET)
        pull_id = await held(operator, path, ollama)
        async with open_app(addresses, models) as other, serving(other.parts) as anonymous:
            second = await operator_of(other, anonymous)
            await half_done(second, path, pull_id)
            refused = await pull(second, path)
            assert (refused.status, "already" in refused["detail"]) == (409, True)
            await second.post(f"{path}/pulls/{pull_id}/cancel")
            await in_state(second, path, pull_id, "cancelled")
        await eventually(lambda: ollama.pulling == 0, 5, "the connection is closed")

    async def test_pull_of_a_stopped_daemon_is_interrupted_and_can_be_repeated(
        self, addresses: Addresses, models: ModelServer, operator: Caller, ollama: OllamaServer
    ):
        path = await shared(operator, ollama.base_url, **NO_SECRET)
        async with open_app(addresses, models) as other, serving(other.parts) as anonymous:
            pull_id = await held(await operator_of(other, anonymous), path, ollama)
        [shown] = (await operator.get(f"{path}/pulls"))["items"]
        assert (shown["id"], shown["state"], shown["completed"]) == (pull_id, "interrupted", 50)
        assert "continues where it stopped" in shown["problem"]["remedy"]
        await eventually(lambda: ollama.pulling == 0, 5, "the connection is closed")
        ollama.release()
        assert (await ended(operator, path))["state"] == "succeeded"


class TestDeletion:
    async def test_model_is_deleted_from_the_disk(self, app: KairosApp, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        ollama.store.add_base("team/model:1b", base_file(text="x"))
        assert (await operator.call("DELETE", f"{path}/models/team/model:1b")).status == 204
        assert list(ollama.store.models) == ["smol:latest"]
        assert (await audited(app, "provider.model_uninstalled"))[-1:] == [("team/model:1b", {"provider": "Scripted"})]

    async def test_missing_model_is_named(self, app: KairosApp, operator: Caller, ollama: OllamaServer):
        path = await shared(operator, ollama.base_url)
        gone = await operator.call("DELETE", f"{path}/models/gone:1b")
        assert (gone.status, gone["code"], "gone:1b" in gone["detail"]) == (404, "model_not_installed", True)
        assert "gone:1b" not in dict(await audited(app, "provider.model_uninstalled"))

    async def test_server_that_is_not_ollama_is_no_missing_model(self, operator: Caller):
        async with AnyServer(lambda _: (404, {"error": "no such page"})) as server:
            path = await shared(operator, f"{server.address}/v1")
            refused = await operator.call("DELETE", f"{path}/models/smol")
        assert (refused.status, refused["code"]) == (422, "provider_unusable")

    async def test_model_of_the_catalogue_is_not_deleted(self, operator: Caller, ollama: OllamaServer):
        """Whichever name, state or provider of the same server it has there."""
        path = await shared(operator, ollama.base_url)
        other = await shared(operator, f"{ollama.address}/", name="Same server")
        models = path.replace("/ollama", "/models")
        added = await operator.post(models, {"models": [{"upstream": "SMOL", "name": "small", "enabled": False}]})
        for refused in (
            await operator.call("DELETE", f"{path}/models/smol"),
            await operator.call("DELETE", f"{path}/models/smol:latest"),
        ):
            assert (refused.status, refused["code"]) == (409, "conflict")
            assert "small" in refused["detail"]
            assert "kairos model remove" in refused["detail"]
        model_id = added["models"][0]["id"]
        await operator.call("PATCH", f"{models}/{model_id}", json={"enabled": True})
        assert (await operator.call("DELETE", f"{other}/models/smol")).status == 409
        await operator.call("DELETE", f"{models}/{model_id}")
        assert (await operator.call("DELETE", f"{path}/models/smol")).status == 204


class TestProjects:
    """A project's own provider at a host that operators have listed, which other projects may use as well."""

    @pytest.fixture
    async def two(self, addresses: Addresses, models: ModelServer) -> AsyncIterator[tuple[Caller, Caller, Caller]]:
        """The owners of two projects, and an operator."""
        allowed = ProviderSettings(private_hosts=["127.0.0.1"])
        async with open_app(addresses, models, providers=allowed) as app, serving(app.parts) as anonymous:
            owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
            other_project, other_user = await new_project(app.parts, "Other")
            other = await signed_in(app.parts, anonymous, other_user, other_project)
            yield owner, other, await operator_of(app, anonymous)
            await delete_all(app.database)

    async def test_owner_pulls_and_deletes_and_others_see_nothing(
        self, two: tuple[Caller, Caller, Caller], ollama: OllamaServer
    ):
        owner, other, operator = two
        path = await own(owner, ollama)
        ollama.scripts["tiny"] = COMPLETE
        done = await ended(owner, path)
        assert done["state"] == "succeeded"
        assert (await other.get(f"{path}/pulls")).status == 404
        assert (await other.post(f"{path}/pulls/{done['id']}/cancel")).status == 404
        assert (await operator.get(path.replace("/api/project/", "/api/") + "/pulls")).status == 404
        assert (await owner.call("DELETE", f"{path}/models/tiny")).status == 204

    async def test_projects_choose_no_host_in_the_operators_network(
        self, two: tuple[Caller, Caller, Caller], ollama: OllamaServer
    ):
        owner, _, operator = two
        path = await own(owner, ollama)
        for body in (
            {"model": "10.0.0.7:5000/library/tiny"},
            {"model": "internal.corp/library/tiny"},
            {"model": "tiny", "insecure": True},
        ):
            refused = await owner.post(f"{path}/pulls", body)
            assert (refused.status, "ask an operator" in refused["detail"]) == (422, True), body
        assert ollama.pulled == []
        assert (await owner.post(f"{path}/pulls", {"model": "hf.co/team/tiny"})).status == 202
        shared_path = await shared(operator, ollama.base_url)
        assert (await pull(operator, shared_path, "internal.corp/library/tiny", insecure=True)).status == 202

    async def test_model_that_another_project_uses_is_not_deleted(
        self, two: tuple[Caller, Caller, Caller], ollama: OllamaServer
    ):
        owner, other, operator = two
        used = await own(other, ollama)
        body = {"models": [{"upstream": "smol", "name": "secret name"}]}
        assert (await other.post(used.replace("/ollama", "/models"), body)).status == 201
        for caller, path in ((owner, await own(owner, ollama)), (operator, await shared(operator, ollama.base_url))):
            refused = await caller.call("DELETE", f"{path}/models/smol")
            assert (refused.status, "a project uses it" in refused["detail"]) == (409, True)
            assert "secret name" not in str(refused.body)


async def own(owner: Caller, ollama: OllamaServer) -> str:
    """Create a provider of the project; return the path of its Ollama endpoints."""
    made = await owner.post("/api/project/providers", draft(ollama.base_url, kind="ollama"))
    assert made.status == 201, made.body
    return f"/api/project/providers/{made['id']}/ollama"
