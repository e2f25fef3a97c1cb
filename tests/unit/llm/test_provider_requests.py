"""Requests in the forms of Ollama and Anthropic."""

from __future__ import annotations

from typing import Any

import pytest

from kairos.config_models import ModelSettings
from kairos.llm.answers.answer import ReportedError
from kairos.llm.calls.adjustments import UNADJUSTED
from kairos.llm.calls.anthropic_messages import AnthropicMessages
from kairos.llm.calls.model_traits import ModelTraits
from kairos.llm.calls.ollama_chat import OllamaChat
from kairos.llm.calls.refused_parameters import ParameterRefusal, next_adjustment
from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Model

MARK = {"type": "ephemeral", "ttl": "1h"}
USER = {"role": "user", "content": "Hi"}


def anthropic(*messages: dict[str, Any], base_url: str = "https://api.anthropic.com/v1", **fields: Any) -> Any:
    model = Model("m", "claude", base_url, "sk", protocol="anthropic", context=8192)
    body = {"model": "claude", "messages": messages or (USER,), "stream": True, **fields}
    return AnthropicMessages().chat_request(model, body)


def ollama(*messages: dict[str, Any], base_url: str = "http://x:1", **fields: Any) -> Any:
    model = Model("m", fields.pop("model", "llama"), base_url, protocol="ollama", context=8192)
    return OllamaChat().chat_request(model, {"model": model.upstream, "messages": messages or (USER,), **fields})


@pytest.mark.parametrize("base_url", ["https://h", "https://h/", "https://h/v1", "https://h/v1/"])
def test_addresses_with_and_without_the_version_are_the_same(base_url: str):
    request = anthropic(base_url=base_url)
    assert request.url == "https://h/v1/messages"
    assert request.headers == {"anthropic-version": "2023-06-01", "x-api-key": "sk"}
    assert request.token is None
    assert ollama(base_url=base_url).url == "https://h/api/chat"
    assert ollama(base_url="http://h:1/api").url == "http://h:1/api/chat"


def test_anthropic_answer_limit_is_mandatory():
    assert anthropic().body["max_tokens"] == 4096
    assert anthropic(max_completion_tokens=9).body["max_tokens"] == 9


def test_anthropic_cache_control_is_kept_on_parts_messages_and_tools():
    body = anthropic(
        {"role": "system", "content": "Long", "cache_control": MARK},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "cache_control": MARK}, {"type": "text", "text": "b"}],
        },
        tools=[{"type": "function", "function": {"name": "f", "cache_control": MARK}}],
    ).body
    assert body["system"] == [{"type": "text", "text": "Long", "cache_control": MARK}]
    assert body["messages"][0]["content"][0]["cache_control"] == MARK
    assert "cache_control" not in body["messages"][0]["content"][1]
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "cache_control": MARK}]


def test_anthropic_results_of_several_tools_are_one_message_and_thinking_comes_first():
    thinking = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    calls = [{"id": name, "function": {"name": "f", "arguments": "{}"}} for name in ("a", "b")]
    messages = anthropic(
        USER,
        {"role": "assistant", "content": "", "tool_calls": calls, "thinking_blocks": [thinking]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        USER,
    ).body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["thinking", "tool_use", "tool_use"]
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result", "text"]


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({}, None),
    ],
)
def test_anthropic_choice_of_tools(fields: dict[str, Any], choice: Any):
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert anthropic(tools=tools, **fields).body.get("tool_choice") == choice


def test_anthropic_values_outside_of_its_limits_are_adapted():
    body = anthropic(USER, {"role": "assistant", "content": "Sure: "}, temperature=1.7, stop=["END", "\n"], seed=7).body
    assert (body["temperature"], body["stop_sequences"]) == (1, ["END"])
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "Sure:"}]
    assert "seed" not in body


def test_anthropic_reasoning_excludes_a_temperature():
    body = anthropic(reasoning_effort="high", temperature=0).body
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert "temperature" not in body
    assert anthropic(reasoning_effort="none", temperature=0).body["thinking"] == {"type": "disabled"}


def test_anthropic_image_address_is_passed_on():
    part = {"type": "image_url", "image_url": {"url": "https://h/i.png"}}
    (block,) = anthropic({"role": "user", "content": [part]}).body["messages"][0]["content"]
    assert block["source"] == {"type": "url", "url": "https://h/i.png"}


