"""Adapters on Ollama: creating, testing, promoting and deleting them.

Tests with the fixture `place` run on the test kit's server, or on a real Ollama if `KAIROS_TEST_OLLAMA_URL` names one.
Tests with the fixture `kit` count calls, break or restart the server, and run only on the test kit's server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.fine_tuning.adapters.ollama import AliasNotMoved, OllamaAdapters
from kairos.fine_tuning.adapters.ollama_names import adapter_name, alias_name, runner_of, safe_name
from kairos.fine_tuning.adapters.serving import AdapterNotRemoved, Serving, served_name
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.ollama_place import PROMPTS, OllamaPlace, ollama_kit, ollama_place
from tests.kit.ollama_server import OllamaServer
from tests.kit.ollama_store import base_file


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[OllamaPlace]:
    async with ollama_place(tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def kit(tmp_path: Path) -> AsyncIterator[OllamaPlace]:
    async with ollama_kit(tmp_path) as found:
        yield found


def server_of(kit: OllamaPlace) -> OllamaServer:
    assert kit.kit
    return kit.kit


def problem_of(serving: Serving) -> str:
    assert serving.model is None
    assert serving.problem
    return serving.problem


async def test_adapter_answers_differently_from_its_base(place: OllamaPlace) -> None:
    """The OpenAI protocol serves it like any other model, and Kairos knows that it shares the base model's runner."""
    adapter = place.adapter()
    [serving] = await place.host().serve([adapter])
    assert serving.problem is None
    model = serving.model
    assert model
    assert model.name == served_name(place.base.name, place.project, 1)
    assert (model.upstream, model.base_url, model.local) == (adapter_name(adapter), place.base.base_url, True)
    assert (model.project_id, model.base, model.adapter_host) == (place.project, place.base.name, None)
    assert model.runner == runner_of(place.base)
    assert model.runner == runner_of(replace(place.base, upstream=place.base.upstream.removesuffix(":latest")))

    async def answer_of(model_to_call: Model) -> str:
        request = ChatRequest(({"role": "user", "content": PROMPTS[0]},), temperature=0, max_tokens=16)
        return (await Providers(place.http).chat(model_to_call, request, timeout_s=60)).text

    assert await answer_of(model) != await answer_of(place.base)


async def test_serving_the_same_adapters_again_changes_nothing(place: OllamaPlace) -> None:
    adapters = [place.adapter(), place.adapter(version=2)]
    first = await place.host().serve(adapters)
    names = await place.calls.names()
    assert await place.host().serve(adapters) == first
    assert await place.calls.names() == names


async def test_alias_follows_promotion_and_demotion_returns_it_to_the_base(place: OllamaPlace) -> None:
    host, one, two = place.host(), place.adapter(), place.adapter(version=2)
    await host.serve([one, two])
    alias = alias_name(place.project, place.base)
    for promoted in (one, two, one):
        await host.promote(promoted)
        names = await place.calls.names()
        assert names[alias] == names[adapter_name(promoted)]
    await host.demote(place.project, place.base)
    names = await place.calls.names()
    assert names[alias] == names[place.base.upstream]


async def test_demotion_without_promotion_creates_no_alias(place: OllamaPlace) -> None:
    await place.host().demote(place.project, place.base)
    assert alias_name(place.project, place.base) not in await place.calls.names()


async def test_removing_an_adapter_removes_the_alias_only_if_it_is_the_same_model(place: OllamaPlace) -> None:
    host, one, two = place.host(), place.adapter(), place.adapter(version=2)
    await host.serve([one, two])
    await host.promote(two)
    await host.remove(one)
    alias = alias_name(place.project, place.base)
    assert {alias, adapter_name(two)} <= set(await place.calls.names())
    await host.remove(two)
    await host.remove(two)
    left = set(await place.calls.names())
    assert left.isdisjoint({alias, adapter_name(one), adapter_name(two)})
    assert place.base.upstream in left


async def test_missing_base_is_not_pulled_from_the_internet(place: OllamaPlace) -> None:
    adapter = replace(place.adapter(), base=place.renamed("kairos-test-missing:latest"))
    assert "`ollama pull kairos-test-missing:latest`" in problem_of((await place.host().serve([adapter]))[0])
    if place.kit:
        assert place.kit.store.pulls == []


