"""One proof for each feature of a protocol: it fails if the protocol does not support the feature."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from kairos.llm.answers.answer import Usage
from kairos.llm.calls.provider import Feature
from kairos.llm.calls.providers import ChatRequest
from tests.kit.conditions import eventually
from tests.kit.model_calls import HELLO
from tests.kit.ollama_place import ollama_kit
from tests.kit.provider_bench import Bench
from tests.kit.provider_kinds import Script
from tests.kit.raw_model import Then

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
IMAGE = "iVBORw0KGgo="
MARK = {"type": "ephemeral"}


async def proves_streams(bench: Bench) -> None:
    """The first text arrives while the server has not sent the others."""
    script = Script()
    pieces = bench.kind.stream(script)
    first = next(place for place, piece in enumerate(pieces) if script.texts[0].encode() in piece)
    bench.server.reply(*pieces[: first + 1], then=Then.HOLD)
    calling = asyncio.create_task(bench.chat())
    try:
        await eventually(lambda: "".join(bench.deltas) == script.texts[0], 5)
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


async def proves_tools(bench: Bench) -> None:
    """A tool is offered and called; the call and its result are part of the next request."""
    bench.script(Script(texts=(), calls=(("call_1", "weather", {"city": "Ankara ✓"}),), reason="tools"))
    request = replace(HELLO, tools=(TOOL,))
    answer = await bench.chat(request)
    assert bench.seen.tools == ["weather"]
    (call,) = answer.tool_calls
    assert (call["id"], call["function"]["name"]) == ("call_1", "weather")
    assert call["function"]["arguments"].replace(" ", "") == '{"city":"Ankara✓"}' or "\\u2713" in str(call)
    assert answer.finish_reason == "tool_calls"
    turn = ({"role": "assistant", "content": None, "tool_calls": [dict(call)]},)
    result = ({"role": "tool", "tool_call_id": "call_1", "content": "sunny"},)
    bench.script()
    await bench.chat(replace(request, messages=(*HELLO.messages, *turn, *result)))
    assert (bench.seen.calls, bench.seen.results) == ([("weather", {"city": "Ankara ✓"})], ["sunny"])


async def proves_json_schema(bench: Bench) -> None:
    bench.script(Script(texts=('{"city": ', '"Ankara"}')))
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    assert (await bench.chat(replace(HELLO, response_format=form))).text == '{"city": "Ankara"}'
    assert bench.seen.schema == SCHEMA


async def proves_images(bench: Bench) -> None:
    bench.script()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    await bench.chat(ChatRequest(({"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},)))
    assert (bench.seen.texts, bench.seen.images) == (["What is this?"], [IMAGE])


async def proves_reasoning(bench: Bench) -> None:
    """Reasoning is requested, and separated from the answer."""
    bench.script(Script(reasoning=("Let me ", "think.")))
    answer = await bench.chat(replace(HELLO, extra={"reasoning_effort": "low"}))
    assert (answer.reasoning, answer.text) == ("Let me think.", "Hello, Ada ✓")
    assert bench.seen.reasons


async def proves_usage(bench: Bench) -> None:
    bench.script(Script(usage=(12, 3)))
    usage = (await bench.chat()).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (12, 3)


async def proves_cached_tokens(bench: Bench) -> None:
    """Cached tokens are counted among those of the prompt, and separately."""
    bench.script(Script(usage=(12, 3), cached=5))
    assert (await bench.chat()).usage == Usage(12, 3, cache_read_tokens=5)


async def proves_cache_control(bench: Bench) -> None:
    bench.script()
    part = {"type": "text", "text": "long", "cache_control": MARK}
    messages = ({"role": "system", "content": [part]}, {"role": "user", "content": [part]})
    await bench.chat(ChatRequest(messages, tools=({**TOOL, "cache_control": MARK},)))
    assert bench.seen.marks == 3


async def proves_load_time(bench: Bench) -> None:
    """The time for loading counts neither as latency nor as time to the first token."""
    pieces = bench.kind.stream(Script(load_s=3600))
    bench.server.reply(*pieces)
    answer = await bench.chat()
    assert answer.load_s > 0
    assert answer.first_token_s == 0


async def proves_chosen_context(bench: Bench) -> None:
    bench.script()
    await bench.chat(context=2048)
    assert bench.seen.context == 2048


async def proves_listed_context(bench: Bench) -> None:
    bench.server.documents = bench.kind.documents(["up", "other"])
    assert (await bench.providers.describe(bench.model, timeout_s=30)).context == 32_768


async def proves_listed_capabilities(bench: Bench) -> None:
    bench.server.documents = bench.kind.documents(["up", "other"])
    capabilities = (await bench.providers.describe(bench.model, timeout_s=30)).capabilities
    assert capabilities == {"tools", "vision", "reasoning", "json_schema"}


async def proves_adapters(bench: Bench, folder: Any) -> None:
    """An adapter that is served for a model of this protocol answers differently from its base."""
    async with ollama_kit(folder) as place:
        base_url = f"{place.address}/v1" if bench.kind.protocol == "openai" else place.address
        base = replace(place.base, base_url=base_url, protocol=bench.kind.protocol)
        (serving,) = await place.host().serve([replace(place.adapter(), base=base)])
        assert serving.model is not None
        texts = [
            (await bench.providers.chat(model, HELLO, timeout_s=30)).text for model in (base, replace(serving.model))
        ]
        assert texts[0] != texts[1]


PROOFS: Mapping[Feature, Callable[..., Awaitable[None]]] = {
    Feature.STREAMS: proves_streams,
    Feature.TOOLS: proves_tools,
    Feature.JSON_SCHEMA: proves_json_schema,
    Feature.IMAGES: proves_images,
    Feature.REASONING: proves_reasoning,
    Feature.USAGE: proves_usage,
    Feature.CACHED_TOKENS: proves_cached_tokens,
    Feature.CACHE_CONTROL: proves_cache_control,
    Feature.LOAD_TIME: proves_load_time,
    Feature.CHOSEN_CONTEXT: proves_chosen_context,
    Feature.LISTED_CONTEXT: proves_listed_context,
    Feature.LISTED_CAPABILITIES: proves_listed_capabilities,
    Feature.ADAPTERS: proves_adapters,
}
