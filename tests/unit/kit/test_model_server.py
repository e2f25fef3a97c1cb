"""The scripted model server supports the OpenAI protocol, as the official SDK confirms, and follows its script."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from kairos.http import HttpClient, HttpUnreachable
from kairos.llm.calls.providers import ChatRequest, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_script import Quality
from tests.kit.model_server import Fault, FaultKind, ModelServer, Prompt, ScriptedModel

if TYPE_CHECKING:
    import openai


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


async def ask(server: ModelServer, http: HttpClient, prompt: str = "hello", model: str = "m") -> str:
    request = ChatRequest(({"role": "user", "content": prompt},))
    return (await Providers(http).chat(Model(model, model, server.base_url), request, timeout_s=10)).text


def sdk(server: ModelServer) -> openai.AsyncOpenAI:
    import openai  # takes a second, which every process would spend on collecting the tests

    return openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0)


async def test_openai_sdk_reads_answers(server: ModelServer):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    server.add(ScriptedModel("m", answer="one two three"))
    server.add(ScriptedModel("tools", answer="", tool_calls=[call]))
    messages: Any = [{"role": "user", "content": "count to three"}]
    async with sdk(server) as client:
        assert [model.id async for model in client.models.list()] == ["m", "tools"]
        whole = await client.chat.completions.create(model="m", messages=messages)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("one two three", "stop")
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 3)
        cut = await client.chat.completions.create(model="m", messages=messages, max_tokens=2)
        assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("one two", "length")
        tools = await client.chat.completions.create(model="tools", messages=messages)
        assert tools.choices[0].message.tool_calls is not None
        assert tools.choices[0].finish_reason == "tool_calls"


async def test_openai_sdk_reads_streams(server: ModelServer):
    server.add(ScriptedModel("m", answer="one two three"))
    messages: Any = [{"role": "user", "content": "count to three"}]
    async with sdk(server) as client:
        stream = await client.chat.completions.create(
            model="m", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert [piece for piece in text if piece] == ["one", " two", " three"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


async def test_openai_sdk_reads_errors(server: ModelServer):
    import openai

    server.add(ScriptedModel("m", api_key="right"))
    messages: Any = [{"role": "user", "content": "hello"}]
    async with sdk(server) as client:
        with pytest.raises(openai.NotFoundError, match="model 'x' not found"):
            await client.chat.completions.create(model="x", messages=messages)
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="m", messages=messages)
        server.fail("m", Fault(FaultKind.STATUS, status=429, retry_after="3"))
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="m", messages=messages)
    assert caught.value.response.headers["retry-after"] == "3"


async def test_answer_depends_on_the_prompt(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer={"France": "Paris", "again": ["first", "then"], "": "unknown"}))
    assert await ask(server, http, "the capital of France?") == "Paris"
    assert await ask(server, http, "and of Peru?") == "unknown"
    server.add(ScriptedModel("turns", answer=["first", "then"]))
    assert [await ask(server, http, model="turns") for _ in range(3)] == ["first", "then", "then"]

    async def echo(prompt: Prompt) -> str:
        return f"{prompt.model} heard {prompt.text}"

    server.add(ScriptedModel("thinks", answer=echo))
    assert await ask(server, http, "you", model="thinks") == "thinks heard you"


async def test_quality_is_a_seeded_probability(server: ModelServer, http: HttpClient):
    async def draws(seed: int) -> list[str]:
        name = f"m{seed}"
        server.add(ScriptedModel(name, answer=Quality(0.7, good="yes", bad="no", seed=seed)))
        return [await ask(server, http, model=name) for _ in range(40)]

    first = await draws(1)
    assert 20 <= first.count("yes") <= 36
    assert first != await draws(2)
    async with ModelServer(ScriptedModel("m1", answer=Quality(0.7, "yes", "no", seed=1))) as other:
        assert [await ask(other, http, model="m1") for _ in range(40)] == first


async def test_faults_occur_in_order_and_as_often_as_set(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer="fine"))
    server.fail("m", Fault(FaultKind.STATUS, status=500, requests=2))
    server.fail("m", Fault(FaultKind.STATUS, status=401, requests=1))
    codes = []
    for _ in range(3):
        with pytest.raises(ModelCallError) as caught:
            await ask(server, http)
        codes.append(caught.value.code)
    assert codes == ["model_server_error", "model_server_error", "model_refused"]
    assert await ask(server, http) == "fine"
    assert [call.status for call in server.calls] == [500, 500, 401, 200]


async def test_fault_expires_or_can_be_healed(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer="fine"))
    server.fail("*", Fault(FaultKind.STATUS, for_s=0.0))
    assert await ask(server, http) == "fine"
    server.fail("*", Fault(FaultKind.STATUS))
    with pytest.raises(ModelCallError):
        await ask(server, http)
    server.clear_faults("*")
    assert await ask(server, http) == "fine"


async def test_slow_model_answers_at_its_speed(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer="one two three four", first_token_s=0.1, tokens_per_s=40))
    await ask(server, http)
    call = server.calls[0]
    assert call.finished is not None
    assert call.finished - call.started >= 0.2
    assert (call.tokens_sent, call.aborted) == (4, False)


async def test_disconnected_client_is_detected(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer="word " * 1000, tokens_per_s=50))
    request = asyncio.create_task(ask(server, http))
    call = await server.call(0)
    await asyncio.wait_for(call.begun.wait(), 5)
    request.cancel()
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.aborted
    assert call.tokens_sent < 1000


async def test_port_can_be_closed_and_opened(server: ModelServer, http: HttpClient):
    server.add(ScriptedModel("m", answer="fine"))
    address = server.address
    await server.refuse()
    with pytest.raises(HttpUnreachable):
        await http.get_json(f"{address}/health")
    await server.accept()
    assert server.address == address
    assert await http.get_json(f"{address}/health") == {"status": "ok"}


async def test_server_runs_as_a_process_and_is_scripted_over_http(http: HttpClient):
    scripted = json.dumps({"name": "m", "answer": {"sky": {"probability": 1.0, "good": "blue"}, "": ["a", "b"]}})
    command = [sys.executable, "-m", "tests.kit.model_server", "--print-address", "--model", scripted, "--model", "n"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        base_url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        await _script(http, base_url)
    finally:
        process.kill()
        await process.wait()


async def _script(http: HttpClient, base_url: str) -> None:
    admin = base_url.removesuffix("/v1") + "/admin"
    chat = {"model": "m", "messages": [{"role": "user", "content": "the sky?"}]}

    async def content() -> str:
        value = await http.post_json(f"{base_url}/chat/completions", chat)
        return value["choices"][0]["message"]["content"]

    async def command(method: str, path: str, value: Any = None) -> None:
        async with http.stream(method, admin + path, body=json.dumps(value).encode()) as answer:
            await answer.body()

    assert await content() == "blue"
    await command("POST", "/models", {"name": "m", "answer": "red", "usage": [5, 7]})
    assert await content() == "red"
    await command("POST", "/faults", {"model": "m", "kind": "garbage_body", "body": '{"choices": []}'})
    assert await http.post_json(f"{base_url}/chat/completions", chat) == {"choices": []}
    await command("DELETE", "/faults?model=m")
    assert await content() == "red"
    assert [call["status"] for call in await http.get_json(f"{admin}/calls")] == [200] * 4
    await command("DELETE", "/calls")
    assert await http.get_json(f"{admin}/calls") == []
    await command("DELETE", "/models/m")
    assert [model["id"] for model in (await http.get_json(f"{base_url}/models"))["data"]] == ["n"]
    await command("POST", "/refuse", {"for_s": 0.2})
    await _until_answered(http, f"{base_url}/models")


async def _until_answered(http: HttpClient, url: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await http.get_json(url)
                return
            except HttpUnreachable:
                await asyncio.sleep(0.02)
