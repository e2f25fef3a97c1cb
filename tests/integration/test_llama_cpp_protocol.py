"""The OpenAI-compatible protocol on a real llama.cpp server: the embedded model's.

The contract test covers the protocol on a scripted server: tests/fundamentals/test_provider_contract.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kairos.embedded import EmbeddedEngines
from kairos.http import HttpClient
from kairos.llm.calls.providers import CallLimits, ChatRequest, Completion, ModelRefused, Providers
from kairos.llm.catalog.catalog import EMBEDDED_MODEL, Model
from tests.kit.conditions import eventually

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class LlamaCpp:
    providers: Providers
    model: Model

    async def chat(self, text: str, deltas: list[str] | None = None, **fields: Any) -> Completion:
        async def on_delta(piece: str) -> None:
            if deltas is not None:
                deltas.append(piece)

        messages = ({"role": "user", "content": text},)
        request = ChatRequest(messages, temperature=0, **{"max_tokens": 8, **fields})
        return await self.providers.chat(self.model, request, timeout_s=100, on_delta=on_delta)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LlamaCpp]:
    engines = EmbeddedEngines(tmp_path_factory.mktemp("llama") / "data", postgres=False, valkey=False)
    started = await engines.start()
    assert started.model_url
    try:
        async with HttpClient() as http:
            key = started.model_api_key
            model = Model(EMBEDDED_MODEL, EMBEDDED_MODEL, started.model_url, key, local=True, context=2048)
            yield LlamaCpp(Providers(http, CallLimits(first_token_s=90, idle_s=90, usage_s=30)), model)
    finally:
        await engines.stop()


async def test_answer_streams_with_its_usage_up_to_its_limit(server: LlamaCpp):
    deltas: list[str] = []
    answer = await server.chat("Count from one to ten.", deltas)
    assert len(deltas) > 1
    assert ("".join(deltas), answer.finish_reason) == (answer.text, "length")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 8
    assert answer.usage.input_tokens > 5


async def test_answer_matches_a_json_schema(server: LlamaCpp):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    answer = await server.chat('Answer {"ok":true}', response_format=form, max_tokens=40)
    assert answer.truncated or set(json.loads(answer.text)) == {"ok"}
    assert answer.text.lstrip().startswith("{")


async def test_server_reports_its_model_and_context(server: LlamaCpp):
    (listed,) = await server.providers.list_models(server.model.base_url, server.model.api_key, timeout_s=30)
    described = await server.providers.describe(replace(server.model, upstream=listed.name), timeout_s=30)
    assert described == listed
    assert described.context is None or described.context >= 2048


async def test_wrong_key_is_refused_without_showing_it(server: LlamaCpp):
    other = LlamaCpp(server.providers, replace(server.model, api_key="sk-wrong-key"))
    with pytest.raises(ModelRefused) as caught:
        await other.chat("Hi")
    assert "sk-wrong-key" not in str(caught.value)


async def test_cancelled_call_frees_the_model(server: LlamaCpp):
    deltas: list[str] = []
    calling = asyncio.create_task(server.chat("Write a long story.", deltas, max_tokens=900))
    await eventually(lambda: deltas, 90)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await server.chat("Hi", max_tokens=2)).usage is not None
