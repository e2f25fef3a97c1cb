"""Model calls over real HTTP: answers in all formats that servers use, and cancelled calls."""

from __future__ import annotations

import asyncio
import json

import pytest

from kairos.http import HttpClient, HttpGarbled, HttpUnreachable
from kairos.llm.calls.providers import ChatRequest, Providers, Usage
from tests.kit.any_server import AnyServer
from tests.kit.model_calls import HELLO, KEY, answered, delta, events, failed, model
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel


async def test_answer_is_streamed_and_complete_at_the_end(server: ModelServer, providers: Providers):
    deltas: list[str] = []

    async def on_delta(text: str) -> None:
        deltas.append(text)

    got = await providers.chat(model(server), HELLO, timeout_s=5, on_delta=on_delta)
    assert (got.text, got.finish_reason, got.model, got.tool_calls) == ("Grüße an dich", "stop", "up", ())
    assert got.usage == Usage(input_tokens=2, output_tokens=3)
    assert "".join(deltas) == got.text
    assert got.first_token_s is not None
    assert 0 < got.first_token_s <= got.duration_s


async def test_request_arrives_with_all_parameters(server: ModelServer, providers: Providers):
    request = ChatRequest(
        messages=HELLO.messages,
        temperature=0.0,
        max_tokens=2,
        response_format={"type": "json_object"},
        stop=("\n",),
        seed=7,
        tools=({"type": "function", "function": {"name": "f"}},),
        extra={"lora": [{"id": 0, "scale": 1.0}]},
    )
    got = await providers.chat(model(server), request, timeout_s=5)
    assert (got.text, got.finish_reason) == ("Grüße an", "length")
    call = server.calls[0]
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.body == {
        "model": "up",
        "messages": [{"role": "user", "content": "say hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_tokens": 2,
        "response_format": {"type": "json_object"},
        "stop": ["\n"],
        "seed": 7,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "lora": [{"id": 0, "scale": 1.0}],
    }


async def test_plain_request_contains_only_required_fields(server: ModelServer, providers: Providers):
    await providers.chat(model(server, api_key=None), HELLO, timeout_s=5)
    assert set(server.calls[0].body) == {"model", "messages", "stream", "stream_options"}
    assert "Authorization" not in server.calls[0].headers


async def test_unstreamed_answer_is_read(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="all at once", streams=False))
    deltas: list[str] = []

    async def on_delta(text: str) -> None:
        deltas.append(text)

    got = await providers.chat(model(server), HELLO, timeout_s=5, on_delta=on_delta)
    assert (got.text, got.finish_reason, got.usage) == ("all at once", "stop", Usage(2, 3))
    assert got.first_token_s is None
    assert deltas == ["all at once"]


@pytest.mark.parametrize("kind", [FaultKind.DRIP, FaultKind.WRONG_TYPE, FaultKind.NO_USAGE])
async def test_unusual_but_complete_answer_is_read(server: ModelServer, providers: Providers, kind: FaultKind):
    server.fail("up", Fault(kind))
    got = await providers.chat(model(server), HELLO, timeout_s=5)
    assert got.text == "Grüße an dich"
    assert got.usage == (None if kind is FaultKind.NO_USAGE else Usage(2, 3))


async def test_reasoning_is_not_part_of_the_answer(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="42", reasoning="let me think it over"))
    got = await providers.chat(model(server), HELLO, timeout_s=5)
    assert (got.text, got.usage) == ("42", Usage(2, 6))


async def test_first_token_of_reasoning_counts_as_first_token(server: ModelServer, short_timeouts: Providers):
    """The server counts reasoning as output, so its time must count in tokens per second."""
    server.add(ScriptedModel("up", answer="42", reasoning="let me think it over"))
    server.fail("up", Fault(FaultKind.HANG, after_tokens=2))
    assert "waiting for the next token" in str(await failed(short_timeouts, model(server)))
    got = await answered(server, short_timeouts, events(delta(reasoning_content="hm"), delta(finish="stop")))
    assert got.text == ""
    assert got.first_token_s is not None


