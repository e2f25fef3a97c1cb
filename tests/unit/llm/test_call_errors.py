"""For each way in which a model call fails: its error, whether it counts against the server, and the remedy."""

from __future__ import annotations

import json
import socket

import pytest

from kairos.http import HttpClient
from kairos.llm.calls.providers import (
    CallLimits,
    ChatRequest,
    ModelAnswerInvalid,
    ModelCallError,
    ModelRateLimited,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
    ModelStreamCut,
    ModelTimeout,
    ModelUnreachable,
    Providers,
)
from tests.kit.model_calls import HELLO, delta, events, failed, garbled, model
from tests.kit.model_server import Fault, FaultKind, ModelServer, ScriptedModel

# Faults of the server


@pytest.mark.parametrize(
    ("fault", "kind", "partial"),
    [
        (Fault(FaultKind.HANG), ModelTimeout, ""),
        (Fault(FaultKind.HANG, after_tokens=0), ModelTimeout, ""),
        (Fault(FaultKind.HANG, after_tokens=2), ModelTimeout, "Grüße an"),
        (Fault(FaultKind.DISCONNECT), ModelUnreachable, ""),
        (Fault(FaultKind.DISCONNECT, after_tokens=2), ModelStreamCut, "Grüße an"),
        (Fault(FaultKind.NO_END, after_tokens=2), ModelStreamCut, "Grüße an"),
        (Fault(FaultKind.STATUS, status=500), ModelServerError, ""),
        (Fault(FaultKind.STATUS, status=503), ModelServerError, ""),
        (Fault(FaultKind.STATUS, status=408), ModelServerError, ""),
        (Fault(FaultKind.STATUS, status=429), ModelRateLimited, ""),
        (Fault(FaultKind.ERROR_IN_STREAM, after_tokens=2), ModelServerError, "Grüße an"),
        (Fault(FaultKind.ERROR_IN_STREAM, status=429, after_tokens=0), ModelRateLimited, ""),
        (Fault(FaultKind.GARBAGE_BODY), ModelAnswerInvalid, ""),
        (Fault(FaultKind.GARBAGE_BODY, body=""), ModelAnswerInvalid, ""),
        (Fault(FaultKind.GARBAGE_EVENTS), ModelAnswerInvalid, ""),
        (Fault(FaultKind.NO_CHOICES), ModelAnswerInvalid, ""),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.after_tokens}" if isinstance(value, Fault) else None,
)
async def test_faults_of_the_server_count_against_it(
    server: ModelServer, short_timeouts: Providers, fault: Fault, kind: type[ModelCallError], partial: str
):
    server.fail("up", fault)
    error = await failed(short_timeouts, model(server))
    assert type(error) is kind
    assert (error.infrastructure, error.permanent, error.retryable) == (True, False, True)
    assert (error.partial, error.usage) == (partial, None)


async def test_closed_port_is_unreachable(server: ModelServer, providers: Providers):
    await server.refuse()
    error = await failed(providers, model(server))
    assert isinstance(error, ModelUnreachable)
    assert error.infrastructure
    assert str(error) == (
        f"The model mine cannot be reached at {server.base_url}: Connection refused. "
        "Check that its server is running and that `base_url` in kairos.toml is correct."
    )
    await server.accept()
    assert (await providers.chat(model(server), HELLO, timeout_s=5)).text


async def test_server_that_accepts_no_connection_times_out(server: ModelServer):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        address = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        async with HttpClient() as http:
            error = await failed(Providers(http, CallLimits(connect_s=0.1)), model(server, base_url=address))
        for client in waiting:
            client.close()
    assert isinstance(error, ModelTimeout)
    assert error.infrastructure
    assert "waiting for the connection. Check that the server at" in str(error)


async def test_timeout_names_the_awaited_step(server: ModelServer, short_timeouts: Providers):
    server.fail("up", Fault(FaultKind.HANG, requests=1))
    assert "waiting for the first token. The server may be loading" in str(await failed(short_timeouts, model(server)))
    server.fail("up", Fault(FaultKind.HANG, after_tokens=1, requests=1))
    assert "waiting for the next token. The server stopped in the middle" in str(
        await failed(short_timeouts, model(server))
    )


async def test_deadline_of_the_caller_does_not_count_against_the_server(server: ModelServer, providers: Providers):
    server.fail("up", Fault(FaultKind.HANG, after_tokens=2))
    error = await failed(providers, model(server), timeout_s=0.5)
    assert isinstance(error, ModelTimeout)
    assert (error.infrastructure, error.permanent, error.retryable) == (False, False, True)
    assert error.partial == "Grüße an"
    assert "waiting for the end of the answer. Give the task more time" in str(error)


