"""Pull from a registry, list and delete on a real Ollama, named by `KAIROS_TEST_OLLAMA_URL`; see CONTRIBUTING.md.

Nothing comes from the internet: the registry is the kit's. The same on a scripted Ollama: test_ollama_management.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kairos.fine_tuning.adapters.ollama_calls import OllamaCalls
from kairos.http import HttpClient, HttpStatus
from tests.kit.api import Caller
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp
from tests.kit.model_registry import ModelRegistry
from tests.kit.ollama_place import URL, ollama_place
from tests.kit.providers import delete_all, draft, operator_of

pytestmark = [
    pytest.mark.skipif(not URL, reason="KAIROS_TEST_OLLAMA_URL names no Ollama"),
    pytest.mark.timeout(300),
]
SIZE = 512 * 1024


@dataclass(frozen=True, slots=True)
class RealOllama:
    """A provider whose server is the real Ollama."""

    operator: Caller
    path: str
    registry: ModelRegistry
    model: str

    async def pull(self, name: str, *, insecure: bool = True) -> str:
        started = await self.operator.post(f"{self.path}/pulls", {"model": name, "insecure": insecure})
        assert started.status == 202, started.body
        return started["id"]

    async def get(self, pull_id: str) -> dict[str, Any]:
        items = (await self.operator.get(f"{self.path}/pulls"))["items"]
        return next(item for item in items if item["id"] == pull_id)

    async def ended(self, pull_id: str) -> dict[str, Any]:
        async def found() -> dict[str, Any] | None:
            pull = await self.get(pull_id)
            return None if pull["state"] == "running" else pull

        return await eventually(found, 60, "the pull ends", every_s=0.1)

    async def installed(self) -> dict[str, dict[str, Any]]:
        listed = await self.operator.get(f"{self.path}/models")
        assert listed["ok"], listed.body
        return {model["name"]: model for model in listed["installed"]}


@pytest.fixture
async def real(app: KairosApp, anonymous: Caller) -> AsyncIterator[RealOllama]:
    operator = await operator_of(app, anonymous)
    made = await operator.post("/api/providers", draft(f"{URL}/v1", kind="ollama", key=None))
    async with ModelRegistry() as registry, HttpClient() as http:
        name = f"kairos-test-{uuid4().hex[:8]}"
        yield RealOllama(operator, f"/api/providers/{made['id']}/ollama", registry, name)
        registry.go.set()
        with suppress(HttpStatus):
            await OllamaCalls(http, URL).delete(registry.name(name))
    await delete_all(app.database)


async def test_pull_shows_progress_continues_after_a_cancellation_and_installs(real: RealOllama):
    size = real.registry.add(real.model, SIZE)
    name = real.registry.name(real.model)
    real.registry.half = True
    first = await real.pull(name)

    async def half_done() -> bool:
        pull = await real.get(first)
        assert pull["state"] == "running", pull
        return pull["phase"] == "downloading" and 0 < (pull["completed"] or 0) < (pull["total"] or 0)

    await eventually(half_done, 60, "half of the file is there", every_s=0.1)
    await real.operator.post(f"{real.path}/pulls/{first}/cancel")
    assert (await real.ended(first))["state"] == "cancelled"
    assert f"{name}:latest" not in await real.installed()

    real.registry.go.set()
    done = await real.ended(await real.pull(name))
    assert (done["state"], done["completed"], done["total"]) == ("succeeded", size, size)
    assert real.registry.ranges[0] == 0
    assert any(begin > 0 for begin in real.registry.ranges[1:]), "the second pull did not continue"
    model = (await real.installed())[f"{name}:latest"]
    assert (model["size"], model["parameters"], model["quantization"]) == (size, "7.5K", "F32")

    assert (await real.operator.call("DELETE", f"{real.path}/models/{name}")).status == 204
    assert f"{name}:latest" not in await real.installed()
    gone = await real.operator.call("DELETE", f"{real.path}/models/{name}")
    assert (gone.status, gone["code"]) == (404, "model_not_installed")


async def test_failures_name_cause_and_remedy(real: RealOllama):
    unknown = await real.ended(await real.pull(real.registry.name("nothing")))
    assert unknown["state"] == "failed"
    assert "the registry has no model" in unknown["problem"]["cause"]
    real.registry.add(real.model, 1000)
    plain = await real.ended(await real.pull(real.registry.name(real.model), insecure=False))
    assert "the registry has no TLS" in plain["problem"]["cause"]
    away = await real.ended(await real.pull("127.0.0.1:9/library/tiny"))
    assert "cannot reach the registry" in away["problem"]["cause"]


async def test_loaded_model_is_shown_and_not_deleted_while_the_catalogue_has_it(real: RealOllama, tmp_path: Path):
    async with ollama_place(tmp_path) as place:
        name = place.base.upstream
        await place.calls.chat(name, "Hello")
        listed = await real.operator.get(f"{real.path}/models")
        loaded = next(model for model in listed["loaded"] if model["name"] == name)
        assert loaded["memory"] > 50_000_000
        assert loaded["context"] > 0
        assert datetime.fromisoformat(loaded["until"]) > datetime.now(UTC)
        model = next(model for model in listed["installed"] if model["name"] == name)
        assert (model["context"], "completion" in model["capabilities"]) == (8192, True)
        models = real.path.replace("/ollama", "/models")
        added = await real.operator.post(models, {"models": [{"upstream": name, "name": "base"}]})
        refused = await real.operator.call("DELETE", f"{real.path}/models/{name}")
        assert (refused.status, "base" in refused["detail"]) == (409, True)
        await place.calls.delete(name)
        assert [one["upstream"] for one in (await real.operator.get(f"{real.path}/models"))["not_installed"]] == [name]
        await real.operator.call("DELETE", f"{models}/{added['models'][0]['id']}")
