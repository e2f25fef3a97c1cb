"""Deployment and rollback of adapters by the gate, by people and by the router's measurements, on real PostgreSQL and
Redis, with the test kit's Ollama serving the adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kairos.config import FineTuningSettings, ModelSettings
from kairos.db.models import AdapterRow, AdapterState
from kairos.embedded import Addresses
from kairos.embedded.model import check_weights
from kairos.errors import Conflict
from kairos.fine_tuning.adapters.adapters import KEPT
from kairos.fine_tuning.gate.asking import ModelCalls
from kairos.fine_tuning.gate.evaluation import GateOutcome
from kairos.http import HttpClient
from kairos.llm.calls.providers import ChatRequest, Providers
from tests.kit.conditions import eventually
from tests.kit.installation import BASE, PROMPT, Installation
from tests.kit.kairos_app import open_app
from tests.kit.lora_file import write_lora
from tests.kit.model_server import ModelServer
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import adapter_file, base_file


@dataclass(slots=True)
class OllamaInstallation(Installation):
    """A Kairos whose only model is served by Ollama."""

    ollama: OllamaServer

    async def candidate(self, answer: str, content: bytes | None = None) -> AdapterRow:
        """Create an adapter that answers with this text before the base model's own."""
        return await self.stored(dict.fromkeys(KEPT, content or adapter_file(answer)), {})


@pytest.fixture
async def installation(addresses: Addresses, tmp_path: Path) -> AsyncIterator[OllamaInstallation]:
    async with open_installation(addresses, tmp_path) as installation:
        yield installation


@asynccontextmanager
async def open_installation(addresses: Addresses, folder: Path, **settings) -> AsyncIterator[OllamaInstallation]:
    async with OllamaServer() as ollama, ModelServer() as unused:
        ollama.store.add_base(BASE, base_file())
        base = ModelSettings(
            name=BASE, base_url=ollama.base_url, local=True, adapters="ollama", weights=check_weights()
        )
        fine_tuning = FineTuningSettings(folder=folder / "models", canary_answers=3, **settings)
        async with open_app(
            addresses, unused, data_dir=folder, models=[base], guardian={"tries": 1}, fine_tuning=fine_tuning
        ) as app:
            yield OllamaInstallation(app, folder, ollama)


async def test_better_adapter_serves_a_share_and_then_all_requests(installation: OllamaInstallation):
    row = await installation.candidate("right")
    assert (await installation.decide(row, GateOutcome.PROMOTE)).state == AdapterState.CANARY
    async with installation.app.working():
        answered = await installation.answering_models("right", 16)

        async def live() -> bool:
            return await installation.state(row) is AdapterState.LIVE

        await eventually(live, 20, "a better canary goes live")
        after = await installation.answering_models("right", 10)
    assert BASE in answered, "a canary gets a share of the requests, not all"
    assert after.count(installation.name_of(row)) >= 8


async def test_adapter_worse_than_its_predecessor_is_rolled_back_automatically(installation: OllamaInstallation):
    good, bad = await installation.candidate("right"), await installation.candidate("wrong")
    project = installation.app.project_id
    await installation.decide(good, GateOutcome.PROMOTE)
    await installation.promotions.promote(project, good.id, installation.app.user_id)
    async with installation.app.working():
        await installation.answering_models("right", 8)
        await installation.decide(bad, GateOutcome.PROMOTE)
        await installation.promotions.promote(project, bad.id, installation.app.user_id)
        assert await installation.state(good) is AdapterState.RETIRED
        for number in range(8):  # named, as the router would soon avoid it
            await installation.app.finished(
                await installation.app.submit(
                    f"{PROMPT} {number}", task_type="vex", require=("right",), model=installation.name_of(bad)
                )
            )

        async def rolled_back() -> bool:
            return await installation.state(bad) is AdapterState.RETIRED

        await eventually(rolled_back, 20, "the router's measurements end the deployment")
        assert await installation.state(good) is AdapterState.LIVE, "the replaced adapter serves again"


async def test_person_decides_when_the_gate_cannot(installation: OllamaInstallation):
    row = await installation.candidate("right")
    project, user = installation.app.project_id, installation.app.user_id
    assert (await installation.decide(row, GateOutcome.NEEDS_APPROVAL)).state == AdapterState.NEEDS_APPROVAL
    assert installation.app.parts.llm.router.catalog.find(installation.name_of(row), project) is None
    assert (await installation.promotions.promote(project, row.id, user)).state == AdapterState.CANARY
    served = installation.app.parts.llm.router.catalog.find(installation.name_of(row), project)
    assert served
    assert (served.adapter_id, served.share) == (row.id, 0.5)
    other = await installation.candidate("other")
    await installation.decide(other, GateOutcome.NEEDS_APPROVAL)
    assert (await installation.promotions.refuse(project, other.id, user)).state == AdapterState.REFUSED
    with pytest.raises(Conflict, match="refused"):
        await installation.promotions.promote(project, other.id, user)


