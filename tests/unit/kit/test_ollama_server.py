"""The kit's Ollama does what the real one was seen to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.fine_tuning.adapters.ollama_names import adapter_name
from kairos.http import HttpStatus
from tests.kit.conditions import eventually
from tests.kit.ollama_place import OllamaPlace, ollama_kit
from tests.kit.ollama_server import OllamaServer

USAGE = {"stream_options": {"include_usage": True}}


@pytest_asyncio.fixture
async def kit(tmp_path: Path) -> AsyncIterator[OllamaPlace]:
    async with ollama_kit(tmp_path) as found:
        yield found


def server_of(kit: OllamaPlace) -> OllamaServer:
    assert kit.kit
    return kit.kit


async def raw(kit: OllamaPlace, asked: dict[str, object]) -> bytes:
    """The stream of an answer in the protocol of OpenAI."""
    body = json.dumps(asked).encode()
    async with kit.http.stream("POST", f"{kit.base.base_url}/chat/completions", body=body) as answer:
        return await answer.body()


async def test_a_switch_of_the_runner_waits_for_the_answer_under_way(kit: OllamaPlace) -> None:
    """What the router's switching cost is for."""
    server, adapter = server_of(kit), kit.adapter()
    await kit.host().serve([adapter])
    loads = len(server.store.loads)
    server.hold()
    runner = server.store.runner("smol")
    on_adapter = asyncio.create_task(kit.calls.chat(adapter_name(adapter), "one"))
    await eventually(lambda: runner.answering == 1)
    on_base = asyncio.create_task(kit.calls.chat("smol", "two"))
    await eventually(lambda: runner.waiting == 1)
    server.release()
    assert await on_adapter == "corrected 1 base answers one"
    assert await on_base == "base answers two"
    assert server.store.loads[loads:] == ["smol"]


async def test_the_kit_stacks_pulls_and_takes_one_file_as_the_real_one(kit: OllamaPlace) -> None:
    """What the adapters' host guards against does happen there."""
    server, one, two = server_of(kit), kit.adapter("one"), kit.adapter("two", version=2)
    for adapter in (one, two):
        await kit.calls.upload(adapter.sha256, adapter.file)
    await kit.calls.create("a", "smol", one.sha256)
    await kit.calls.create("b", "a", two.sha256)
    assert await kit.calls.adapters_of("b") == (one.sha256, two.sha256)
    with pytest.raises(HttpStatus, match="registry"):
        await kit.calls.create("c", "unknown", one.sha256)
    assert server.store.pulls == ["unknown"]
    server.includes_modelfile = False
    assert await kit.calls.adapters_of("b") == ()


async def test_its_own_chat_tells_how_long_loading_took(tmp_path: Path) -> None:
    """In ns; the protocol of OpenAI has usage in a stream only where it is asked for."""
    async with ollama_kit(tmp_path, load_s=0.01) as kit:
        message = {"role": "user", "content": "one two"}
        asked = {"model": "smol", "messages": [message], "stream": False}
        first = await kit.http.post_json(f"{kit.address}/api/chat", asked)
        assert first["load_duration"] >= 10_000_000
        assert (first["prompt_eval_count"], first["message"]["content"]) == (2, "base answers one two")
        streamed = {**asked, "stream": True}
        assert [b"usage" in await raw(kit, {**streamed, **more}) for more in ({}, USAGE)] == [False, True]
        models = await kit.http.get_json(f"{kit.base.base_url}/models")
        assert [model["id"] for model in models["data"]] == ["smol:latest"]
        with pytest.raises(HttpStatus, match="model 'x' not found"):
            await kit.calls.chat("x", "hello")
