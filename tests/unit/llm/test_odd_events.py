"""An unusual event does not lose the answer, and a server's error is reported verbatim wherever it occurs."""

from __future__ import annotations

import json
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.answers.answer import AnswerBuilder, AnswerFault, InvalidAnswer
from kairos.llm.answers.event_stream import EventStream
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.calls.providers import (
    ModelCallError,
    ModelRateLimited,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
)
from kairos.storable_text import is_storable
from tests.kit.model_calls import delta, events
from tests.kit.raw_model import ask, chunked, sized

UNUSUAL = [
    b": OPENROUTER PROCESSING\n\n",
    b":\n\n",
    b"\n\n",
    b"\r\n",
    b"event: ping\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"event: keepalive\nid: 1\nretry: 5\n\n",
    b"data: data: {}\n\n",
    b"data: : keepalive\n\n",
    b"data: ping\n\n",
    b"data: [PING]\n\n",
    b"data:\n\n",
    b"data: \n\n",
    b"data\n\n",
    b"data: null\n\n",
    b"data: true\n\n",
    b"data: 7\n\n",
    b"data: NaN\n\n",
    b'data: "x"\n\n',
    b"data: []\n\n",
    b"data: [1, null]\n\n",
    b"data: {}\n\n",
    b'data: {"choices": null}\n\n',
    b'data: {"choices": []}\n\n',
    b'data: {"choices": [null]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": null}]}\n\n',
    b'data: {"choices": [{"index": null, "delta": {}}]}\n\n',
    b'data: {"choices": [{"delta": {"role": "assistant", "content": null}, "finish_reason": ""}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": "", "tool_calls": null}, "logprobs": null}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": []}}]}\n\n',
    b'data: {"choices": [{"index": 1, "delta": {"content": "another"}, "finish_reason": "length"}]}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": NaN, "completion_tokens": Infinity}}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": -5, "completion_tokens": 99999999999999999999}}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}\n\n',
    b'data: {"choices": [], "usage": null, "error": null}\n\n',
    b'data: {"choices": [], "model": 7, "prompt_filter_results": [{"prompt_index": 0}]}\n\n',
    b'data: {"note": "\xff\xfe"}\n\n',
    b'data: {"note": "\\ud83d"}\n\n',
    b'data: {"n": -Infinity, "big": 123456789012345678901234567890}\n\n',
    b'data: {"type": "status", "message": "still at work"}\n\n',
]
GOOD = [
    delta(role="assistant", content=""),
    delta("The city "),
    delta("is Rome \U0001f3db."),
    delta(finish="stop"),
    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
]


PLAIN = st.characters(codec="utf-8", min_codepoint=32, exclude_characters='"\\')
"""Characters that JSON does not escape."""


def as_bytes(value: object) -> bytes:
    return events(value).encode()


def read(wire: bytes, *cuts: int) -> AnswerBuilder:
    """Read the answer from a stream that arrives split at these positions."""
    answer, stream = AnswerBuilder(100_000), EventStream()
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        answer.feed(stream.feed(wire[start:end]))
    answer.feed(stream.finish())
    answer.finish(wire[:100], framed=True)
    return answer


@pytest.mark.parametrize("odd", UNUSUAL, ids=repr)
async def test_unusual_event_does_not_lose_the_answer(odd: bytes):
    pieces = map(as_bytes, GOOD)
    got = await ask(chunked(odd + odd.join(pieces) + odd + b"data: [DONE] \n\n"))
    assert (got.text, got.finish_reason) == ("The city is Rome \U0001f3db.", "stop")
    assert got.usage is not None
    assert (got.usage.input_tokens, got.usage.output_tokens) == (5, 3)


@given(
    odd=st.lists(st.tuples(st.integers(0, len(GOOD)), st.sampled_from(UNUSUAL)), max_size=12),
    cuts=st.lists(st.integers(0, 5000), max_size=12),
    done=st.sampled_from([b"", b"data: [DONE]\n\n", b"data:[DONE]", b"data:  [DONE] \r\n\r\n", b'data: "[DONE]"\n\n']),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_unusual_events_anywhere_in_a_stream_change_nothing(
    odd: list[tuple[int, bytes]], cuts: list[int], done: bytes, bom: bytes
):
    wire = b""
    for place in range(len(GOOD) + 1):
        wire += b"".join(event for at, event in odd if at == place)
        wire += as_bytes(GOOD[place]) if place < len(GOOD) else done
    got = read(bom + wire, *cuts).completion()
    assert (got.text, got.finish_reason) == ("The city is Rome \U0001f3db.", "stop")


@given(text=st.text(max_size=40), size=st.integers(1, 5))
def test_text_split_into_utf_16_units_is_joined(text: str, size: int):
    """A gateway in JavaScript sends half of a surrogate pair in each delta."""
    data = text.encode("utf-16-le")
    pieces = [data[at : at + 2 * size].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2 * size)]
    wire = b"".join(as_bytes(json.dumps(delta(piece))) for piece in pieces)
    assert read(wire + as_bytes(delta("!", "stop"))).completion().text == text.replace("\0", "\ufffd") + "!"


