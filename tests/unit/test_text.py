"""Requests and the configuration may contain only text, numbers and times that can be stored."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kairos import config
from kairos.api.json_route import parsed
from kairos.errors import InvalidInput
from kairos.text import DEEPEST, LARGEST_INTEGER, Json, Moment, Text, ZonedMoment, faults_in

BAD = st.sampled_from(["\x00", "\ud800", "\udfff", 2**63, -(2**63) - 1, 2**64, 10**40, math.nan, math.inf, -math.inf])
GOOD = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
GOOD_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
DOCUMENT = st.recursive(GOOD | GOOD_TEXT, lambda inner: st.lists(inner) | st.dictionaries(GOOD_TEXT, inner))


@given(DOCUMENT)
def test_storable_document_is_read_unchanged(document):
    assert parsed(json.dumps(document).encode()) == document
    assert list(faults_in(document)) == []


@given(BAD, st.lists(st.sampled_from(["list", "value", "name"]), max_size=8))
def test_one_unstorable_value_anywhere_refuses_the_document(bad_value, nesting):
    document = bad_value
    for step in nesting:
        if step == "list":
            document = ["x", document]
        elif step == "value":
            document = {"a": 1, "b": document}
        elif isinstance(document, str):
            document = {document: 1}
    with pytest.raises(InvalidInput) as refusal:
        parsed(json.dumps(document).encode())
    str(refusal.value).encode()  # the message itself can be encoded
    with pytest.raises(ValidationError):
        TypeAdapter(Json).validate_python(document)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b'"\xed\xa0\x80"',
        b"1e999",
        b"-1e999",
        b"NaN",
        b"-Infinity",
        b'{"a": ' + b"1" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'"\x00"',
        b'{"a\\u0000": 1}',
        b'"\\ud800"',
        '"x"'.encode("utf-16"),
        b"",
    ],
    ids=range(14),
)
def test_invalid_json_is_refused(body: bytes):
    with pytest.raises(InvalidInput):
        parsed(body)


def test_depth_is_limited_below_the_limits_of_orjson_and_python():
    deep = json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert parsed(json.dumps(deep).encode()) == deep
    with pytest.raises(InvalidInput, match="nested deeper than 100 levels"):
        parsed(json.dumps([deep]).encode())


def test_surrogate_pair_is_one_character():
    assert parsed(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_bom_before_the_document_is_ignored():
    assert parsed(b"\xef\xbb\xbf{}") == {}


@given(st.text())
def test_text_must_be_storable_by_postgresql(text: str):
    try:
        text.encode()
        storable = "\x00" not in text
    except UnicodeEncodeError:
        storable = False
    try:
        assert TypeAdapter(Text).validate_python(text) == text
        assert storable
    except ValidationError:
        assert not storable


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_time_is_valid_in_every_time_zone(moment: datetime):
    try:
        given = TypeAdapter(Moment).validate_python(moment)
    except ValidationError:
        assert moment.year <= 2 or moment.year >= 9998
    else:
        assert given.tzinfo is UTC
        assert 2 <= given.year <= 9998


@pytest.mark.parametrize("moment", ["0001-06-01T00:00:00Z", "9999-06-01T00:00:00Z", "9998-12-31T23:30:00-01:00"])
def test_time_at_the_edge_of_the_calendar_is_refused(moment: str):
    for kind in (Moment, ZonedMoment):
        with pytest.raises(ValidationError, match="its year is not between 2 and 9998"):
            TypeAdapter(kind).validate_python(moment)


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ('log_level = "a\\u0000"', "log_level"),
        ('data_dir = "a\\u0000"', "data_dir"),
        ('[server]\nhost = "a\\u0000"', "server.host"),
        ('[judge.rubrics]\ncode = "a\\u0000"', "judge.rubrics"),
        ('[judge.rubrics]\n"a\\u0000" = "x"', "judge.rubrics"),
        ('[plugins.settings.weather]\nurl = ["a\\u0000"]', "plugins.settings"),
        ('[database]\nurl = "postgresql://a\\u0000"', "database.url"),
        ('[fine_tuning]\nfolder = "a\\u0000"', "fine_tuning.folder"),
        (f"[plugins.settings.weather]\nn = {2**64}", "plugins.settings"),
        (f"[queue]\ninteractive_slots = {2**63}", "queue.interactive_slots"),
        ('[[models]]\nname = "a\\u0000"\nbase_url = "http://x"', "models.0.name"),
        ('[[models]]\nname = "a"\nbase_url = "http://x\\u0000"', "models.0.base_url"),
        ('[[models]]\nname = "a"\nbase_url = "http://x"\nspecialties = ["\\u0000"]', "models.0.specialties"),
    ],
)
def test_configuration_accepts_only_storable_values(tmp_path: Path, toml: str, key: str):
    file = tmp_path / "kairos.toml"
    file.write_text(toml)
    with pytest.raises(config.InvalidConfig, match=r"NUL|64 bits") as refusal:
        config.load(file)
    assert key in str(refusal.value)
    assert "\x00" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.skipif(sys.platform != "linux", reason="bytes that are not UTF-8 in the environment")
def test_variable_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAIROS_SERVER__HOST", "a\udcff")
    with pytest.raises(config.InvalidConfig, match="surrogate"):
        config.load()


def test_largest_integer_is_that_of_postgresql():
    assert parsed(str(LARGEST_INTEGER).encode()) == 2**63 - 1


def test_long_name_needs_no_memory_for_each_child():
    """50 KB in each of 20,000 pointers would need 1 GB, and a body may contain ten times as much of both."""
    name = "k" * 50_000
    tracemalloc.start()
    try:
        [(pointer, _)] = faults_in({name: [*[0] * 20_000, "\x00"]})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pointer == f"{'k' * 100}…/20000"
    assert peak < 100_000_000


def test_pointer_of_a_deep_place_is_shortened():
    deep: Any = "\x00"
    for _ in range(50):
        deep = {"a/b": deep}
    assert next(faults_in(deep))[0] == "/".join(["a~1b"] * 8 + ["…"])