@pytest.mark.parametrize(("status", "header", "seconds"), [(429, "3", 3), (503, "0.5", 0.5), (429, None, None)])
async def test_retry_after_of_the_server_is_read(
    server: ModelServer, providers: Providers, status: int, header: str | None, seconds: float | None
):
    server.fail("up", Fault(FaultKind.STATUS, status=status, retry_after=header))
    assert (await failed(providers, model(server))).retry_after_s == seconds


# Refusals and bad requests


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, None, "Check the key in the environment variable that `api_key_env` names for mine in kairos.toml."),
        (403, None, "Check the key in the environment variable that `api_key_env` names for mine in kairos.toml."),
        (402, None, "has no credit left"),
        (404, '{"error": "model \'up\' not found"}', "If the server is Ollama, run `ollama pull up`."),
        (404, '{"error": {"message": "updog File Not Found"}}', "must be the address without"),
        (404, '{"detail": "Not Found"}', "must be the address without /chat/completions, such as …/v1."),
        (301, "", "must be the address without /chat/completions, such as …/v1."),
    ],
)
async def test_refusal_is_permanent_and_has_a_remedy(
    server: ModelServer, providers: Providers, status: int, body: str | None, remedy: str
):
    server.fail("up", Fault(FaultKind.STATUS, status=status, body=body))
    error = await failed(providers, model(server))
    assert isinstance(error, ModelRefused)
    assert (error.infrastructure, error.permanent, error.retryable) == (False, True, False)
    assert str(error).startswith(f"The server of the model mine refused the call with {status}: ")
    assert remedy in str(error)


async def test_missing_key_is_reported(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", api_key="right"))
    assert "(none is set)" in str(await failed(providers, model(server, api_key=None)))
    error = await failed(providers, model(server))
    assert "refused the call with 401: Incorrect API key provided. Check the key" in str(error)
    assert (await providers.chat(model(server, api_key="right"), HELLO, timeout_s=5)).text


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_bad_request_does_not_count_against_the_server(server: ModelServer, providers: Providers, status: int):
    server.fail("up", Fault(FaultKind.STATUS, status=status))
    error = await failed(providers, model(server))
    assert isinstance(error, ModelRequestInvalid)
    assert (error.infrastructure, error.permanent, error.retryable) == (False, False, False)


async def test_request_that_is_not_valid_json_is_never_sent(server: ModelServer, providers: Providers):
    error = await failed(providers, model(server), ChatRequest(({"role": "user", "content": "\ud800"},)))
    assert isinstance(error, ModelRequestInvalid)
    assert server.calls == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "m", "code": 502}, ModelServerError),
        ({"message": "m", "code": "429"}, ModelRateLimited),
        ({"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}, ModelRequestInvalid),
        ({"message": "m", "type": "exceed_context_size_error", "code": 400}, ModelRequestInvalid),
        ({"message": "m", "type": "authentication_error"}, ModelRefused),
        ("m", ModelServerError),
        ({"unknown": 1}, ModelServerError),
    ],
)
async def test_error_inside_the_answer_is_an_error(
    server: ModelServer, providers: Providers, error: object, kind: type[ModelCallError]
):
    assert type(await garbled(server, providers, events(delta("a"), {"error": error}))) is kind
    assert type(await garbled(server, providers, json.dumps({"error": error}))) is kind


# Invalid answers


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("hello there", "neither JSON nor a stream of events: hello there"),
        ("[1]", "expected a JSON object, got a list: [1]"),
        ("{", "it is not valid JSON: {"),
        ("{}", "it contains no choices: {}"),
        (events(delta(7)), "the content is a int"),
        (events({"choices": 3}), "`choices` is not a list"),
        (events({"choices": ["x"]}), "a choice is not an object"),
        (events({"choices": [{"delta": "x"}]}), "a message is not an object"),
        (events(delta(tool_calls=[1])), "`tool_calls` is not a list of objects"),
        (events(delta(tool_calls=[{"index": 5}])), "a tool call has the index 5"),
        (
            events(delta(tool_calls=[{"index": 0, "function": {"name": 1}}])),
            "the function of a tool call is not text",
        ),
    ],
)
async def test_invalid_answer_is_described(server: ModelServer, providers: Providers, body: str, reason: str):
    error = await garbled(server, providers, body)
    assert isinstance(error, ModelAnswerInvalid)
    assert error.reason == reason
    assert reason in str(error)


@pytest.mark.parametrize(
    "body", [events(*[delta("x" * 1000)] * 21), "data: " + "x" * 20_001, json.dumps({"x": "x" * 20_001})]
)
async def test_endless_answer_is_ended(server: ModelServer, providers: Providers, body: str):
    error = await garbled(server, providers, body)
    assert isinstance(error, ModelAnswerInvalid)
    assert not error.infrastructure
    assert "the limit of 20000 bytes" in str(error)


async def test_truncated_event_is_a_cut_stream(server: ModelServer, providers: Providers):
    error = await garbled(server, providers, events(delta("ab"), delta("cd"))[:-20])
    assert isinstance(error, ModelStreamCut)
    assert error.partial == "ab"
