"""Adapters on vLLM: what its refusals mean, what proves a load, and what happens at a restart. All on the scripted one.

The contract that all servers of adapters share is in `test_adapter_hosts.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.fine_tuning.adapters.adapters import PEFT
from kairos.fine_tuning.adapters.serving import AdapterNotRemoved, Serving
from kairos.fine_tuning.adapters.vllm import RETRY_S, VllmAdapters
from tests.kit.adapter_places import OfVllm, answer_of, vllm_kit
from tests.kit.vllm_server import VllmServer


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[OfVllm]:
    async with vllm_kit(tmp_path) as found:
        yield found


def server_of(place: OfVllm) -> VllmServer:
    assert place.kit
    return place.kit


def problem_of(serving: Serving) -> str:
    assert serving.model is None
    assert serving.problem
    return serving.problem


async def test_folder_is_named_as_the_server_sees_it(place: OfVllm) -> None:
    adapter = place.adapter()
    await place.host().serve([adapter])
    assert server_of(place).adapters == {place.name(adapter): f"/adapters/{adapter.path}"}


async def test_only_changes_are_sent(place: OfVllm) -> None:
    """The next round only lists the models, and another daemon loads nothing again."""
    server, host, adapters = server_of(place), place.host(), [place.adapter(), place.adapter(2)]
    await host.serve(adapters)
    assert server.calls["POST /v1/load_lora_adapter"] == 2
    server.calls.clear()
    await host.serve(adapters)
    assert +server.calls == {"GET /v1/models": 1}
    await place.host().serve(adapters)
    assert not server.calls["POST /v1/load_lora_adapter"]


async def test_accepted_adapter_without_effect_is_unloaded(place: OfVllm) -> None:
    """vLLM answers 200 and lists an adapter whose modules do not match the model. Nobody may take it for the trained
    model."""
    useless = place.useless()
    assert "although vLLM accepted it" in problem_of((await place.host().serve([useless]))[0])
    assert server_of(place).calls["POST /v1/load_lora_adapter"] == 1
    assert not await place.has(useless)


async def test_adapter_that_changes_probabilities_only_is_served(place: OfVllm) -> None:
    [serving] = await place.host().serve([place.of("", shift=-0.8)])
    assert serving.problem is None


async def test_variation_of_the_server_is_no_effect(place: OfVllm) -> None:
    """A batched server does not repeat its probabilities exactly."""
    server_of(place).noise = 0.6
    assert "changes nothing" in problem_of((await place.host().serve([place.of("", shift=0.0)]))[0])


async def test_server_that_limits_log_probabilities_is_judged_by_its_texts(place: OfVllm) -> None:
    server_of(place).max_logprobs = 0
    served, useless = await place.host().serve([place.adapter(), place.useless()])
    assert served.problem is None
    assert "changes nothing" in problem_of(useless)


async def test_old_version_that_accepts_a_wrong_path_is_found_out(place: OfVllm) -> None:
    """It answers 200 and lists the name. The error comes with the first answer."""
    server, adapter = server_of(place), place.adapter()
    server.checks_at_load = False
    server.mounts.clear()
    reason = problem_of((await place.host().serve([adapter]))[0])
    assert f"It must see the adapter's files in /adapters/{adapter.path}" in reason
    assert not await place.has(adapter)


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("runtime_updating", False, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment, and with --enable-lora"),
        ("enable_lora", False, "Restart it with --enable-lora."),
        ("max_lora_rank", 4, "Restart it with --max-lora-rank 8."),
        ("max_loras", 0, "restart it with a larger --max-loras and --max-cpu-loras"),
        ("mounts", {}, "set `adapters_path` of the base in kairos.toml"),
    ],
)
async def test_refusal_names_what_the_operator_has_to_change(
    place: OfVllm, option: str, value: object, remedy: str
) -> None:
    setattr(server_of(place), option, value)
    reason = problem_of((await place.host().serve([place.adapter()]))[0])
    assert reason.startswith(f"vLLM at {place.base.base_url} does not load the adapter (")
    assert remedy in reason


async def test_rank_that_is_no_allowed_value_gets_the_next_one(place: OfVllm) -> None:
    reason = problem_of((await place.host().serve([place.of("ranked", rank=48)]))[0])
    assert "LoRA rank 48 is greater than max_lora_rank 16" in reason
    assert "--max-lora-rank 64" in reason


async def test_wrong_key_is_reported(place: OfVllm) -> None:
    server_of(place).key = "secret"
    assert "answered 401" in problem_of((await place.host().serve([place.adapter()]))[0])


async def test_refused_adapter_is_not_loaded_again_in_every_round(place: OfVllm) -> None:
    server, now = server_of(place), 0.0
    host, adapters = VllmAdapters(place.http, clock=lambda: now), [place.useless(), place.adapter()]
    first = await host.serve(adapters)
    server.calls.clear()
    assert await host.serve(adapters) == first
    assert +server.calls == {"GET /v1/models": 1}
    now = RETRY_S + 1
    await host.serve(adapters)
    assert server.calls["POST /v1/load_lora_adapter"] == 1


async def test_restarted_server_is_tried_at_once_after_a_refusal(place: OfVllm) -> None:
    """Its operator has probably changed its options."""
    server, host, adapter = server_of(place), place.host(), place.adapter()
    server.max_lora_rank = 4
    problem_of((await host.serve([adapter]))[0])
    await server.close_port()
    problem_of((await host.serve([adapter]))[0])
    server.max_lora_rank = 16
    await server.open_port()
    assert (await host.serve([adapter]))[0].problem is None


async def test_restarted_server_gets_its_adapters_back_and_each_is_proven_again(place: OfVllm) -> None:
    server, host, adapters = server_of(place), place.host(), [place.adapter(), place.adapter(project=1)]
    first = await host.serve(adapters)
    assert not any(serving.reloaded for serving in first)
    server.calls.clear()
    await server.restart()
    again = await host.serve(adapters)
    assert [serving.model for serving in again] == [serving.model for serving in first]
    assert all(serving.reloaded for serving in again)
    assert server.calls["POST /v1/load_lora_adapter"] == 2
    assert server.calls["POST /v1/chat/completions"] >= 6
    assert not any(serving.reloaded for serving in await host.serve(adapters))


async def test_adapter_loaded_by_another_daemon_meanwhile_is_served(place: OfVllm) -> None:
    """Both daemons saw that it was missing."""
    server, adapter = server_of(place), place.adapter()
    server.after_list = lambda: server.adapters.update({place.name(adapter): adapter.server_folder})
    assert (await place.host().serve([adapter]))[0].problem is None
    assert server.calls["POST /v1/load_lora_adapter"] == 1


async def test_missing_base_is_reported_with_what_is_served(place: OfVllm) -> None:
    adapter = replace(place.adapter(), base=replace(place.base, upstream="other"))
    assert "does not serve other, the base of this adapter. It serves smol." in problem_of(
        (await place.host().serve([adapter]))[0]
    )


async def test_base_that_is_an_adapter_is_refused(place: OfVllm) -> None:
    """vLLM would apply the second adapter to the plain base, without a word."""
    below = place.adapter()
    await place.host().serve([below])
    above = replace(place.adapter(2), base=replace(place.base, upstream=place.name(below)))
    assert "is itself an adapter of smol" in problem_of((await place.host().serve([above]))[0])


async def test_name_of_another_model_is_not_taken_over(place: OfVllm) -> None:
    adapter = place.adapter()
    server_of(place).base = place.name(adapter)
    adapter = replace(adapter, base=replace(place.base, upstream=place.name(adapter)))
    assert "serves another model under the name" in problem_of((await place.host().serve([adapter]))[0])


async def test_context_of_the_base_is_that_of_its_adapters(place: OfVllm) -> None:
    """vLLM lists a context for bases only."""
    [serving] = await place.host().serve([place.adapter()])
    assert serving.model
    assert (serving.model.context, serving.model.context_declared) == (4096, True)


async def test_files_that_only_vllm_loads_are_never_sent_over_the_network(place: OfVllm) -> None:
    adapter = place.adapter()
    await place.host().serve([adapter])
    assert all((adapter.file.parent / name).exists() for name in PEFT)
    assert set(server_of(place).calls) <= {
        "GET /v1/models",
        "POST /v1/load_lora_adapter",
        "POST /v1/chat/completions",
    }


async def test_crash_in_a_load_does_not_affect_other_adapters(place: OfVllm) -> None:
    server, host, adapters = server_of(place), place.host(), [place.adapter(), place.adapter(2)]
    server.drop("POST /v1/load_lora_adapter", times=2)
    first, second = await host.serve(adapters)
    assert "is unavailable" in problem_of(first)
    assert second.problem is None
    assert [serving.problem for serving in await host.serve(adapters)] == [None, None]


async def test_answer_that_is_no_completion_is_reported(place: OfVllm) -> None:
    server, adapter = server_of(place), place.adapter()
    server.fail("/v1/chat/completions", 500, "CUDA error", times=3)
    assert "CUDA error" in problem_of((await place.host().serve([adapter]))[0])


async def test_adapter_that_cannot_be_unloaded_is_reported(place: OfVllm) -> None:
    host, adapter = place.host(), place.adapter()
    await host.serve([adapter])
    await server_of(place).close_port()
    with pytest.raises(AdapterNotRemoved, match="a restart unloads all adapters"):
        await host.remove(adapter)


async def test_base_keeps_answering_while_adapters_come_and_go(place: OfVllm) -> None:
    plain, host, adapter = await answer_of(place, place.base), place.host(), place.adapter()
    await host.serve([adapter])
    await host.remove(adapter)
    assert await answer_of(place, place.base) == plain