def test_ollama_parameters_are_options():
    body = ollama(temperature=0, max_tokens=5, top_k=3, stop="END", options={"num_gpu": 0}, keep_alive="1h").body
    assert body["options"] == {
        "num_ctx": 8192,
        "temperature": 0,
        "num_predict": 5,
        "top_k": 3,
        "stop": ["END"],
        "num_gpu": 0,
    }
    assert (body["keep_alive"], body["truncate"], body["shift"]) == ("1h", False, False)


def test_ollama_context_that_is_sent_is_the_one_that_prompts_must_fit():
    remote = Model("m", "m", "https://ollama.internal", protocol="ollama", context_declared=False)
    sent = OllamaChat().chat_request(remote, {"model": "m", "messages": [USER]}).body["options"]["num_ctx"]
    assert ModelContexts(ModelTraits()).of(remote) == sent


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [("qwen3", "low", True), ("qwen3", "none", False), ("gpt-oss:20b", "low", "low"), ("gpt-oss:20b", "minimal", True)],
)
def test_ollama_levels_of_reasoning_are_sent_to_models_that_know_them(model: str, effort: str, think: object):
    assert ollama(model=model, reasoning_effort=effort).body["think"] == think


def test_ollama_json_without_a_schema_and_withheld_tools():
    body = ollama(
        response_format={"type": "json_object"},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="none",
    ).body
    assert body["format"] == "json"
    assert "tools" not in body
    assert "think" not in body


def test_ollama_results_of_tools_name_their_function():
    call = {"id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = ollama(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ).body["messages"]
    assert messages[0]["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert (messages[1]["tool_name"], messages[1]["tool_call_id"]) == ("f", "a")


@pytest.mark.parametrize("make", [anthropic, ollama])
@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": [7]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]},
    ],
)
def test_request_that_a_protocol_cannot_express_is_refused(make: Any, message: dict[str, Any]):
    with pytest.raises(ReportedError) as caught:
        make(message)
    assert caught.value.http_status == 400


def test_ollama_does_not_load_images_from_addresses():
    part = {"type": "image_url", "image_url": {"url": "https://h/i.png"}}
    with pytest.raises(ReportedError, match="base64"):
        ollama({"role": "user", "content": [part]})


@pytest.mark.parametrize("arguments", ["not JSON", "[1]", None, {"x": 1}])
def test_arguments_that_are_no_object_are_kept(arguments: object):
    call = {"id": "a", "function": {"name": "f", "arguments": arguments}}
    sent = ollama({"role": "assistant", "content": "", "tool_calls": [call]}).body["messages"][0]
    assert isinstance(sent["tool_calls"][0]["function"]["arguments"], dict)


@pytest.mark.parametrize(
    ("names", "text", "dropped"),
    [
        (OllamaChat.parameter_names, '"smol" does not support thinking', "reasoning_effort"),
        (AnthropicMessages.parameter_names, "adaptive thinking is not supported on this model", "reasoning_effort"),
        (AnthropicMessages.parameter_names, "stop_sequences: Extra inputs are not permitted", "stop"),
    ],
)
def test_refusal_in_the_names_of_the_server_is_understood(names: dict[str, str], text: str, dropped: str):
    body = {"model": "m", "messages": [USER], "reasoning_effort": "high", "stop": ["x"], "stream": True}
    step = next_adjustment(body, UNADJUSTED, ParameterRefusal.of(400, b"", text).renamed(names))
    assert step is not None
    assert step.changes.dropped == {dropped}


@pytest.mark.parametrize("protocol", ["openai", "ollama", "anthropic", "plugin:cohere"])
def test_known_protocols_are_accepted(protocol: str):
    assert ModelSettings(name="m", base_url="http://x", protocol=protocol).protocol == protocol


@pytest.mark.parametrize("protocol", ["olama", "OpenAI", "", "plugin:", "plugin:a b", "gemini", "plugin:\n"])
def test_unknown_protocol_is_refused_with_the_known_ones(protocol: str):
    with pytest.raises(ValueError, match="known protocols: openai, ollama, anthropic, and plugin:NAME"):
        ModelSettings(name="m", base_url="http://x", protocol=protocol)