async def test_manual_rollback_moves_the_ollama_alias(installation: OllamaInstallation):
    project, user = installation.app.project_id, installation.app.user_id
    first, second = await installation.candidate("first"), await installation.candidate("second")
    for row in (first, second):
        await installation.decide(row, GateOutcome.NEEDS_APPROVAL)
        await installation.promotions.promote(project, row.id, user)
        await installation.promotions.promote(project, row.id, user)
    aliases = [name for name in installation.ollama.store.models if ":live" in name]
    assert len(aliases) == 1
    with_second = installation.ollama.store.models[aliases[0]]
    left = await installation.promotions.roll_back(project, BASE, user)
    assert left.id == second.id
    assert await installation.state(first) is AdapterState.LIVE
    assert installation.ollama.store.models[aliases[0]] != with_second
    await installation.promotions.roll_back(project, BASE, user)
    with pytest.raises(Conflict, match="no adapter of this base is deployed"):
        await installation.promotions.roll_back(project, BASE, user)
    await installation.promotions.promote(project, first.id, user)
    with pytest.raises(Conflict, match="to delete"):
        await installation.promotions.delete(project, first.id, user)
    deleted = await installation.promotions.delete(project, second.id, user)
    assert deleted.state == AdapterState.DELETED
    assert not (installation.folder / "models" / "lora_adapters" / deleted.path).exists()


async def test_changed_file_is_not_served_and_is_reported(installation: OllamaInstallation):
    row = await installation.candidate("right")
    file = installation.folder / "models" / "lora_adapters" / row.path / "adapter.gguf"
    file.chmod(0o600)
    file.write_bytes(adapter_file("evil"))
    await installation.decide(row, GateOutcome.PROMOTE)
    parts = installation.app.parts
    assert "sha256" in (parts.learning.deployments.problem(row.id) or "")
    assert parts.llm.router.catalog.find(installation.name_of(row), installation.app.project_id) is None


async def test_deployment_waits_while_ollama_is_unavailable_and_reports_it(installation: OllamaInstallation):
    await installation.ollama.close_port()
    row = await installation.candidate("right")
    await installation.decide(row, GateOutcome.PROMOTE)
    parts, project = installation.app.parts, installation.app.project_id
    assert "unavailable" in (parts.learning.deployments.problem(row.id) or "")
    await installation.ollama.open_port()
    await parts.learning.deployments.refresh()
    assert parts.learning.deployments.problem(row.id) is None
    assert parts.llm.router.catalog.find(installation.name_of(row), project)


async def test_gate_uses_its_own_llama_cpp_while_ollama_is_unavailable_and_reports_it(installation: OllamaInstallation):
    await installation.ollama.close_port()
    lora = await asyncio.to_thread(write_lora, installation.folder / "lora.gguf", 1)
    row = await installation.candidate("", await asyncio.to_thread(lora.read_bytes))
    request = ChatRequest(({"role": "user", "content": PROMPT},), temperature=0.0, max_tokens=8)
    async with installation.app.parts.learning.deployments.gate_models(row) as both, HttpClient() as http:
        assert "llama.cpp" in both.note
        assert "unavailable" in both.note
        base, candidate = [
            (await ModelCalls(Providers(http), model).ask(request)).text for model in (both.base, both.candidate)
        ]
    assert base != candidate


async def test_every_replica_serves_a_promoted_adapter(installation: OllamaInstallation, addresses: Addresses):
    async with open_installation(addresses, installation.folder) as other, other.app.working():
        other_router = other.app.parts.llm.router
        # The second replica has the same catalog, at the same Ollama.
        other_router.catalog._shared[BASE] = replace(
            other_router.catalog._shared[BASE], base_url=installation.ollama.base_url
        )
        row = await installation.candidate("right")
        await installation.decide(row, GateOutcome.PROMOTE)
        project = installation.app.project_id
        await eventually(
            lambda: other_router.catalog.find(installation.name_of(row), project),
            20,
            "the other replica has loaded the adapter",
        )
        assert other_router.catalog.find(installation.name_of(row), other.app.project_id) is None