async def test_adapter_cannot_be_stacked_on_another_adapter(place: OllamaPlace) -> None:
    host, below = place.host(), place.adapter()
    await host.serve([below])
    above = replace(place.adapter("above"), base=place.renamed(adapter_name(below)))
    assert "stacked" in problem_of((await host.serve([above]))[0])
    assert adapter_name(above) not in await place.calls.names()


async def test_adapter_without_effect_is_refused(place: OllamaPlace) -> None:
    """Ollama accepts the base model's own file as an adapter, and its answers stay the same."""
    assert "changes nothing" in problem_of((await place.host().serve([place.base_as_adapter()]))[0])


async def test_adapter_of_the_wrong_shape_does_not_block_others(place: OllamaPlace) -> None:
    """Ollama creates the model nevertheless, and fails at its first chat."""
    wrong, right = await place.host().serve([place.adapter(fits=False), place.adapter(version=2)])
    assert "Its shape does not match" in problem_of(wrong)
    assert right.problem is None


async def test_only_changes_are_sent(kit: OllamaPlace) -> None:
    """Kit only, as it counts calls: the next round only lists names, and a second daemon uploads nothing."""
    server, host, adapter = server_of(kit), kit.host(), kit.adapter()
    await host.serve([adapter])
    assert (server.calls["POST /api/blobs"], server.calls["POST /api/create"]) == (1, 1)
    server.calls.clear()
    await host.serve([adapter])
    await host.serve([adapter])
    server.calls["POST /api/show"] -= 1  # once, to check that the model on the server is ours
    assert +server.calls == {"GET /api/tags": 2}
    server.calls.clear()
    await kit.host().serve([adapter])
    assert not server.calls["POST /api/blobs"]
    assert not server.calls["POST /api/create"]


async def test_uploaded_file_is_not_sent_again(kit: OllamaPlace) -> None:
    """Kit only, as it counts calls: Ollama would answer before it has read the file, and the pipe would break."""
    server, host, adapter = server_of(kit), kit.host(), kit.adapter()
    server.fail("/api/create", 500, "no space left on device")
    await host.serve([adapter])
    assert (await host.serve([adapter]))[0].problem is None
    assert server.calls["POST /api/blobs"] == 1


async def test_model_with_another_file_is_created_again(kit: OllamaPlace) -> None:
    """Kit only: another program has given the name to its own model."""
    server, adapter = server_of(kit), kit.adapter()
    server.store.copy("smol", adapter_name(adapter))
    [serving] = await kit.host().serve([adapter])
    assert serving.problem is None
    assert server.store.find(adapter_name(adapter)).adapters == (adapter.sha256,)


async def test_file_pruned_by_a_restart_is_uploaded_again(kit: OllamaPlace) -> None:
    """Kit only: the blob was uploaded, but no model used it yet; Ollama deletes unused blobs at a restart."""
    server, host, adapter = server_of(kit), kit.host(), kit.adapter()
    server.fail("/api/create", 500, "no space left on device")
    assert "no space left on device. Kairos retries" in problem_of((await host.serve([adapter]))[0])
    assert adapter.sha256 in server.store.blobs
    await server.restart()
    assert adapter.sha256 not in server.store.blobs
    assert (await host.serve([adapter]))[0].problem is None
    server.store.delete(adapter_name(adapter))
    assert (await host.serve([adapter]))[0].problem is None
    assert server.calls["POST /api/blobs"] == 3


async def test_unavailable_ollama_is_reported_and_tried_again(kit: OllamaPlace) -> None:
    """Kit only: serving raises no exception, and promotion reports that it failed."""
    server, host, adapters = server_of(kit), kit.host(), [kit.adapter(), kit.adapter(version=2)]
    await server.close_port()
    for serving in await host.serve(adapters):
        assert problem_of(serving).startswith(f"Ollama at {kit.address} is unavailable (")
        assert problem_of(serving).endswith("Kairos retries.")
    with pytest.raises(AliasNotMoved, match="is unchanged"):
        await host.promote(adapters[0])
    with pytest.raises(AliasNotMoved):
        await host.demote(kit.project, kit.base)
    with pytest.raises(AdapterNotRemoved):
        await host.remove(adapters[0])
    await server.open_port()
    assert [serving.problem for serving in await host.serve(adapters)] == [None, None]


