"""How adapters come into service and leave it: the gate's ruling, people, and what the router measures; on real
PostgreSQL and Redis, with an Ollama of the test kit that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kairos.config import FineTuningSettings, ModelSettings
from kairos.db.models import AdapterRow, AdapterState, SampleRow, TrainingRunRow
from kairos.db.repositories import adapters
from kairos.embedded import Addresses
from kairos.embedded.model import check_weights
from kairos.errors import Conflict
from kairos.fine_tuning.adapters.adapters import KEPT
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.gate.evaluation import Comparison, GateOutcome, GateReport
from kairos.http import HttpClient
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.tenancy import new_id
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.lora_file import write_lora
from tests.kit.model_server import ModelServer
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import adapter_file, base_file

BASE = "smol"
NOTHING = Comparison((), None, None, None, None, None)
PROMPT = "Write the Vex call to clean the lamp."


@dataclass
class Works:
    """A Kairos whose only model is served by Ollama, and a way to make adapters without hours of training."""

    app: KairosApp
    ollama: OllamaServer
    folder: Path

    @property
    def promotions(self):
        return self.app.parts.services.promotions

    async def candidate(self, says: str, content: bytes | None = None) -> AdapterRow:
        """An adapter that answers with these words before the base's own, as a run would leave it."""
        app, run_id, sample_id = self.app, new_id(), new_id()
        trained = self.folder / str(run_id)
        trained.mkdir()
        for name in KEPT:
            (trained / name).write_bytes(content or adapter_file(says))
        async with app.database.project(app.project_id) as session:
            version = await adapters.next_version(session, BASE)
        files = app.parts.services.adapter_files
        stored = files.save(trained, app.project_id, BASE, version, {"run": str(run_id)})
        row = AdapterRow(
            project_id=app.project_id, id=run_id, run_id=run_id, base=BASE, version=version, path=stored.path,
            sha256=stored.sha256, bytes=stored.bytes, manifest={},
        )  # fmt: skip
        prompt = [{"role": "user", "content": PROMPT}]
        async with app.database.project(app.project_id) as session:
            session.add(TrainingRunRow(project_id=app.project_id, id=run_id, base=BASE))
            session.add(
                SampleRow(
                    project_id=app.project_id,
                    id=sample_id,
                    prompt=prompt,
                    reason="r",
                    state="approved",
                    corrected_output="x",
                )
            )
            await session.flush()
            await adapters.add(session, row, [{"sample_id": sample_id, "version": 1, "part": "training"}])
        return row

    async def ruled(self, row: AdapterRow, ruling: GateOutcome) -> AdapterRow:
        report = GateReport(NOTHING, NOTHING, 0.1, ruling, "as the test says")
        return await self.promotions.rule(self.app.project_id, row.id, report)

    async def state(self, row: AdapterRow) -> AdapterState:
        async with self.app.database.project(self.app.project_id) as session:
            found = await adapters.get(session, row.id)
        assert found
        return AdapterState(found.state)

    async def asked(self, wanted: str, amount: int, *, within_s: float = 60) -> list[str]:
        """So many tasks that want a word in the answer; the models that they were given to."""
        answered = []
        for number in range(amount):
            task_id = await self.app.submit(f"{PROMPT} {number}", task_type="vex", require=(wanted,))
            answered.append((await self.app.finished(task_id, within_s)).model)
        return answered

    def name_of(self, row: AdapterRow) -> str:
        return served_name(BASE, self.app.project_id, row.version)


@pytest.fixture
async def works(addresses: Addresses, tmp_path: Path) -> AsyncIterator[Works]:
    async with opened(addresses, tmp_path) as works:
        yield works


@asynccontextmanager
async def opened(addresses: Addresses, folder: Path, **settings) -> AsyncIterator[Works]:
    async with OllamaServer() as ollama, ModelServer() as unused:
        ollama.store.add_base(BASE, base_file())
        base = ModelSettings(
            name=BASE, base_url=ollama.base_url, local=True, adapters="ollama", weights=check_weights()
        )
        fine_tuning = FineTuningSettings(folder=folder / "models", canary_answers=3, **settings)
        async with open_app(
            addresses, unused, data_dir=folder, models=[base], guardian={"tries": 1}, fine_tuning=fine_tuning
        ) as app:
            yield Works(app, ollama, folder)


async def test_what_is_better_gets_a_share_and_then_all(works: Works):
    row = await works.candidate("right")
    assert (await works.ruled(row, GateOutcome.PROMOTE)).state == AdapterState.CANARY
    async with works.app.working():
        answered = await works.asked("right", 16)

        async def live() -> bool:
            return await works.state(row) is AdapterState.LIVE

        await eventually(live, 20, "a canary that does better goes live")
        after = await works.asked("right", 10)
    assert BASE in answered, "a canary gets a share of the requests, not all"
    assert after.count(works.name_of(row)) >= 8


