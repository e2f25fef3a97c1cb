"""Streams of Ollama's and Anthropic's protocols: any division of the bytes gives the same answer, and any bytes end in
an answer or a typed error."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.llm.answers.answer import AnswerBuilder, AnswerFault, BadFinishReason, Completion, ReportedError, Usage
from kairos.llm.answers.anthropic_answer import AnthropicAnswerParser
from kairos.llm.answers.event_stream import EventStream
from kairos.llm.answers.ollama_answer import OllamaAnswerParser
from tests.kit.provider_kinds import AnthropicKind, OllamaKind, Script, event

PARSERS = {"ollama": OllamaAnswerParser, "anthropic": AnthropicAnswerParser}
KINDS = {"ollama": OllamaKind(), "anthropic": AnthropicKind()}
TEXTS = st.lists(st.text(max_size=12), max_size=6).map(tuple)
KEYS = (
    "type index delta content_block message content usage error model done text thinking tool_calls partial_json "
    "stop_reason done_reason function arguments name id input output_tokens load_duration"
)
NAMES = (
    "message_start content_block_start content_block_delta content_block_stop message_delta message_stop text_delta "
    "input_json_delta thinking_delta signature_delta tool_use text thinking error end_turn"
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(NAMES.split())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=5),
    max_leaves=12,
)


def read(protocol: str, chunks: Iterable[bytes]) -> AnswerBuilder:
    """Return the finished answer of a stream. Raises an `AnswerFault`."""
    answer, events = AnswerBuilder(100_000, PARSERS[protocol]()), EventStream()
    for chunk in chunks:
        answer.feed(events.feed(chunk))
    if not answer.done:
        answer.feed(events.finish())
    answer.finish(b"", framed=False)
    return answer


def completion(protocol: str, *values: Any) -> Completion:
    """Return the answer of a stream of these values."""
    lines = [json.dumps(value).encode() + b"\n" if protocol == "ollama" else event(value) for value in values]
    return read(protocol, lines).completion()


def facts(answer: Completion) -> tuple[object, ...]:
    return answer.text, answer.reasoning, answer.tool_calls, answer.usage, answer.finish_reason, answer.thinking_blocks


@pytest.mark.parametrize("protocol", PARSERS)
@given(texts=TEXTS, reasoning=TEXTS, cuts=st.lists(st.integers(0, 2_000), max_size=20), value=st.text(max_size=9))
@settings(max_examples=60, deadline=None)
def test_division_of_the_bytes_does_not_matter(
    protocol: str, texts: tuple[str, ...], reasoning: tuple[str, ...], cuts: list[int], value: str
):
    script = Script(texts=texts, reasoning=reasoning, calls=(("a", "f", {"x": value}),), reason="tools")
    stream = b"".join(KINDS[protocol].stream(script))
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert facts(read(protocol, pieces).completion()) == facts(read(protocol, [stream]).completion())


@pytest.mark.parametrize("protocol", PARSERS)
@given(chunks=st.lists(st.binary(max_size=40) | VALUES.map(lambda value: event(value) + b"\n"), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_stream_ends_in_an_answer_or_a_typed_error(protocol: str, chunks: list[bytes]):
    try:
        answer = read(protocol, chunks).completion()
    except AnswerFault:
        return
    assert answer.finish_reason in ("stop", "length", "tool_calls")


@pytest.mark.parametrize("protocol", PARSERS)
@given(body=VALUES)
@settings(max_examples=150, deadline=None)
def test_any_whole_answer_ends_in_an_answer_or_a_typed_error(protocol: str, body: Any):
    answer = AnswerBuilder(100_000, PARSERS[protocol]())
    try:
        answer.feed_whole(json.dumps(body).encode())
    except AnswerFault:
        return
    assert answer.completion().finish_reason in ("stop", "length", "tool_calls")


@pytest.mark.parametrize("reason", ["load", "unload", "something new"])
def test_answer_that_only_loads_a_model_is_not_an_answer(reason: str):
    message = {"role": "assistant", "content": ""}
    with pytest.raises(BadFinishReason, match=reason):
        completion("ollama", {"model": "m", "message": message, "done": True, "done_reason": reason})


def test_ollama_answers_of_old_versions_are_read():
    """They have no `done_reason`, and tool calls have no id and always the index 0."""
    call = {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    answer = completion(
        "ollama",
        {"message": {"content": "", "tool_calls": [call]}},
        {"message": {"content": "", "tool_calls": [call, {"function": {"name": "g"}}]}},
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 3},
    )
    assert [call["id"] for call in answer.tool_calls] == ["call_1", "call_2", "call_3"]
    assert [call["function"]["arguments"] for call in answer.tool_calls] == ['{"x":1}', '{"x":1}', "{}"]
    assert (answer.finish_reason, answer.usage) == ("tool_calls", Usage(3, 0))


@pytest.mark.parametrize("duration", [-5, "7", None, 1.5, True, 10**30])
def test_invalid_load_time_counts_as_none(duration: object):
    end = {"message": {"content": "x"}, "done": True, "done_reason": "stop", "load_duration": duration}
    assert completion("ollama", end).load_s == 0


def test_load_time_is_no_part_of_the_latency():
    end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "load_duration": 3_600_000_000_000}
    answer = completion("ollama", {"message": {"content": "x"}}, end)
    assert answer.first_token_s == 0
    assert answer.duration_s >= 0
    assert answer.load_s > 0


def start(**usage: int) -> dict[str, Any]:
    return {"type": "message_start", "message": {"model": "claude", "usage": usage}}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


END = ({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},)
STOP = {"type": "message_stop"}


def test_interleaved_thinking_keeps_its_order_and_signatures():
    answer = completion(
        "anthropic",
        start(input_tokens=4, cache_read_input_tokens=10, cache_creation_input_tokens=6, output_tokens=1),
        *block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "First."}),
        *block(1, {"type": "text", "text": "A"}, {"type": "text_delta", "text": "B"}),
        *block(
            2,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "Second."},
            {"type": "signature_delta", "signature": "c2"},
            {"type": "signature_delta", "signature": "ln"},
        ),
        *block(3, {"type": "redacted_thinking", "data": "xyz"}),
        *block(
            4,
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
        ),
        *block(5, {"type": "server_tool_use", "name": "web"}, {"type": "input_json_delta", "partial_json": '{"q"'}),
        *block(6, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": {}}),
        *END,
        STOP,
    )
    assert (answer.text, answer.reasoning) == ("AB", "First.\n\nSecond.")
    assert answer.thinking_blocks == (
        {"type": "thinking", "thinking": "Second.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "xyz"},
    )
    assert [call["function"] for call in answer.tool_calls] == [{"name": "f", "arguments": "{}"}]
    assert answer.usage == Usage(20, 9, cache_read_tokens=10, cache_write_tokens=6)


def test_text_without_the_start_of_its_block_is_read():
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    assert completion("anthropic", start(), delta, *END, STOP).text == "x"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("new_kind", 500),
    ],
)
def test_error_event_has_the_status_of_its_type(kind: str, status: int):
    error = {"type": "error", "error": {"type": kind, "message": "Please wait"}}
    with pytest.raises(ReportedError, match="Please wait") as caught:
        completion("anthropic", start(), error)
    assert caught.value.http_status == status


@pytest.mark.parametrize("reason", ["refusal", "pause_turn"])
def test_refused_and_paused_answers_are_not_complete(reason: str):
    with pytest.raises(BadFinishReason):
        completion("anthropic", start(), {"type": "message_delta", "delta": {"stop_reason": reason}}, STOP)
