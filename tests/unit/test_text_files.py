"""Text files are UTF-8, with or without a byte order mark. Other encodings are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.errors import InvalidInput
from kairos.text_files import NotUtf8, decode_text, read_text_file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_mark_is_not_part_of_the_text(tmp_path: Path, encoding: str):
    file = tmp_path / "x.txt"
    file.write_bytes("şu\r\nbu\r".encode(encoding))
    assert read_text_file(file) == "şu\nbu\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1254"])
def test_another_encoding_is_refused_with_its_remedy(tmp_path: Path, encoding: str):
    file = tmp_path / "x.txt"
    file.write_bytes("key: şu".encode(encoding))
    with pytest.raises(InvalidInput, match=r"--tests: .*x\.txt: it .*Save it as UTF-8"):
        read_text_file(file, "--tests")


def test_utf_16_and_utf_32_are_named():
    with pytest.raises(NotUtf8, match="UTF-16"):
        decode_text("x".encode("utf-16"))
    with pytest.raises(NotUtf8, match="UTF-32"):
        decode_text("x".encode("utf-32"))


@pytest.mark.parametrize("name", ["missing", "", "a\0b"])
def test_missing_file_is_invalid_input(tmp_path: Path, name: str):
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_text_file(tmp_path / name)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_refused(content: bytes):
    try:
        text = decode_text(content)
    except NotUtf8:
        return
    assert "\r" not in text
    assert not text.startswith("\ufeff")


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\ufeff")))
def test_utf_8_text_is_read_unchanged(text: str):
    assert decode_text(text.encode()) == text
    assert decode_text(text.encode("utf-8-sig")) == text