async def test_outage_during_an_upload_does_not_block_other_adapters(kit: OllamaPlace) -> None:
    """Kit only: the server is unavailable for the first upload, and available again for the second."""
    server, host, adapters = server_of(kit), kit.host(), [kit.adapter(), kit.adapter(version=2)]
    server.drop("POST /api/blobs")
    first, second = await host.serve(adapters)
    assert "is unavailable" in problem_of(first)
    assert second.problem is None
    assert [serving.problem for serving in await host.serve(adapters)] == [None, None]


async def test_server_that_does_not_list_its_models_is_reported(kit: OllamaPlace) -> None:
    """Kit only: the server at the address may not be Ollama."""
    server_of(kit).fail("/api/tags", 404, "no such page")
    assert "does not list its models" in problem_of((await kit.host().serve([kit.adapter()]))[0])


async def test_promoting_a_missing_adapter_fails(kit: OllamaPlace) -> None:
    """Kit only, as the error message is its own."""
    with pytest.raises(AliasNotMoved, match="not found"):
        await kit.host().promote(kit.adapter())


async def test_model_family_without_adapter_support_is_reported(tmp_path: Path) -> None:
    """Kit only: it needs a base model of such a family."""
    async with ollama_kit(tmp_path, family="gemma3") as kit:
        reason = problem_of((await kit.host().serve([kit.adapter()]))[0])
        assert "loras are not yet implemented" in reason
        assert "llama and qwen2 work" in reason


async def test_refused_adapter_is_not_tried_again_in_every_round(kit: OllamaPlace) -> None:
    """Kit only, as it counts loads. An adapter without effect is not tried again; a failed load is, later."""
    server, now = server_of(kit), 0.0
    host = OllamaAdapters(kit.http, clock=lambda: now)
    adapters = [kit.base_as_adapter(), kit.adapter(version=2, fits=False)]
    first = await host.serve(adapters)
    server.chats.clear()
    assert await host.serve(adapters) == first
    assert server.chats == []
    now = 301.0
    await host.serve(adapters)
    assert {chat["model"] for chat in server.chats} == {"smol:latest", adapter_name(adapters[1])}


async def test_file_that_does_not_match_its_hash_is_sent_once(kit: OllamaPlace) -> None:
    """Kit only, as it counts uploads."""
    host, adapter = kit.host(), replace(kit.adapter(), sha256="0" * 64)
    for _ in range(2):
        assert "digest does not match" in problem_of((await host.serve([adapter]))[0])
    assert server_of(kit).calls["POST /api/blobs"] == 1


async def test_missing_file_is_reported(kit: OllamaPlace) -> None:
    """Kit only, for speed."""
    adapter = kit.adapter()
    adapter.file.unlink()
    assert "cannot be read" in problem_of((await kit.host().serve([adapter]))[0])


async def test_adapters_of_a_replaced_base_are_tested_again(kit: OllamaPlace) -> None:
    """Kit only: `ollama pull` replaced the file of the base model."""
    server, host, adapter = server_of(kit), kit.host(), kit.adapter()
    await host.serve([adapter])
    server.chats.clear()
    server.store.add_base("smol", base_file(text="newer"))
    assert (await host.serve([adapter]))[0].problem is None
    assert server.chats


def test_names_are_valid_in_ollama_and_unique_for_each_base() -> None:
    names = ["smol", "Smol", "smol:1b", "smol-1b", "smol/1b", "", "ä", "x" * 99, "x" * 98, "-", safe_name("smol:1b")]
    safe = [safe_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert safe[0] == "smol"
    for name in safe:
        assert 0 < len(name) <= 80
        assert name[0].isalnum()
        assert all(c.isascii() and (c.isalnum() or c in "-._") and c == c.lower() for c in name)