@given(text=st.text(PLAIN, max_size=40), size=st.integers(1, 5))
def test_text_split_into_bytes_is_joined(text: str, size: int):
    """A gateway that counts bytes sends half of a character in each delta."""
    data, wire = text.encode(), b""
    for at in range(0, len(data), size):
        wire += b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % data[at : at + size]
    assert read(wire + as_bytes(delta("!", "stop"))).completion().text.encode() == data + b"!"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'"Rome \\ud83d"', "Rome \ufffd"),
        (b'"\\ude00 Rome"', "\ufffd Rome"),
        (b'"Rome \xf0\x9f"', "Rome \ufffd"),
        (b'"\xff\xfeRome"', "\ufffd\ufffdRome"),
        (b'"Ro\\u0000me"', "Ro\ufffdme"),
        (b'"Ro\x00me"', "Ro\ufffdme"),
        (b'"Ro\tme"', "Ro\tme"),
        (b'[{"type": "text", "text": "Ro"}, null, "me", {"type": "thinking", "thinking": "x"}]', "Rome"),
        (b'{"type": "text", "text": "Rome"}', "Rome"),
        (b'[{"type": "output_text", "text": "Rome"}, {"type": "image_url", "image_url": {}}]', "Rome"),
    ],
)
def test_unusual_content_is_read(content: bytes, text: str):
    for name in (b"delta", b"message"):
        wire = b'data: {"choices": [{"index": 0, "%s": {"content": %s}, "finish_reason": "stop"}]}\n\n'
        assert read(wire % (name, content)).completion().text == text


async def test_unusual_content_of_an_unstreamed_answer_is_read():
    message = b'{"content": "Rome \\ud83d\\ude00 \xff", "x": NaN}'
    body = b'{"choices": [{"index": null, "message": %s, "finish_reason": "STOP"}]}' % message
    assert (await ask(sized(body))).text == "Rome \U0001f600 \ufffd"


def test_only_choice_is_read_whatever_its_index():
    wire = b"".join(
        as_bytes({"choices": [{"index": "1", "delta": {"content": part}, "finish_reason": end}]})
        for part, end in (("Ro", None), ("me", "stop"))
    )
    assert read(wire).completion().text == "Rome"


def test_message_repeated_beside_its_deltas_is_not_added_again():
    """Perplexity sends the whole message so far with each delta, and an empty delta at the end."""
    last = {"choices": [{"index": 0, "delta": {}, "message": {"content": "Rome"}, "finish_reason": "stop"}]}
    assert read(as_bytes(delta("Ro")) + as_bytes(delta("me")) + as_bytes(last)).completion().text == "Rome"
    last["choices"][0]["delta"] = None
    assert read(as_bytes(delta("Ro")) + as_bytes(delta("me")) + as_bytes(last)).completion().text == "Rome"


def test_completions_of_the_older_protocol_are_read():
    wire = as_bytes({"choices": [{"index": 0, "text": "Rome", "finish_reason": None}]})
    assert read(wire + as_bytes({"choices": [{"text": "", "finish_reason": "stop"}]})).completion().text == "Rome"


