"""The lines of a pull are read from arbitrary chunks, with odd values and within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.orchestration.providers.ollama.pull_problem import pull_problem
from kairos.orchestration.providers.ollama.pull_stream import (
    LAYER_BYTES,
    LINE_BYTES,
    MOST_LAYERS,
    PullGarbled,
    PullPhase,
    PullProgress,
    PullRefused,
    PullStream,
)
from tests.kit.ollama_pulls import COMPLETE, DIGEST, MANIFEST, SUCCESS, error, layer, line

OTHER = "sha256:" + "ab" * 32
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)
)


def progress_of(*steps: object) -> PullProgress:
    return PullStream().feed(b"".join(map(line, steps)))


def test_progress_adds_up_the_files():
    assert progress_of(MANIFEST) == PullProgress(PullPhase.MANIFEST)
    assert progress_of(MANIFEST, layer(None, 100)) == PullProgress(PullPhase.DOWNLOADING, 0, 100)
    steps = (layer(40, 100), layer(7, 10, OTHER), layer(50, 100))
    assert progress_of(*steps) == PullProgress(PullPhase.DOWNLOADING, 57, 110)
    assert progress_of(*COMPLETE) == PullProgress(PullPhase.FINISHING, 100, 100)


def test_only_the_status_success_is_success():
    for steps, succeeded in (((MANIFEST, layer(100, 100)), False), (COMPLETE, True), (({"status": "Success"},), False)):
        stream = PullStream()
        stream.feed(b"".join(map(line, steps)))
        assert stream.succeeded is succeeded


def test_last_line_may_lack_its_line_break():
    stream = PullStream()
    stream.feed(line(SUCCESS).strip())
    assert not stream.succeeded
    stream.close()
    assert stream.succeeded


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (layer(500, 100), (100, 100)),
        (layer(5, None), (5, None)),
        ({"digest": DIGEST, "completed": -1, "total": 10}, (0, 10)),
        ({"digest": DIGEST, "completed": True, "total": 10.0}, (None, None)),
        ({"digest": DIGEST, "completed": "5", "total": "10"}, (None, None)),
        ({"digest": DIGEST, "completed": 5, "total": 2**63}, (5, None)),
        ({"digest": DIGEST, "completed": 0, "total": 0}, (0, 0)),
        ({"digest": None, "completed": 5, "total": 10}, (None, None)),
        ({"status": None}, (None, None)),
        ({}, (None, None)),
        (b"[1, 2]\n", (None, None)),
        (b"null\n\n\r\n", (None, None)),
    ],
)
def test_odd_values_are_unknown(step: object, expected: tuple[int | None, int | None]):
    found = progress_of(step)
    assert (found.completed, found.total) == expected


def test_unknown_status_keeps_the_phase():
    assert progress_of(layer(1, 2), {"status": "dancing"}).phase is PullPhase.DOWNLOADING


def test_error_within_the_stream_is_raised_with_its_text():
    with pytest.raises(PullRefused, match="no space left"):
        progress_of(MANIFEST, error("write /root/.ollama: no space left on device"))
    with pytest.raises(PullRefused, match="deep"):
        progress_of({"error": {"message": "deep"}})
    with pytest.raises(PullRefused):
        progress_of({"error": 42})


def test_progress_before_an_error_is_kept():
    stream = PullStream()
    with pytest.raises(PullRefused):
        stream.feed(b"".join(map(line, (MANIFEST, layer(10, 100), error("no space left on device")))))
    assert stream.progress == PullProgress(PullPhase.DOWNLOADING, 10, 100)


@pytest.mark.parametrize("content", [b"<!doctype html>\n", b'{"status": \n', b"\xff\xfe\n", b"x" * (LINE_BYTES + 1)])
def test_other_content_is_refused(content: bytes):
    with pytest.raises(PullGarbled):
        PullStream().feed(content)


def test_long_line_is_refused_before_its_end():
    stream = PullStream()
    for _ in range(LINE_BYTES // 1024):
        stream.feed(b"x" * 1024)
    with pytest.raises(PullGarbled):
        stream.feed(b"x")


def test_number_of_files_is_bounded():
    stream = PullStream()
    found = stream.feed(b"".join(line(layer(1, 1, f"sha256:{number:064d}")) for number in range(MOST_LAYERS + 50)))
    assert (found.completed, found.total) == (MOST_LAYERS, MOST_LAYERS)


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=20))
def test_chunks_do_not_matter(cuts: list[int]):
    content = b"".join(map(line, COMPLETE))
    stream, found, begin = PullStream(), PullProgress(), 0
    for cut in (*sorted(cuts), len(content)):
        found = stream.feed(content[begin:cut])
        begin = max(begin, cut)
    assert (found, stream.succeeded) == (progress_of(*COMPLETE), True)


@given(st.dictionaries(st.sampled_from(["status", "digest", "completed", "total", "x"]), ODD))
def test_any_object_gives_sensible_progress(value: dict[str, Any]):
    try:
        content = json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return
    found = PullStream().feed(content + b"\n")
    assert found.total is None or 0 <= found.total <= LAYER_BYTES
    assert found.completed is None or 0 <= found.completed <= (found.total if found.total is not None else LAYER_BYTES)


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("pull model manifest: file does not exist", "the registry has no model tiny:1b", "Check the name"),
        ("write /m/sha256-8e: no space left on device", "the disk of the Ollama server is full", "enlarge the disk"),
        (
            "pull model manifest: 412: The model you are attempting to pull requires a newer version of Ollama.",
            "tiny:1b needs a newer version of Ollama",
            "Update Ollama",
        ),
        (
            'pull model manifest: Get "https://r.test/v2/": dial tcp: lookup r.test: no such host',
            "the Ollama server cannot reach the registry",
            "HTTPS_PROXY",
        ),
        ("max retries exceeded: unexpected EOF", "broke", "continues where it stopped"),
        ("digest mismatch, file must be downloaded again: want a, got b", "damaged", "Pull it again"),
        ("insecure protocol http", "no TLS", "insecure"),
        ("pull model manifest: 401: unauthorized", "does not permit", "ollama signin"),
        ("invalid model name", "does not accept the name tiny:1b", "ollama pull"),
        ("something new.", "Ollama reports: something new", "log"),
    ],
)
def test_errors_name_cause_and_remedy(text: str, cause: str, remedy: str):
    problem = pull_problem(text, "tiny:1b")
    assert cause in problem.cause
    assert remedy in problem.remedy
