"""The test kit's Ollama server behaves as the real one was observed to behave."""

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


async def raw(kit: OllamaPlace, request: dict[str, object]) -> bytes:
    """Return the body of a streamed answer in the OpenAI protocol."""
    body = json.dumps(request).encode()
    async with kit.http.stream("POST", f"{kit.base.base_url}/chat/completions", body=body) as answer:
        return await answer.body()


async def test_switch_of_the_runner_waits_for_the_running_answer(kit: OllamaPlace) -> None:
    """The router's switching cost accounts for this wait."""
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


async def test_server_stacks_adapters_and_pulls_unknown_models_like_ollama(kit: OllamaPlace) -> None:
    """The adapter host guards against both."""
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


async def test_native_chat_reports_the_loading_time(tmp_path: Path) -> None:
    """The loading time is in ns. The OpenAI protocol has usage in a stream only on request."""
    async with ollama_kit(tmp_path, load_s=0.01) as kit:
        message = {"role": "user", "content": "one two"}
        request = {"model": "smol", "messages": [message], "stream": False}
        first = await kit.http.post_json(f"{kit.address}/api/chat", request)
        assert first["load_duration"] >= 10_000_000
        assert (first["prompt_eval_count"], first["message"]["content"]) == (2, "base answers one two")
        streamed = {**request, "stream": True}
        assert [b"usage" in await raw(kit, {**streamed, **more}) for more in ({}, USAGE)] == [False, True]
        models = await kit.http.get_json(f"{kit.base.base_url}/models")
        assert [model["id"] for model in models["data"]] == ["smol:latest"]
        with pytest.raises(HttpStatus, match="model 'x' not found"):
            await kit.calls.chat("x", "hello")
