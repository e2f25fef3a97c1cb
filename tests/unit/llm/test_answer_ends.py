"""An answer is accepted only if it ended properly; anything else is a failed call."""

from __future__ import annotations

import gzip
import json
import time
from contextlib import suppress

import pytest

from kairos.llm.answers.answer import AnswerBuilder, AnswerFault, InvalidAnswer
from kairos.llm.answers.event_stream import EventStream
from kairos.llm.answers.finish_reason import Ending, ending_of, finish_reason_of
from kairos.llm.calls.providers import ModelAnswerInvalid, ModelCallError, ModelStreamCut, ModelTimeout, ModelWithheld
from tests.kit.model_calls import delta, events
from tests.kit.raw_model import UNFRAMED, Then, ask, chunked, sized

TEXT = delta("The capital of Italy is Ro")
REST = delta("me.")
STOP = delta(finish="stop")
DONE = "[DONE]"
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
WHOLE = "The capital of Italy is Rome."


def stream(*values: object) -> bytes:
    return events(*values).encode()


@pytest.mark.parametrize(
    ("wire", "then"),
    [
        (UNFRAMED + stream(TEXT, REST, STOP, DONE), Then.CLOSE),
        (UNFRAMED + stream(TEXT, REST, STOP, USAGE, DONE), Then.RESET),
        (UNFRAMED + stream(TEXT, REST, STOP, DONE), Then.HOLD),
        (chunked(stream(TEXT, REST, STOP)), Then.CLOSE),
        (chunked(stream(TEXT, delta("me.", "stop"))), Then.CLOSE),
        (chunked(stream(TEXT, REST, STOP, DONE), ended=False), Then.CLOSE),
        (chunked(stream(TEXT, REST, STOP), ended=False), Then.HOLD),
        (sized(stream(TEXT, REST, STOP)), Then.CLOSE),
        (sized(stream(TEXT, REST, STOP).rstrip()), Then.CLOSE),
        (UNFRAMED + stream(TEXT, REST, STOP), Then.CLOSE),
        (UNFRAMED + stream(TEXT, REST, STOP, USAGE), Then.HOLD),
        (
            UNFRAMED + stream(TEXT, delta("me.", "stop"), {"choices": [{"index": 0, "finish_reason": None}]}, DONE),
            "close",
        ),
        # Ollama writes "" where the protocol has null, DashScope "null".
        (UNFRAMED + stream(delta("The capital of Italy is Ro", ""), delta("me.", ""), STOP, DONE), Then.CLOSE),
        (UNFRAMED + stream(delta("The capital of Italy is Ro", "null"), delta("me.", "null"), STOP, DONE), Then.CLOSE),
        # A finish reason in each event proves nothing, but [DONE] does.
        (UNFRAMED + stream(delta("The capital of Italy is Ro", "stop"), delta("me.", "stop"), DONE), Then.CLOSE),
        (UNFRAMED + stream(TEXT, STOP, REST, STOP, DONE), Then.CLOSE),
        # [DONE] is the only end here, in any notation.
        (UNFRAMED + stream(TEXT, delta("me.", "stop")) + b"data: [DONE] \n\n", Then.CLOSE),
        (UNFRAMED + stream(TEXT, delta("me.", "stop")) + b"data:\t[DONE]\r\n\r\n", Then.CLOSE),
        (UNFRAMED + stream(TEXT, delta("me.", "stop")) + b'data: "[DONE]"\n\n', Then.CLOSE),
        (UNFRAMED + stream(TEXT, delta("me.", "stop")) + b"data: [done]\n\n", Then.CLOSE),
        (UNFRAMED + stream(TEXT, delta("me.", "stop")) + b"data: data: [DONE]\n\n", Then.CLOSE),
        (sized(json.dumps({"choices": [{"message": {"content": WHOLE}, "finish_reason": "stop"}]}).encode()), "close"),
        (sized(gzip.compress(stream(TEXT, REST, STOP, DONE)), headers=b"Content-Encoding: gzip\r\n"), Then.CLOSE),
    ],
)
async def test_answer_with_a_proper_end_is_complete(wire: bytes, then: str):
    got = await ask(wire, then=Then(then))
    assert (got.text, got.finish_reason) == (WHOLE, "stop")