@pytest.mark.parametrize(
    "call",
    [
        {"index": None, "id": "c", "function": {"name": "f", "arguments": {"a": 1}}},
        {"index": "0", "id": "c", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}},
    ],
)
def test_arguments_of_tool_calls_may_be_an_object(call: dict[str, object]):
    got = read(as_bytes(delta(tool_calls=[call, None])) + as_bytes(delta(finish="tool_calls"))).completion()
    assert got.tool_calls == ({"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},)


def test_event_wrapped_into_another_is_read():
    wire = b"".join(b"data: " + as_bytes(value) for value in (*GOOD, "[DONE]"))
    assert read(wire).completion().text == "The city is Rome \U0001f3db."


def test_older_function_call_is_a_tool_call():
    wire = as_bytes(delta(function_call={"name": "f", "arguments": ""}))
    wire += as_bytes(delta(function_call={"arguments": "{}"})) + as_bytes(delta(finish="function_call"))
    got = read(wire).completion()
    assert got.tool_calls[0]["function"] == {"name": "f", "arguments": "{}"}
    assert got.finish_reason == "tool_calls"


@pytest.mark.parametrize("count", [5, 5.0, "5"])
def test_token_counts_may_be_written_as_floats_and_digits(count: object):
    usage = {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}}
    got = read(as_bytes(delta("Rome", "stop")) + as_bytes(usage)).completion()
    assert got.usage is not None
    assert got.usage.input_tokens == 5


def test_damaged_event_is_not_ignored():
    """A part of the answer was in the event."""
    with pytest.raises(InvalidAnswer):
        read(as_bytes(delta("a")) + b'data: {"choices": [{"delta": {"content": "b\n\n' + as_bytes(delta("c", "stop")))


def test_event_nested_too_deep_is_refused():
    with pytest.raises(InvalidAnswer):
        read(b"data: " + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n\n")


NAMES = st.sampled_from(
    [
        "id",
        "object",
        "model",
        "choices",
        "index",
        "delta",
        "message",
        "content",
        "text",
        "type",
        "error",
        "errors",
        "code",
        "status",
        "detail",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "tool_calls",
        "function",
        "function_call",
        "name",
        "arguments",
        "reasoning",
        "thinking",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["stop", "", "\ud83d", "\0"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=30
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=2)}, optional={"usage": JSON, "model": JSON}
)


@given(events=st.lists(st.one_of(JSON, CHUNKS), max_size=6), whole=st.booleans())
def test_any_event_raises_only_answer_faults(events: list[object], whole: bool):
    answer = AnswerBuilder(100_000)
    try:
        if whole:
            answer.feed_whole(json.dumps(events[0] if events else None).encode())
        else:
            answer.feed([json.dumps(value).encode() for value in events])
            answer.finish(b"", framed=True)
    except AnswerFault:
        pass
    got = answer.completion()
    CachedAnswer.of(got, model="m", cost_usd=None, decision_id=uuid4()).pack()
    assert all(is_storable(text) for text in (got.text, got.reasoning, got.model or ""))


def test_arguments_nested_too_deep_are_refused():
    call = {"index": 0, "function": {"name": "f", "arguments": json.loads("[" * 500 + "]" * 500)}}
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        read(as_bytes(delta(tool_calls=[call])))


MESSAGE = "The server's own words"
ERRORS = [
    (
        {"object": "error", "message": MESSAGE, "type": "BadRequestError", "param": None, "code": 400},
        ModelRequestInvalid,
    ),
    ({"object": "error", "message": MESSAGE, "type": "NotFoundError"}, ModelRefused),
    ({"error": MESSAGE}, ModelServerError),
    ({"error": {"message": MESSAGE, "type": "insufficient_quota"}}, ModelRateLimited),
    ({"error": {"message": MESSAGE, "code": 503, "status": "UNAVAILABLE"}}, ModelServerError),
    ([{"error": {"message": MESSAGE, "code": 429, "status": "RESOURCE_EXHAUSTED"}}], ModelRateLimited),
    ({"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}, ModelServerError),
    ({"type": "error", "code": "rate_limit_exceeded", "message": MESSAGE}, ModelRateLimited),
    ({"detail": MESSAGE}, ModelServerError),
    ({"detail": f"Rate limit reached. {MESSAGE}"}, ModelRateLimited),
    ({"detail": MESSAGE, "status": 401}, ModelRefused),
    ({"message": MESSAGE}, ModelServerError),
    ({"message": MESSAGE, "statusCode": 429}, ModelRateLimited),
    ({"success": False, "errors": [{"code": 7009, "message": MESSAGE}]}, ModelServerError),
    ({"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": MESSAGE}}]}, ModelServerError),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=[json.dumps(error)[:50] for error, _ in ERRORS])
async def test_error_is_reported_verbatim(error: object, kind: type[ModelCallError]):
    body = json.dumps(error).encode()
    event = b"data: " + body + b"\n\n"
    started = as_bytes(delta("The cap"))
    for wire in (
        sized(body),
        chunked(event),
        chunked(event + b"data: [DONE]\n\n"),
        chunked(started + event),
        chunked(started + event + b"data: [DONE]\n\n"),
        chunked(started + event, ended=False),
        chunked(started + b"event: error\n" + event),
    ):
        with pytest.raises(ModelCallError, match=MESSAGE) as caught:
            await ask(wire)
        assert type(caught.value) is kind
        if kind is ModelServerError:
            assert caught.value.infrastructure


@pytest.mark.parametrize("line", [b'{"error": {"message": "%s"}}\n', b'error: {"message": "%s", "code": 500}\n\n'])
async def test_error_outside_the_events_is_reported(line: bytes):
    with pytest.raises(ModelServerError, match=MESSAGE):
        await ask(chunked(as_bytes(delta("The cap")) + line % MESSAGE.encode()))


async def test_split_byte_order_mark_is_ignored():
    wire = chunked(b"\xef\xbb\xbf" + as_bytes(delta("Rome", "stop")))
    for at in range(len(wire) - 60, len(wire)):
        assert (await ask(wire[: at % 97 + 80], wire[at % 97 + 80 :])).text == "Rome"
