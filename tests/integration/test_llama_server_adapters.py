"""Adapters on a llama.cpp server by address: which file is which adapter, and what its operator has to do.

The contract that all servers of adapters share is in `test_adapter_hosts.py`.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.fine_tuning.adapters.llama_server import RETRY_S, LlamaServerAdapters
from kairos.fine_tuning.adapters.serving import AdapterNotRemoved, ServedAdapter, Serving
from tests.kit.adapter_places import OfLlamaServer, answer_of, llama_kit
from tests.kit.llama_server import LlamaServer


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[OfLlamaServer]:
    async with llama_kit(tmp_path) as found:
        yield found


def server_of(place: OfLlamaServer) -> LlamaServer:
    assert isinstance(place.kit, LlamaServer)
    return place.kit


def problem_of(serving: Serving) -> str:
    assert serving.model is None
    assert serving.problem
    return serving.problem


def file_of(adapter: ServedAdapter) -> str:
    return f"{adapter.server_folder}/adapter.gguf"


async def test_adapter_that_is_not_loaded_names_the_options_to_add(place: OfLlamaServer) -> None:
    """The options are complete: with them, the adapter is served."""
    loaded, missing = place.adapter(), place.adapter(2)
    await place.offer(loaded)
    reason = problem_of((await place.host().serve([loaded, missing]))[1])
    assert "it loads adapters only at its start" in reason
    options = shlex.split(reason.partition("after its present ones: ")[2].partition(". If")[0])
    assert options == ["--lora-init-without-apply", "--lora", file_of(missing)]
    await server_of(place).restart([*server_of(place).files, options[-1]])
    assert [serving.problem for serving in await place.host().serve([loaded, missing])] == [None, None]


async def test_problem_of_a_project_does_not_name_other_projects(
    place: OfLlamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator finds all options in the log, once."""
    ours, theirs, host = place.adapter(), place.adapter(project=1), place.host()
    with caplog.at_level(logging.WARNING):
        first, second = await host.serve([ours, theirs])
        await host.serve([ours, theirs])
    assert theirs.path not in problem_of(first)
    assert ours.path not in problem_of(second)
    [record] = [record for record in caplog.records if "restart it with these options" in record.message]
    assert ours.path in record.message
    assert theirs.path in record.message


async def test_server_may_see_the_folder_elsewhere(place: OfLlamaServer) -> None:
    adapter = place.adapter()
    server = server_of(place)
    server.mounts["/adapters"] = adapter.file.parents[3]
    await server.restart([f"/adapters/{adapter.path}/adapter.gguf"])
    assert (await place.host().serve([adapter]))[0].problem is None
    await server.restart([])
    seen = replace(adapter, base=replace(place.base, adapters_path="/adapters"))
    reason = problem_of((await place.host().serve([seen]))[0])
    assert f"--lora /adapters/{adapter.path}/adapter.gguf." in reason
    assert "adapters_path" not in reason


async def test_path_of_windows_is_recognised(place: OfLlamaServer) -> None:
    adapter, server = place.adapter(), server_of(place)
    path = "D:\\kairos\\" + adapter.path.replace("/", "\\") + "\\adapter.gguf"
    server._seen = lambda _: adapter.file  # type: ignore[method-assign]
    await server.restart([path])
    assert (await place.host().serve([adapter]))[0].problem is None


async def test_file_name_alone_is_no_match(place: OfLlamaServer, tmp_path: Path) -> None:
    """All files are called adapter.gguf. One in another folder may be any project's."""
    adapter = place.adapter()
    copied = tmp_path / "adapter.gguf"
    copied.write_bytes(adapter.file.read_bytes())
    shifted = tmp_path / f"x{adapter.path}" / "adapter.gguf"
    shifted.parent.mkdir(parents=True)
    shifted.write_bytes(adapter.file.read_bytes())
    await server_of(place).restart([str(copied), str(shifted)])
    assert "has not loaded" in problem_of((await place.host().serve([adapter]))[0])