async def test_wait_after_the_end_does_not_count_as_duration():
    began = time.perf_counter()
    got = await ask(UNFRAMED + stream(TEXT, REST, STOP, USAGE), then=Then.HOLD)
    assert got.duration_s <= time.perf_counter() - began - 0.1, "`ask` waits 0.1 s for token counts"


async def test_withheld_text_is_sent_when_the_stream_stalls_after_its_end():
    deltas: list[str] = []
    got = await ask(UNFRAMED + stream(delta("<"), STOP), then=Then.HOLD, deltas=deltas)
    assert (got.text, "".join(deltas)) == ("<", "<")


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET, Then.HOLD])
@pytest.mark.parametrize(
    "values",
    [
        (TEXT,),
        (delta("The capital of Italy is Ro", ""),),
        (delta("The capital of Italy is Ro", "stop"),),
        (delta("The capital ", "stop"), delta("of Italy is Ro", "stop")),
        (delta("", "stop"), TEXT),
        (delta("The capital ", "stop"), STOP, delta("of Italy is Ro")),
        (STOP, TEXT, STOP),
        (delta("", "stop", role="assistant"), delta("The capital of Italy is Ro", "stop")),
    ],
)
async def test_stream_that_breaks_off_without_an_end_is_a_failed_call(values: tuple[object, ...], then: Then):
    with pytest.raises((ModelStreamCut, ModelTimeout)) as caught:
        await ask(UNFRAMED + stream(*values), then=then)
    assert caught.value.infrastructure
    assert caught.value.partial == "The capital of Italy is Ro"


@pytest.mark.parametrize(
    ("wire", "then"),
    [
        (chunked(stream(TEXT, STOP), ended=False), Then.CLOSE),
        (chunked(stream(TEXT, STOP), ended=False), Then.RESET),
        (chunked(stream(delta("x", "stop")), ended=False), Then.CLOSE),
        (sized(stream(TEXT, STOP), missing=10), Then.CLOSE),
        (sized(stream(TEXT, STOP), missing=10), Then.RESET),
        (chunked(stream(TEXT)), Then.CLOSE),
        (chunked(stream(TEXT, DONE)), Then.CLOSE),
        (UNFRAMED + stream(TEXT, STOP, REST, DONE), Then.CLOSE),
        (chunked(stream(delta("The ", "stop"), delta("capital", "stop"))), Then.CLOSE),
        (UNFRAMED + stream(TEXT)[:-20], Then.CLOSE),
        (chunked(stream(TEXT, STOP)[:-20]), Then.CLOSE),
        (
            sized(gzip.compress(stream(TEXT, delta("me.", "stop")))[:-12], headers=b"Content-Encoding: gzip\r\n"),
            "close",
        ),
        (sized(json.dumps({"choices": [{"message": {"content": "Ro"}}]}).encode()), Then.CLOSE),
        (sized(json.dumps({"choices": [{"message": {"content": "Ro"}}]}).encode(), missing=5), Then.CLOSE),
        (
            UNFRAMED + json.dumps({"choices": [{"message": {"content": "Ro"}, "finish_reason": "stop"}]}).encode()[:-3],
            "close",
        ),
        (sized(b"<html><title>Sign in</title></html>"), Then.CLOSE),
    ],
)
async def test_damaged_end_is_a_failed_call(wire: bytes, then: str):
    with pytest.raises((ModelStreamCut, ModelAnswerInvalid)):
        await ask(wire, then=Then(then))


