"""Files are split into records: JSON lines or one array, with BOM and CRLF. A damaged record does not affect others."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.formats.records import Record, WideText, records

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
OBJECT = st.dictionaries(TEXT, st.lists(TEXT | st.dictionaries(TEXT, TEXT), max_size=3), max_size=3)


@given(st.lists(OBJECT, max_size=5), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]), st.booleans(), st.booleans())
def test_json_lines(rows, end: str, bom: bool, ended: bool):
    body = end.join(json.dumps(row) for row in rows) + (end if ended else "")
    found = list(records(body.encode("utf-8-sig" if bom else "utf-8")))
    assert [json.loads(record.text) for record in found] == rows
    gap = len(end.replace("\r\n", "\n"))
    assert [record.line for record in found] == [1 + gap * number for number in range(len(rows))]


@given(st.lists(OBJECT, max_size=5), st.sampled_from([None, 2, "\t"]), st.booleans(), st.booleans())
def test_json_array(rows, indent, bom: bool, ascii_only: bool):
    body = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    found = list(records(body.encode("utf-8-sig" if bom else "utf-8")))
    assert [json.loads(record.text) for record in found] == rows
    lines = body.split("\n")
    assert all(record.text.split(b"\n")[0] in lines[record.line - 1].encode() for record in found)


def test_record_has_the_number_of_its_first_line():
    assert list(records(b'[\r\n{"a": 1},\r\n\r\n{"b":\n2}\n]')) == [Record(2, b'{"a": 1}'), Record(4, b'{"b":\n2}')]


def test_truncated_array_keeps_its_complete_elements():
    assert [record.text for record in records(b'[{"a": 1}, {"b": "}')] == [b'{"a": 1}', b'{"b": "}']


def test_text_after_an_array_is_a_record():
    assert [record.text for record in records(b'[{"a": 1}]\n{"b": 2}')] == [b'[{"a": 1}]', b'{"b": 2}']
    assert [record.text for record in records(b'[{"a": 1},\n{"c": 3}]\n{"b": 2}')] == [
        b'{"a": 1}',
        b'{"c": 3}',
        b'{"b": 2}',
    ]


def test_damaged_line_does_not_affect_others():
    assert [r.line for r in records(b'{"a": "\n{"b": 1}\n]]]\n{"c": 2}')] == [1, 2, 3, 4]


def test_utf_16_is_refused():
    with pytest.raises(WideText, match="UTF-8"):
        records('{"a": 1}'.encode("utf-16"))


def test_mapped_file_is_split_like_bytes(tmp_path: Path):
    file = tmp_path / "rows.json"
    file.write_bytes(b'[{"a": 1},\n{"b": 2}]')
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert list(records(mapped)) == list(records(file.read_bytes()))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("fragment", [b'\\"', b'"', b"[", b"]", b'["', b",", b"\\", b"{", b"\r"])
def test_splitting_takes_linear_time(fragment: bytes):
    body = b"[" + fragment * (2_000_000 // len(fragment))
    assert sum(len(record.text) for record in records(body)) <= len(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_split(body: bytes):
    try:
        found = list(records(body))
    except WideText:
        return
    assert all(record.text == record.text.strip() and record.line >= 1 for record in found)
