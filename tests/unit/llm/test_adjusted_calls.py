"""A call that is refused for a parameter is repeated without it, and the next call omits it at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kairos.http import HttpClient
from kairos.llm.calls.adjustments import Adjustments, SchemaForm
from kairos.llm.calls.model_traits import Traits
from kairos.llm.calls.providers import ChatRequest, Providers
from kairos.llm.catalog.catalog import Model
from kairos.proxies import Proxies
from tests.kit.any_server import AnyServer
from tests.kit.model_calls import HELLO, failed, model
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.unit.llm.test_refused_parameters import SCHEMA, extra, openai


def gpt5(body: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Refuse parameters as OpenAI's gpt-5 family does."""
    if body.get("temperature") not in (None, 1):
        return 400, openai("Unsupported value: 'temperature' does not support 0 with this model.", "temperature")
    if "max_tokens" in body:
        return 400, openai("'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                           "max_tokens", "unsupported_parameter")  # fmt: skip
    return None


async def test_refused_parameter_is_omitted_and_remembered(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="Rome", refuses=gpt5))
    request = ChatRequest(HELLO.messages, temperature=0.0, max_tokens=5)
    for _ in range(2):
        assert (await providers.chat(model(server), request, timeout_s=5)).text == "Rome"
    assert len(server.calls) == 4
    assert server.calls[-1].body["max_completion_tokens"] == 5
    known = providers.traits.of(model(server)).adjustments
    assert known.described() == ["temperature not sent", "max_tokens sent as max_completion_tokens"]


