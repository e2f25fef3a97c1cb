"""Ollama's own protocol on a real Ollama, named by `KAIROS_TEST_OLLAMA_URL`; see CONTRIBUTING.md.

The contract test covers the protocol on a scripted server: tests/fundamentals/test_provider_contract.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kairos.llm.calls.providers import (
    CallLimits,
    ChatRequest,
    Completion,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
    Providers,
)
from kairos.llm.catalog.catalog import Model
from tests.kit.conditions import eventually
from tests.kit.ollama_place import URL, OllamaPlace, ollama_place

pytestmark = [
    pytest.mark.skipif(not URL, reason="KAIROS_TEST_OLLAMA_URL names no Ollama"),
    pytest.mark.timeout(600),
]
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
SLOW = CallLimits(first_token_s=200, idle_s=120, usage_s=60)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[OllamaPlace]:
    async with ollama_place(tmp_path) as made:
        yield made
        await made.clear()


def model_of(place: OllamaPlace, context: int = 1024) -> Model:
    return replace(place.base, base_url=URL, protocol="ollama", context=context)


async def chat(place: OllamaPlace, text: str, deltas: list[str] | None = None, **fields: Any) -> Completion:
    async def on_delta(piece: str) -> None:
        if deltas is not None:
            deltas.append(piece)

    request = ChatRequest(({"role": "user", "content": text},), temperature=0, **{"max_tokens": 8, **fields})
    return await Providers(place.http, SLOW).chat(model_of(place), request, timeout_s=300, on_delta=on_delta)


async def loaded(place: OllamaPlace) -> int | None:
    rows = (await place.http.get_json(f"{URL}/api/ps"))["models"]
    return next((row["context_length"] for row in rows if row["name"].startswith(place.base.upstream)), None)


async def test_answers_stream_with_the_chosen_context_and_without_the_load_time(place: OllamaPlace):
    deltas: list[str] = []
    first = await chat(place, "Count from one to ten.", deltas)
    assert len(deltas) > 1
    assert ("".join(deltas), first.finish_reason) == (first.text, "length")
    assert first.usage is not None
    assert first.usage.input_tokens > 5
    assert first.usage.output_tokens == 8
    assert first.load_s > 0
    assert await loaded(place) == 1024
    second = await chat(place, "Count from one to ten.")
    assert second.text == first.text
    assert second.load_s < first.load_s


async def test_answer_matches_a_json_schema(place: OllamaPlace):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    answer = await chat(place, 'Answer {"ok":true}', response_format=form, max_tokens=40)
    assert answer.truncated or set(json.loads(answer.text)) == {"ok"}
    assert answer.text.lstrip().startswith("{")


async def test_prompt_that_does_not_fit_is_refused_and_not_cut(place: OllamaPlace):
    with pytest.raises((ModelRequestInvalid, ModelServerError), match="exceed"):
        await chat(place, "word " * 3000)


async def test_server_reports_models_and_what_they_support(place: OllamaPlace):
    providers = Providers(place.http)
    listed = await providers.list_models(URL, None, timeout_s=30, protocol="ollama")
    assert place.base.upstream in [model.name for model in listed]
    described = await providers.describe(model_of(place), timeout_s=30)
    assert (described.context, described.local) == (8192, True)
    assert described.capabilities == {"json_schema"}


async def test_what_the_model_does_not_support_is_refused(place: OllamaPlace):
    """Reasoning is left out; tools are not."""
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    with pytest.raises(ModelRequestInvalid, match="does not support tools"):
        await chat(place, "Hi", tools=(tool,))
    assert (await chat(place, "Hi", extra={"reasoning_effort": "high"})).text
    missing = replace(model_of(place), upstream="kairos-test-missing")
    with pytest.raises(ModelRefused, match="ollama pull"):
        await Providers(place.http, SLOW).chat(missing, ChatRequest(({"role": "user", "content": "Hi"},)), timeout_s=60)


async def test_cancelled_call_frees_the_model(place: OllamaPlace):
    deltas: list[str] = []
    calling = asyncio.create_task(chat(place, "Write a long story.", deltas, max_tokens=900))
    await eventually(lambda: deltas, 200)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await chat(place, "Hi", max_tokens=2)).usage is not None
