"""Server-sent events are parsed however their bytes are split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.answers.event_stream import EventStream

NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(str.encode)
NOISE = st.sampled_from([b": keep-alive", b":", b"event: message", b"id: 7", b"retry: 10", b"datax: no"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Generate the data of some events, and one encoding of them."""
    events = draw(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6))
    wire = b""
    for lines in events:
        for line in lines:
            if draw(st.booleans()):
                wire += draw(NOISE) + draw(NEWLINES)
            wire += b"data: " + line + draw(NEWLINES)
        wire += draw(NEWLINES) if not wire.endswith(b"\r") else draw(st.sampled_from([b"\r\n", b"\r"]))
    return [b"\n".join(lines) for lines in events], wire


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(wire)) for place in places} | {0, len(wire)})
    return [wire[start:end] for start, end in pairwise(ends)]


@given(stream=streams(), places=st.lists(st.integers(0, 400), max_size=40))
def test_any_chunking_gives_the_same_events(stream: tuple[list[bytes], bytes], places: list[int]):
    events, wire = stream
    parser = EventStream()
    got = [event for chunk in cut(wire, places) for event in parser.feed(chunk)]
    assert got + parser.finish() == events


@given(stream=streams())
def test_one_byte_at_a_time_gives_the_same_events(stream: tuple[list[bytes], bytes]):
    events, wire = stream
    parser = EventStream()
    got = [event for i in range(len(wire)) for event in parser.feed(wire[i : i + 1])]
    assert got + parser.finish() == events


@given(chunks=st.lists(st.binary(max_size=50)))
def test_any_bytes_are_parsed(chunks: list[bytes]):
    parser = EventStream()
    whole = EventStream()
    got = [event for chunk in chunks for event in parser.feed(chunk)] + parser.finish()
    assert got == whole.feed(b"".join(chunks)) + whole.finish()


def test_event_is_complete_with_its_empty_line():
    parser = EventStream()
    assert parser.feed(b"data: a\r\n") == []
    assert parser.feed(b"\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


def test_last_empty_line_may_be_missing():
    parser = EventStream()
    assert parser.feed(b"data:[DONE]") == []
    assert parser.finish() == [b"[DONE]"]


def test_size_of_an_event_is_limited():
    parser = EventStream(event_bytes=1000)
    for _ in range(8):
        parser.feed(b"data: " + b"x" * 100 + b"\n")
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        parser.feed(b"data: " + b"x" * 200)


def test_limit_applies_to_each_event_separately():
    parser = EventStream(event_bytes=1000)
    for _ in range(100):
        assert parser.feed(b": still here, one moment please\n" * 3) == []
        assert parser.feed(b"data: " + b"x" * 100 + b"\n\n") == [b"x" * 100]