async def test_other_models_of_the_server_receive_all_parameters(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", refuses=gpt5))
    server.add(ScriptedModel("older"))
    request = ChatRequest(HELLO.messages, temperature=0.0)
    await providers.chat(model(server), request, timeout_s=5)
    await providers.chat(model(server, name="older", upstream="older"), request, timeout_s=5)
    assert server.calls[-1].body["temperature"] == 0


async def test_changed_entry_and_reset_discard_adjustments(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", refuses=gpt5))
    request = ChatRequest(HELLO.messages, temperature=0.0)
    await providers.chat(model(server), request, timeout_s=5)
    assert providers.traits.of(model(server, base_url=f"{server.base_url}/")).adjustments == Adjustments()
    providers.traits.discard(model(server))
    server.add(ScriptedModel("up"))
    await providers.chat(model(server), request, timeout_s=5)
    assert server.calls[-1].body["temperature"] == 0


async def test_adjustment_that_did_not_help_is_not_remembered(server: ModelServer, providers: Providers):
    def never(body: Mapping[str, Any]) -> tuple[int, Any]:
        return 400, openai("Unrecognized request argument supplied: temperature")

    server.add(ScriptedModel("up", refuses=never))
    error = await failed(providers, model(server), ChatRequest(HELLO.messages, temperature=0.0))
    assert error.code == "model_request_invalid"
    assert not error.infrastructure
    assert len(server.calls) == 2
    assert providers.traits.of(model(server)) == Traits()


async def test_number_of_adjustments_per_call_is_limited(server: ModelServer, providers: Providers):
    names = [f"made_up_{number}" for number in range(40)]

    def picky(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        return next(((422, extra(name)) for name in names if name in body), None)

    server.add(ScriptedModel("up", refuses=picky))
    await failed(providers, model(server), ChatRequest(HELLO.messages, extra=dict.fromkeys(names, 1)))
    assert len(server.calls) == 7


async def test_configured_body_parameters_are_never_omitted(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", refuses=lambda body: (422, extra("lora")) if "lora" in body else None))
    await failed(providers, model(server, body={"lora": [{"id": 0, "scale": 1.0}]}))
    assert len(server.calls) == 1


async def test_refusal_of_a_schema_applies_only_to_that_schema(server: ModelServer, providers: Providers):
    def no_city(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        if "city" in str(body["response_format"].get("json_schema")):
            return 400, openai("Invalid schema for response_format 'answer': too odd", "response_format")
        return None

    server.add(ScriptedModel("up", refuses=no_city))
    country = {**SCHEMA, "json_schema": {"name": "answer", "schema": {"type": "object"}}}
    for _ in range(2):
        await providers.chat(model(server), ChatRequest(HELLO.messages, response_format=SCHEMA), timeout_s=5)
    assert server.calls[-1].body["response_format"] == {"type": "json_object"}
    assert len(server.calls) == 3
    await providers.chat(model(server), ChatRequest(HELLO.messages, response_format=country), timeout_s=5)
    assert server.calls[-1].body["response_format"]["type"] == "json_schema"
    assert providers.traits.of(model(server)) == Traits()


@pytest.mark.parametrize("streams", [True, False])
async def test_schema_is_sent_to_a_server_without_declared_capabilities(
    server: ModelServer, providers: Providers, streams: bool
):
    server.add(ScriptedModel("up", answer="{}", streams=streams))
    await providers.chat(model(server), ChatRequest(HELLO.messages, response_format=SCHEMA), timeout_s=5)
    sent = server.calls[0].body["response_format"]["json_schema"]
    assert (sent["strict"], sent["schema"]["additionalProperties"]) == (True, False)


async def test_schema_that_cannot_be_strict_is_sent_unchanged_without_strict(server: ModelServer, providers: Providers):
    """A strict schema requires every property, so an optional property would become required."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}}
    schema |= {"required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    server.add(ScriptedModel("up", answer="{}"))
    await providers.chat(model(server), ChatRequest(HELLO.messages, response_format=wanted), timeout_s=5)
    sent = server.calls[0].body["response_format"]["json_schema"]
    assert "strict" not in sent
    assert sent["schema"] == schema


async def test_declared_capabilities_override_learned_adjustments(server: ModelServer, providers: Providers):
    server.add(
        ScriptedModel("up", refuses=lambda body: (422, extra("response_format")) if "response_format" in body else None)
    )
    request = ChatRequest(HELLO.messages, response_format=SCHEMA)
    declared = model(server, capabilities=frozenset({"json_schema"}))
    await providers.chat(declared, request, timeout_s=5)
    assert providers.traits.of(declared).adjustments.schema_form is SchemaForm.STRICT
    await providers.chat(model(server, capabilities=frozenset({"no_json_schema"})), request, timeout_s=5)
    assert "response_format" not in server.calls[-1].body
    assert len(server.calls) == 3


async def test_refusal_inside_a_stream_is_handled(server: ModelServer, providers: Providers):
    def within(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        if "seed" in body:
            return 200, {"error": {"message": "seed is not supported", "type": "BadRequestError", "code": 400}}
        return None

    server.add(ScriptedModel("up", answer="Rome", refuses=within))
    got = await providers.chat(model(server), ChatRequest(HELLO.messages, seed=1), timeout_s=5)
    assert got.text == "Rome"


async def test_query_of_an_address_follows_the_path_and_azure_receives_the_api_key_header():
    reply = {"choices": [{"index": 0, "message": {"content": "Rome"}, "finish_reason": "stop"}]}
    called = Model("m", "m", "http://x.openai.azure.com/openai/deployments/d?api-version=1", api_key="sk-1")
    async with (
        AnyServer(lambda request: reply if "chat" in request.target else {"data": [{"id": "m"}]}) as proxy,
        HttpClient(proxies=Proxies.of({"HTTP_PROXY": proxy.address})) as http,
    ):
        providers = Providers(http)
        assert (await providers.chat(called, HELLO, timeout_s=5)).text == "Rome"
        assert [listed.name for listed in await providers.list_models(called.base_url, "sk-1", timeout_s=5)] == ["m"]
    first, second = proxy.requests
    assert first.target == "http://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"
    assert first.headers["api-key"] == "sk-1"
    assert second.target == "http://x.openai.azure.com/openai/deployments/d/models?api-version=1"
