"""A model is called again with a changed request if its server indicated the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kairos.llm.calls.prompt_cut import ModelPromptCut
from kairos.llm.calls.providers import ChatRequest, ModelRequestInvalid, Providers
from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.call_terms import CallResult, CallTimeouts, StreamListener
from kairos.llm.routing.model_caller import ModelCaller
from kairos.llm.routing.selection import ModelSelector
from tests.kit.model_calls import HELLO, model
from tests.kit.model_server import ModelServer, ScriptedModel
from tests.unit.llm.test_refused_parameters import openai

SENTENCE = "The committee of the region described an unusually thorough investigation. "
LONG, SHORT = ({"role": "user", "content": SENTENCE * 500},), ({"role": "user", "content": SENTENCE * 40},)


async def called(
    providers: Providers, model: Model, request: ChatRequest, listener: StreamListener = StreamListener(None, None)
) -> CallResult:
    async def may_probe(name: str) -> bool:
        return True

    selector = ModelSelector([model])
    caller = ModelCaller(selector, ModelHealth(), providers, ModelContexts(providers.traits), may_probe)
    return await caller.call(model, request, listener, CallTimeouts(5.0, 1), [])


def cuts(body: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Answer like a server that silently cuts prompts to 4,096 tokens."""
    if len(str(body["messages"])) < 10_000:
        return None
    usage = {"prompt_tokens": 4096, "completion_tokens": 1}
    return 200, {"choices": [{"index": 0, "message": {"content": "half"}, "finish_reason": "stop"}], "usage": usage}


async def test_cut_prompt_is_sent_again_once_in_its_shorter_form(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="whole", refuses=cuts, usage=False))
    request = ChatRequest(LONG, shorter=(SHORT,))
    answered = await called(providers, model(server, local=True, context=16384), request)
    assert (answered.completion.text, answered.messages) == ("whole", SHORT)
    assert len(server.calls) == 2


async def test_cut_prompt_without_a_shorter_form_is_a_failed_call(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", refuses=cuts))
    with pytest.raises(ModelPromptCut):
        await called(providers, model(server, local=True, context=16384), ChatRequest(LONG))
    assert len(server.calls) == 1


async def test_cut_prompt_is_not_sent_again_if_its_text_cannot_be_retracted(server: ModelServer, providers: Providers):
    received: list[str] = []

    async def on_text(text: str) -> None:
        received.append(text)

    server.add(ScriptedModel("up", refuses=cuts))
    called_model, request = model(server, local=True, context=16384), ChatRequest(LONG, shorter=(SHORT,))
    with pytest.raises(ModelPromptCut):
        await called(providers, called_model, request, StreamListener(on_text, None))
    assert (received, len(server.calls)) == (["half"], 1)


def too_long(body: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Answer like a server that counts more tokens in the prompt than Kairos."""
    if "max_tokens" not in body:
        return None
    return 400, openai("This model's maximum context length is 8192 tokens. However, you requested 8300 tokens (6252 "
                       "in the messages, 2048 in the completion).")  # fmt: skip


async def test_default_limit_without_room_is_omitted(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="Rome", refuses=too_long))
    assert (await called(providers, model(server), HELLO)).completion.text == "Rome"
    assert len(server.calls) == 2


async def test_requested_limit_is_not_omitted(server: ModelServer, providers: Providers):
    server.add(ScriptedModel("up", answer="Rome", refuses=too_long))
    with pytest.raises(ModelRequestInvalid):
        await called(providers, model(server), ChatRequest(HELLO.messages, max_tokens=5000))
    assert len(server.calls) == 1


async def test_default_limit_above_the_servers_maximum_is_lowered_permanently(
    server: ModelServer, providers: Providers
):
    def deepseek(body: Mapping[str, Any]) -> tuple[int, Any] | None:
        if body.get("max_tokens", 0) > 1024:
            return 400, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 1024]")
        return None

    server.add(ScriptedModel("up", answer="Rome", refuses=deepseek))
    for _ in range(2):
        await called(providers, model(server), HELLO)
    assert [call.body["max_tokens"] for call in server.calls] == [2048, 1024, 1024]