@pytest.mark.parametrize(
    "body",
    [
        ": keep-alive\r\n\r\n" + events(delta("a"), delta("b", "stop")).replace("\n", "\r\n"),
        "\ufeff" + events(delta("ab", "stop"), "[DONE]"),
        events(delta("ab"), delta(None), delta("", "stop"), {"choices": []}, {"usage": None}, "[DONE]"),
        events(
            {"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "ab"}}]},
            delta(finish="stop"),
            "[DONE]",
        ),
        events({"error": None, **delta("ab", "stop")}),
        events(delta([{"type": "thinking", "thinking": []}, {"type": "text", "text": "ab"}], "stop")),
        events(delta("ab", "stop")).rstrip(),
        events({"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}),
        "  \n" + json.dumps({"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}),
    ],
)
async def test_variants_of_the_protocol_are_read(server: ModelServer, providers: Providers, body: str):
    assert (await answered(server, providers, body)).text == "ab"


async def test_tool_calls_are_joined_from_their_parts(server: ModelServer, providers: Providers):
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    second = {"index": 1, "id": "c2", "function": {"name": "find", "arguments": "{}"}}
    pieces = [{"index": 0, "function": {"arguments": part}} for part in ('{"a"', ": 1}")]
    stream = [delta(tool_calls=[call]) for call in (first, *pieces, second)]
    got = await answered(server, providers, events(*stream, delta(finish="tool_calls"), "[DONE]"))
    assert got.text == ""
    assert got.tool_calls == (
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "find", "arguments": "{}"}},
    )


async def test_tool_calls_without_an_index_are_distinguished_by_id(server: ModelServer, providers: Providers):
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    got = await answered(server, providers, events(*[delta(tool_calls=[c]) for c in calls], delta(finish="stop")))
    assert [call["id"] for call in got.tool_calls] == ["a", "b"]


async def test_server_that_refuses_stream_options_is_called_without_them(server: ModelServer, providers: Providers):
    """Mistral answers 422 to `stream_options` and reports usage anyway."""
    body = json.dumps({"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}})
    server.fail("up", Fault(FaultKind.STATUS, status=422, body=body, requests=1))
    for _ in range(2):
        assert (await providers.chat(model(server), HELLO, timeout_s=5)).text == "Grüße an dich"
    assert ["stream_options" in call.body for call in server.calls] == [True, False, False]


async def test_stream_that_never_ends_does_not_spoil_a_finished_answer(server: ModelServer, providers: Providers):
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + events(delta("ab"), delta(finish="stop")).encode())
        await reader.read()  # the usage never comes, and the stream never ends
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(late, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    got = await providers.chat(model(server, base_url=address), HELLO, timeout_s=5)
    listener.close()
    assert (got.text, got.finish_reason, got.usage) == ("ab", "stop", None)


async def test_connections_are_reused(server: ModelServer, providers: Providers):
    for _ in range(3):
        await providers.chat(model(server), HELLO, timeout_s=5)
    assert server.connections == 1


async def test_models_are_listed(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("other"))
    listed = await providers.list_models(server.base_url + "/", None, timeout_s=2)
    assert [model.name for model in listed] == ["up", "other"]
    async with AnyServer(lambda request: []) as odd:
        with pytest.raises(HttpGarbled, match="not a list of models"):
            await providers.list_models(odd.address, None, timeout_s=2)
    await server.refuse()
    with pytest.raises(HttpUnreachable):
        await providers.list_models(server.base_url, None, timeout_s=2)


@pytest.mark.parametrize("after_tokens", [None, 2])
async def test_cancelling_stops_the_server(server: ModelServer, providers: Providers, after_tokens: int | None):
    server.fail("up", Fault(FaultKind.HANG, after_tokens=after_tokens))
    streaming = asyncio.Event()

    async def on_delta(text: str) -> None:
        streaming.set()

    async with HttpClient() as http:
        unlimited = Providers(http)
        chat = asyncio.create_task(unlimited.chat(model(server), HELLO, timeout_s=60, on_delta=on_delta))
        call = await server.call(0)
        if after_tokens:
            await asyncio.wait_for(streaming.wait(), 5)
        chat.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chat
        await asyncio.wait_for(call.ended.wait(), 5)
    assert call.aborted


async def test_failing_listener_ends_the_call_with_its_error(server: ModelServer, providers: Providers):
    server.fail("up", Fault(FaultKind.HANG, after_tokens=2))

    async def on_delta(text: str) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError):
        await providers.chat(model(server), HELLO, timeout_s=5, on_delta=on_delta)
    call = await server.call(0)
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.aborted
