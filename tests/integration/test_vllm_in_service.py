"""Adapters on vLLM in a whole Kairos, on real PostgreSQL and Redis, with the test kit's vLLM."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kairos.config import FineTuningSettings, ModelSettings
from kairos.db.models import AdapterRow
from kairos.embedded import Addresses
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.adapters import GGUF, PEFT
from kairos.fine_tuning.gate.evaluation import GateOutcome
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.routing.llm_router import CallContext
from tests.kit.installation import BASE, PROMPT, Installation
from tests.kit.kairos_app import open_app
from tests.kit.model_server import ModelServer
from tests.kit.vllm_server import VllmServer, peft_weights


@dataclass(slots=True)
class VllmInstallation(Installation):
    """A Kairos whose only model is served by vLLM."""

    vllm: VllmServer

    async def live(self, answer: str) -> AdapterRow:
        """Create an adapter that answers with this text before the base model's own, and promote it."""
        files = {GGUF: answer.encode(), "adapter_config.json": b'{"r": 8}'}
        files["adapter_model.safetensors"] = peft_weights(answer)
        hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in PEFT}
        row = await self.stored(files, {"files": hashes})
        await self.decide(row, GateOutcome.NEEDS_APPROVAL)
        for _ in ("canary", "live"):
            await self.promotions.promote(self.app.project_id, row.id, self.app.user_id)
        return row

    async def answer(self, row: AdapterRow) -> str:
        options = CallOptions(model=self.name_of(row), cache=False)
        request = ChatRequest(({"role": "user", "content": PROMPT},), temperature=0)

        async def emit(*_: object) -> None:
            pass

        answered = await self.app.parts.llm.router.complete(CallContext(self.app.project_id, options), request, emit)
        return answered.completion.text

    def is_open(self, row: AdapterRow) -> bool:
        return self.app.parts.llm.router.health(self.name_of(row), time.time()).open


@pytest.fixture
async def installation(addresses: Addresses, tmp_path: Path) -> AsyncIterator[VllmInstallation]:
    async with VllmServer(BASE) as vllm, ModelServer() as unused:
        base = ModelSettings(name=BASE, base_url=vllm.base_url, local=True, adapters="vllm", weights=tmp_path)
        fine_tuning = FineTuningSettings(folder=tmp_path / "models", canary_answers=3)
        async with open_app(addresses, unused, data_dir=tmp_path, models=[base], fine_tuning=fine_tuning) as app:
            yield VllmInstallation(app, tmp_path, vllm)


async def test_adapter_answers_again_after_vllm_has_restarted(installation: VllmInstallation):
    """The restarted server answered 404, after which a breaker stays open until somebody resets it."""
    row = await installation.live("right")
    assert (await installation.answer(row)).startswith("right base answers")
    await installation.vllm.restart()
    with pytest.raises(KairosError):
        await installation.answer(row)
    assert installation.is_open(row)
    await installation.app.parts.learning.deployments.refresh()
    assert not installation.is_open(row)
    assert (await installation.answer(row)).startswith("right base answers")


async def test_changed_weights_are_not_loaded(installation: VllmInstallation):
    """vLLM reads other files than the GGUF file, whose hash every server's adapters have."""
    row = await installation.live("right")
    weights = installation.folder / "models" / "lora_adapters" / row.path / "adapter_model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(peft_weights("changed"))
    deployments = installation.app.parts.learning.deployments
    await deployments.refresh()
    assert "the sha256 of adapter_model.safetensors is" in (deployments.problem(row.id) or "")
    weights.unlink()
    await deployments.refresh()
    assert "not on this machine" in (deployments.problem(row.id) or "")


async def test_deleted_adapter_is_unloaded(installation: VllmInstallation):
    first, second = await installation.live("first"), await installation.live("second")
    assert set(installation.vllm.adapters) == {installation.name_of(first), installation.name_of(second)}
    await installation.promotions.delete(installation.app.project_id, first.id, installation.app.user_id)
    assert set(installation.vllm.adapters) == {installation.name_of(second)}