@pytest.mark.parametrize(
    "values",
    [
        (TEXT, REST, STOP, USAGE, DONE),
        (delta("The capital of Italy is Ro", ""), delta("me.", ""), STOP, DONE),
        (delta("The capital of ", "stop"), delta("Italy is Ro", "stop"), delta("me.", "stop"), STOP, DONE),
        (STOP, TEXT, REST, STOP, DONE),
    ],
)
def test_stream_cut_at_any_byte_is_complete_or_an_error(values: tuple[object, ...]):
    wire = stream(*values)
    for cut in range(len(wire) + 1):
        answer, parser = AnswerBuilder(10_000), EventStream()
        try:
            answer.feed(parser.feed(wire[:cut]))
            with suppress(InvalidAnswer):
                answer.feed(parser.finish())
            answer.finish(b"", framed=False)
        except AnswerFault:
            assert cut < len(wire)
        else:
            assert answer.completion().text == WHOLE, wire[:cut]


@pytest.mark.parametrize("then", list(Then))
@pytest.mark.parametrize("reason", ["abort", "error", "network_error", "insufficient_system_resource", "OTHER", "huh"])
async def test_bad_finish_reason_fails_the_call_and_is_named(reason: str, then: Then):
    with pytest.raises(ModelStreamCut, match=f"the finish reason '{reason}'"):
        await ask(UNFRAMED + stream(TEXT, delta(finish=reason)), then=then)
    with pytest.raises(ModelStreamCut, match=f"the finish reason '{reason}'"):
        await ask(chunked(stream(TEXT, delta(finish=reason), DONE)))
    whole = {"choices": [{"message": {"content": "The"}, "finish_reason": reason}]}
    with pytest.raises(ModelStreamCut, match=f"the finish reason '{reason}'"):
        await ask(sized(json.dumps(whole).encode()))


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "RECITATION", "content_filter: PROHIBITED_CONTENT"])
async def test_withheld_answer_fails_and_does_not_count_against_the_server(reason: str):
    with pytest.raises(
        ModelWithheld, match=f"withheld the answer: it ended with the finish reason '{reason}'"
    ) as caught:
        await ask(chunked(stream(TEXT, delta(finish=reason), DONE)))
    assert not caught.value.infrastructure


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length", "FinishReason.MAX_TOKENS"])
async def test_truncated_answer_is_marked(reason: str):
    got = await ask(chunked(stream(TEXT, delta(finish=reason), DONE)))
    assert (got.text, got.finish_reason, got.truncated) == ("The capital of Italy is Ro", "length", True)


async def test_error_after_a_bad_finish_reason_is_reported_verbatim():
    error = {"error": {"code": 502, "message": "Worker limit reached (33/32)"}}
    with pytest.raises(ModelCallError, match=r"failed with 502: Worker limit reached \(33/32\)"):
        await ask(chunked(stream(TEXT, delta(finish="error"), error)))


@pytest.mark.parametrize(
    ("given", "ending", "translated"),
    [
        ("stop", Ending.COMPLETE, "stop"),
        ("STOP", Ending.COMPLETE, "stop"),
        ("FINISH_REASON_STOP", Ending.COMPLETE, "stop"),
        ("end_turn", Ending.COMPLETE, "stop"),
        ("stop_sequence", Ending.COMPLETE, "stop"),
        ("eos", Ending.COMPLETE, "stop"),
        ("eos_token", Ending.COMPLETE, "stop"),
        ("COMPLETE", Ending.COMPLETE, "stop"),
        ("tool_calls", Ending.COMPLETE, "tool_calls"),
        ("tool_use", Ending.COMPLETE, "tool_calls"),
        ("function_call", Ending.COMPLETE, "tool_calls"),
        ("model_context_window_exceeded", Ending.TRUNCATED, "length"),
        ("repetition", Ending.FAILED, "repetition"),
        ("reason", Ending.FAILED, "reason"),
        ("user_cancel", Ending.FAILED, "user_cancel"),
    ],
)
def test_finish_reasons_of_all_servers_are_recognised(given: str, ending: Ending, translated: str):
    assert ending_of(given) == (ending, translated)


@pytest.mark.parametrize("value", [None, "", "null", " ", False, "FINISH_REASON_UNSPECIFIED", {"type": None}])
def test_empty_finish_reason_is_none(value: object):
    assert finish_reason_of(value) is None
    assert finish_reason_of({"type": "stop", "matched": 2}) == "stop"
