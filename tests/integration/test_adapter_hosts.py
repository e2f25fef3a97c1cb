"""The contract of all servers of adapters: the embedded llama.cpp, Ollama, vLLM, and llama.cpp by address.

Scripted servers stand in for those that are not given by their address (`tests/kit/adapter_places.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib import util
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.embedded import EmbeddedEngines
from kairos.fine_tuning.adapters.serving import Serving, served_name
from kairos.http import HttpClient
from kairos.llm.catalog.catalog import AdapterHost, Model
from tests.kit.adapter_places import AdapterPlace, OfEmbedded, answer_of, of_llama_server, of_ollama, of_vllm

pytestmark = pytest.mark.timeout(120)

BY_ADDRESS: dict[str, Callable[[Path], AbstractAsyncContextManager[AdapterPlace]]] = {
    "ollama": of_ollama,
    "vllm": of_vllm,
    "llamacpp": of_llama_server,
}


@pytest.fixture(scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[EmbeddedEngines, Model]]:
    engines = EmbeddedEngines(tmp_path_factory.mktemp("embedded") / "data", postgres=False, valkey=False)
    addresses = await engines.start()
    assert addresses.model_url
    base = Model(
        "smollm2-135m", "smollm2-135m", addresses.model_url, addresses.model_api_key, local=True,
        adapter_host=AdapterHost.EMBEDDED,
    )  # fmt: skip
    try:
        yield engines, base
    finally:
        await engines.stop()


@pytest.fixture(params=["embedded", *BY_ADDRESS])
def kind(request: pytest.FixtureRequest) -> tuple[str, tuple[EmbeddedEngines, Model] | None]:
    """The kind of server, with the engines of the embedded kind, which no other test starts."""
    if request.param in BY_ADDRESS:
        return request.param, None
    if util.find_spec("gguf") is None:
        pytest.skip("needs `make train`")
    return request.param, request.getfixturevalue("engines")


@pytest_asyncio.fixture
async def place(kind: tuple[str, tuple[EmbeddedEngines, Model] | None], tmp_path: Path) -> AsyncIterator[AdapterPlace]:
    name, embedded = kind
    if embedded is None:
        async with BY_ADDRESS[name](tmp_path) as place:
            yield place
        return
    engines, base = embedded
    async with HttpClient() as http:
        place = OfEmbedded(http, tmp_path, base, engines)
        yield place
        await place.host().serve([])


def model_of(serving: Serving) -> Model:
    assert serving.problem is None
    assert serving.model
    return serving.model


async def test_adapter_is_served_side_by_side_with_its_base(place: AdapterPlace) -> None:
    plain, adapter = await answer_of(place, place.base), place.adapter()
    await place.offer(adapter)
    model = model_of((await place.host().serve([adapter]))[0])
    adapted = await answer_of(place, model)
    assert adapted != plain
    # In turns, so that neither can use what the other has cached.
    assert [await answer_of(place, one) for one in (place.base, model, place.base)] == [plain, adapted, plain]
    assert (model.base, model.local, model.adapter_host, model.weights) == (place.base.name, True, None, None)


async def test_adapters_of_two_projects_are_isolated(place: AdapterPlace) -> None:
    """Each has a name of its own, belongs to its project, and applies its own weights only."""
    ours, theirs = place.adapter(), place.adapter(project=1)
    await place.offer(ours, theirs)
    models = [model_of(serving) for serving in await place.host().serve([ours, theirs])]
    for adapter, model in zip((ours, theirs), models, strict=True):
        assert model.project_id == adapter.project_id
        assert model.name == served_name(place.base.name, adapter.project_id, adapter.version)
    answers = [await answer_of(place, model) for model in (*models, *models)]
    assert answers[:2] == answers[2:]
    assert len({*answers, await answer_of(place, place.base)}) == 3


async def test_serving_again_changes_nothing(place: AdapterPlace) -> None:
    adapters = [place.adapter(), place.adapter(2)]
    await place.offer(*adapters)
    host = place.host()
    first = await host.serve(adapters)
    assert await host.serve(adapters) == first
    assert await place.host().serve(adapters) == first, "another daemon serves the same"


async def test_adapter_without_effect_is_refused(place: AdapterPlace) -> None:
    """The server accepts it without an error."""
    useless, other = place.useless(), place.adapter()
    await place.offer(useless, other)
    refused, served = await place.host().serve([useless, other])
    assert refused.model is None
    assert "changes nothing" in (refused.problem or "")
    assert served.problem is None


async def test_roll_back_restores_the_answers_of_the_version_before(place: AdapterPlace) -> None:
    one, two = place.adapter(1), place.adapter(2)
    await place.offer(one, two)
    host = place.host()
    before = await answer_of(place, model_of((await host.serve([one]))[0]))
    await host.promote(one)
    live, canary = await host.serve([one, two])
    assert await answer_of(place, model_of(canary)) != before
    await host.promote(two)
    await host.serve([two])
    rolled_back = model_of((await host.serve([one]))[0])
    await host.promote(one)
    assert rolled_back == live.model or rolled_back.name == model_of(live).name
    assert await answer_of(place, rolled_back) == before


async def test_deleted_adapter_is_gone_and_the_others_stay(place: AdapterPlace) -> None:
    gone, stays = place.adapter(1), place.adapter(2)
    await place.offer(gone, stays)
    host = place.host()
    answer = await answer_of(place, model_of((await host.serve([gone, stays]))[1]))
    await host.serve([stays])
    await place.delete(host, gone)
    await place.delete(host, gone)
    assert not await place.has(gone)
    assert await answer_of(place, model_of((await host.serve([stays]))[0])) == answer


async def test_adapters_are_served_again_after_a_restart(place: AdapterPlace) -> None:
    adapters = [place.adapter(), place.adapter(project=1)]
    await place.offer(*adapters)
    host = place.host()
    before = [await answer_of(place, model_of(serving)) for serving in await host.serve(adapters)]
    await place.restart()
    after = [await answer_of(place, model_of(serving)) for serving in await host.serve(adapters)]
    assert after == before


async def test_unavailable_server_is_reported_and_tried_again(place: AdapterPlace) -> None:
    """Serving raises nothing: other servers' adapters must not suffer."""
    adapters = [place.adapter(), place.adapter(2)]
    await place.offer(*adapters)
    host = place.host()
    await host.serve(adapters[:1])
    await place.stop()
    for serving in await host.serve(adapters):
        assert serving.model is None
        assert "is unavailable" in (serving.problem or "")
        assert (serving.problem or "").endswith("Kairos retries.")
    await place.start()
    assert [serving.problem for serving in await host.serve(adapters)] == [None, None]


async def test_name_taken_by_another_adapter_is_never_served_as_ours(place: AdapterPlace) -> None:
    adapter = place.adapter()
    await place.offer(adapter)
    expected = await answer_of(place, model_of((await place.host().serve([adapter]))[0]))
    await place.delete(place.host(), adapter)
    await place.take_name(adapter)
    assert await answer_of(place, model_of((await place.host().serve([adapter]))[0])) == expected