async def test_base_excludes_adapters_that_the_server_applies_by_default(
    place: OfLlamaServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its operator forgot --lora-init-without-apply: requests of other programs get every adapter."""
    plain, server, adapter = await answer_of(place, place.base), server_of(place), place.adapter()
    await server.restart([file_of(adapter)], scale=1.0)
    with caplog.at_level(logging.WARNING):
        [serving] = await place.host().serve([adapter])
    assert "it applies" in caplog.text
    assert serving.model
    assert await answer_of(place, place.base) == plain
    assert await answer_of(place, serving.model) != plain
    assert await answer_of(place, replace(place.base, body={})) != plain, "the server itself would apply it"


async def test_every_request_lists_the_scale_of_every_adapter(place: OfLlamaServer) -> None:
    one, two = place.adapter(), place.adapter(project=1)
    await place.offer(one, two)
    models = [serving.model for serving in await place.host().serve([one, two])]
    assert [model.body["lora"] for model in models if model] == [
        [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}],
        [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}],
    ]
    server = server_of(place)
    server.requests.clear()
    await answer_of(place, place.base)
    assert server.requests[0]["lora"] == [{"id": 0, "scale": 0.0}]


async def test_changed_order_after_a_restart_is_followed(place: OfLlamaServer) -> None:
    """Numbers are places on the command line: the first may be another project's adapter now."""
    ours, theirs, host = place.adapter(), place.adapter(project=1), place.host()
    await place.offer(ours, theirs)
    [before, _] = await host.serve([ours, theirs])
    assert before.model
    answer = await answer_of(place, before.model)
    await place.offer(theirs, ours)
    [after, _] = await host.serve([ours, theirs])
    assert after.model
    assert after.model.body != before.model.body
    assert await answer_of(place, after.model) == answer


async def test_only_changes_are_probed(place: OfLlamaServer) -> None:
    server, host, adapters = server_of(place), place.host(), [place.adapter(), place.adapter(2)]
    await place.offer(*adapters)
    await host.serve(adapters)
    server.calls.clear()
    await host.serve(adapters)
    assert +server.calls == {"GET /lora-adapters": 1}
    await place.offer(*adapters, place.adapter(3))
    await host.serve(adapters)
    assert server.calls["POST /v1/chat/completions"] >= 6, "the numbers may have changed"


async def test_refused_adapter_is_probed_again_later(place: OfLlamaServer) -> None:
    now, server, useless = 0.0, server_of(place), place.useless()
    host = LlamaServerAdapters(place.http, clock=lambda: now)
    await place.offer(useless)
    problem_of((await host.serve([useless]))[0])
    server.calls.clear()
    problem_of((await host.serve([useless]))[0])
    assert not server.calls["POST /v1/chat/completions"]
    now = RETRY_S + 1
    problem_of((await host.serve([useless]))[0])
    assert server.calls["POST /v1/chat/completions"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (503, "is still loading its model. Kairos retries."),
        (404, "has no /lora-adapters (404)"),
        (501, "has no /lora-adapters (501)"),
        (401, "does not answer as expected"),
        (500, "does not answer as expected"),
    ],
)
async def test_error_of_the_list_is_explained(place: OfLlamaServer, status: int, expected: str) -> None:
    server_of(place).fail("/lora-adapters", status, "no")
    assert expected in problem_of((await place.host().serve([place.adapter()]))[0])


async def test_error_of_an_answer_is_reported_and_tried_again(place: OfLlamaServer) -> None:
    host, adapter = place.host(), place.adapter()
    await place.offer(adapter)
    server_of(place).fail("/v1/chat/completions", 503, "Loading model")
    assert "is still loading" in problem_of((await host.serve([adapter]))[0])
    assert (await host.serve([adapter]))[0].problem is None


async def test_deleted_adapter_that_is_loaded_asks_the_operator_to_remove_its_option(place: OfLlamaServer) -> None:
    """Kairos deletes the file, and llama-server does not start without it."""
    host, adapter = place.host(), place.adapter()
    await place.offer(adapter)
    with pytest.raises(AdapterNotRemoved, match=f"Remove `--lora {file_of(adapter)}`"):
        await host.remove(adapter)
    await place.offer()
    await host.remove(adapter)
    await server_of(place).close_port()
    with pytest.raises(AdapterNotRemoved, match="If its command line loads this adapter"):
        await host.remove(adapter)