async def test_what_serves_worse_than_what_it_replaced_is_rolled_back_by_itself(works: Works):
    good, bad = await works.candidate("right"), await works.candidate("wrong")
    project = works.app.project_id
    await works.ruled(good, GateOutcome.PROMOTE)
    await works.promotions.promote(project, good.id, works.app.user_id)
    async with works.app.working():
        await works.asked("right", 8)
        await works.ruled(bad, GateOutcome.PROMOTE)
        await works.promotions.promote(project, bad.id, works.app.user_id)
        assert await works.state(good) is AdapterState.RETIRED
        for number in range(8):  # named, as the router itself would soon avoid it
            await works.app.finished(
                await works.app.submit(
                    f"{PROMPT} {number}", task_type="vex", require=("right",), model=works.name_of(bad)
                )
            )

        async def rolled_back() -> bool:
            return await works.state(bad) is AdapterState.RETIRED

        await eventually(rolled_back, 20, "the router's own figures end it")
        assert await works.state(good) is AdapterState.LIVE, "what it had replaced serves again"


async def test_a_person_decides_where_the_gate_cannot(works: Works):
    row = await works.candidate("right")
    project, user = works.app.project_id, works.app.user_id
    assert (await works.ruled(row, GateOutcome.NEEDS_APPROVAL)).state == AdapterState.NEEDS_APPROVAL
    assert works.app.parts.services.router.catalog.find(works.name_of(row), project) is None
    assert (await works.promotions.promote(project, row.id, user)).state == AdapterState.CANARY
    served = works.app.parts.services.router.catalog.find(works.name_of(row), project)
    assert served
    assert (served.adapter_id, served.share) == (row.id, 0.5)
    other = await works.candidate("other")
    await works.ruled(other, GateOutcome.NEEDS_APPROVAL)
    assert (await works.promotions.refuse(project, other.id, user)).state == AdapterState.REFUSED
    with pytest.raises(Conflict, match="refused"):
        await works.promotions.promote(project, other.id, user)


async def test_one_step_back_by_hand_and_other_tools_follow(works: Works):
    project, user = works.app.project_id, works.app.user_id
    first, second = await works.candidate("first"), await works.candidate("second")
    for row in (first, second):
        await works.ruled(row, GateOutcome.NEEDS_APPROVAL)
        await works.promotions.promote(project, row.id, user)
        await works.promotions.promote(project, row.id, user)
    aliases = [name for name in works.ollama.store.models if ":live" in name]
    assert len(aliases) == 1
    with_second = works.ollama.store.models[aliases[0]]
    left = await works.promotions.roll_back(project, BASE, user)
    assert left.id == second.id
    assert await works.state(first) is AdapterState.LIVE
    assert works.ollama.store.models[aliases[0]] != with_second
    await works.promotions.roll_back(project, BASE, user)
    with pytest.raises(Conflict, match="no adapter of this base is deployed"):
        await works.promotions.roll_back(project, BASE, user)
    await works.promotions.promote(project, first.id, user)
    with pytest.raises(Conflict, match="to delete"):
        await works.promotions.delete(project, first.id, user)
    deleted = await works.promotions.delete(project, second.id, user)
    assert deleted.state == AdapterState.DELETED
    assert not (works.folder / "models" / "lora_adapters" / deleted.path).exists()


async def test_a_file_that_was_changed_is_not_served_and_says_so(works: Works):
    row = await works.candidate("right")
    file = works.folder / "models" / "lora_adapters" / row.path / "adapter.gguf"
    file.chmod(0o600)
    file.write_bytes(adapter_file("evil"))
    await works.ruled(row, GateOutcome.PROMOTE)
    services = works.app.parts.services
    assert "sha256" in (services.deployments.problem(row.id) or "")
    assert services.router.catalog.find(works.name_of(row), works.app.project_id) is None


async def test_ollama_away_the_service_waits_and_says_so(works: Works):
    await works.ollama.close_port()
    row = await works.candidate("right")
    await works.ruled(row, GateOutcome.PROMOTE)
    services, project = works.app.parts.services, works.app.project_id
    assert "unavailable" in (services.deployments.problem(row.id) or "")
    await works.ollama.open_port()
    await services.deployments.refresh()
    assert services.deployments.problem(row.id) is None
    assert services.router.catalog.find(works.name_of(row), project)


async def test_ollama_away_the_gate_asks_a_llama_cpp_of_its_own_and_says_so(works: Works):
    await works.ollama.close_port()
    lora = await asyncio.to_thread(write_lora, works.folder / "lora.gguf", 1)
    row = await works.candidate("", await asyncio.to_thread(lora.read_bytes))
    request = ChatRequest(({"role": "user", "content": PROMPT},), temperature=0.0, max_tokens=8)
    async with works.app.parts.services.deployments.gate_models(row) as both, HttpClient() as http:
        assert "llama.cpp" in both.note
        assert "unavailable" in both.note
        base, candidate = [
            (await Providers(http).chat(model, request, timeout_s=60)).text for model in (both.base, both.candidate)
        ]
    assert base != candidate


async def test_every_replica_serves_what_one_of_them_promoted(works: Works, addresses: Addresses):
    async with opened(addresses, works.folder) as other, other.app.working():
        other_router = other.app.parts.services.router
        # The same catalogue, at the same Ollama.
        other_router.catalog._shared[BASE] = replace(other_router.catalog._shared[BASE], base_url=works.ollama.base_url)
        row = await works.candidate("right")
        await works.ruled(row, GateOutcome.PROMOTE)
        project = works.app.project_id
        await eventually(
            lambda: other_router.catalog.find(works.name_of(row), project), 20, "the other one hears of it"
        )
        assert other_router.catalog.find(works.name_of(row), other.app.project_id) is None
