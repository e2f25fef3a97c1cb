"""Adapters on the embedded model, with the real weights, the real llama.cpp and random adapters."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from kairos.embedded import DataFolder, EmbeddedEngines
from kairos.fine_tuning.adapters.llama_cpp import (
    MOST_PROCESSES,
    SMALL_BYTES,
    EmbeddedAdapters,
    OneOffModels,
    processes_for,
)
from kairos.fine_tuning.adapters.serving import ServedAdapter
from kairos.http import HttpClient
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import AdapterHost, Model
from kairos.tenancy import ProjectId
from tests.kit.conditions import eventually
from tests.kit.lora_file import write_lora
from tests.kit.training import needs_training

pytestmark = [needs_training, pytest.mark.timeout(120)]

PROJECT = ProjectId(UUID("01a00000-0000-7000-8000-0000000000aa"))


class AdapterSetup:
    """The embedded model with a host for its adapters."""

    def __init__(self, engines: EmbeddedEngines, base: Model, providers: Providers, folder: Path) -> None:
        self.engines = engines
        self.host = EmbeddedAdapters(engines)
        self.base = base
        self.folder = folder
        self._providers = providers

    def adapter(self, seed: int, file: Path | None = None) -> ServedAdapter:
        file = file or self.folder / f"{seed}.gguf"
        if not file.exists():
            write_lora(file, seed)
        return ServedAdapter(UUID(int=seed), PROJECT, self.base, seed, file, f"sha of {file.name}")

    async def served(self, *adapters: ServedAdapter) -> list[Model]:
        models = [serving.model for serving in await self.host.serve(adapters)]
        return [model for model in models if model]

    async def ask(self, model: Model, tokens: int = 12, **options) -> str:
        messages = ({"role": "user", "content": "Tell me about the sea."},)
        request = ChatRequest(messages=messages, temperature=0.0, max_tokens=tokens)
        return (await self._providers.chat(model, request, timeout_s=60, **options)).text


@pytest.fixture(scope="module")
async def embedded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AdapterSetup]:
    folder = tmp_path_factory.mktemp("adapters")
    engines = EmbeddedEngines(folder / "data", postgres=False, valkey=False)
    addresses = await engines.start()
    assert addresses.model_url
    base = Model(
        "smollm2-135m", "smollm2-135m", addresses.model_url, addresses.model_api_key, local=True,
        adapter_host=AdapterHost.EMBEDDED,
    )  # fmt: skip
    try:
        async with HttpClient() as http:
            yield AdapterSetup(engines, base, Providers(http), folder)
    finally:
        await engines.stop()
    assert not any(state.pid for state in engines.states().values())


async def test_adapters_change_answers_and_the_base_stays_unchanged(embedded: AdapterSetup):
    plain = await embedded.ask(embedded.base)
    (alone,) = await embedded.served(embedded.adapter(1))
    first = await embedded.ask(alone)
    assert first != plain
    assert alone.project_id == PROJECT
    assert alone.name == "smollm2-135m@000000aa-v1"
    one, two = await embedded.served(embedded.adapter(1), embedded.adapter(2))
    # Alternate, so that neither can reuse the other's cached prompt.
    answers = [await embedded.ask(model) for model in (one, two, one, embedded.base, two)]
    assert answers[0] == answers[2] == first
    assert answers[1] == answers[4] not in (first, plain)
    assert answers[3] == plain


async def test_changing_the_adapters_does_not_interrupt_an_answer(embedded: AdapterSetup):
    (model,) = await embedded.served(embedded.adapter(1))
    begun = asyncio.Event()

    async def on_delta(_: str) -> None:
        begun.set()

    answer = asyncio.create_task(embedded.ask(model, 200, on_delta=on_delta))
    await begun.wait()
    pids = {state.pid for name, state in embedded.engines.states().items() if name != "model"}
    (_, changed) = await embedded.served(embedded.adapter(1), embedded.adapter(3))
    assert changed.base_url != model.base_url
    assert len(await answer) > 100
    await eventually(lambda: not any(_alive(pid) for pid in pids), 20, "the old process ends when it is idle")


async def test_serving_the_same_adapters_again_changes_nothing(embedded: AdapterSetup):
    before = await embedded.served(embedded.adapter(1), embedded.adapter(2))
    states = embedded.engines.states()
    assert await embedded.served(embedded.adapter(2), embedded.adapter(1)) == before
    assert {name: state.pid for name, state in embedded.engines.states().items()} == {
        name: state.pid for name, state in states.items()
    }


async def test_invalid_adapter_file_is_reported_and_does_not_block_others(embedded: AdapterSetup):
    (bad := embedded.folder / "bad.gguf").write_bytes(b"GGUF" + bytes(400))
    servings = await embedded.host.serve([embedded.adapter(1), embedded.adapter(9, bad)])
    by_version = {serving.adapter.version: serving for serving in servings}
    assert by_version[1].model is not None
    assert by_version[9].model is None
    assert "cannot load it" in (by_version[9].problem or "")
    assert await embedded.ask(by_version[1].model)


async def test_killed_process_restarts_with_its_adapters(embedded: AdapterSetup):
    (model,) = await embedded.served(embedded.adapter(1))
    before = await embedded.ask(model)
    serving = embedded.engines._adapters._serving
    assert serving
    assert serving.pid
    os.kill(serving.pid, signal.SIGKILL)

    def restarted() -> bool:
        return serving.state().state == "running" and serving.state().restarts > 0

    await eventually(restarted, 20, "the process runs again")
    assert await embedded.ask(model) == before


async def test_no_second_process_runs_without_adapters(embedded: AdapterSetup):
    await embedded.served(embedded.adapter(1))
    assert await embedded.served() == []
    await eventually(lambda: set(embedded.engines.states()) == {"model"}, 20, "the adapter processes have ended")


async def test_gate_starts_its_own_model_without_the_host(embedded: AdapterSetup, tmp_path: Path):
    weights = embedded.engines._model.weights  # type: ignore[union-attr]
    folder = DataFolder(tmp_path / "data")
    with folder:
        one_off = OneOffModels(folder.path)
        async with one_off(weights, [embedded.adapter(1).file]) as loaded:
            assert await embedded.ask(loaded.plain.first) == await embedded.ask(embedded.base)
            assert await embedded.ask(loaded.adapted(0).first) != await embedded.ask(loaded.plain.first)
            assert await embedded.ask(loaded.adapted(0, 0.0).first) == await embedded.ask(loaded.plain.first)
            async with one_off(weights, []) as second:
                same = await embedded.ask(second.plain.first) == await embedded.ask(loaded.plain.first)
                assert same, "the first one was ended"


def test_large_weights_get_one_process(tmp_path: Path):
    with (weights := tmp_path / "large.gguf").open("wb") as file:
        file.truncate(SMALL_BYTES)
    assert processes_for(weights)[0] == min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    with weights.open("ab") as file:
        file.truncate(SMALL_BYTES + 1)
    assert processes_for(weights) == (1, 2)


def _alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
