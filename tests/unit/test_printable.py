"""Control characters and invisible characters are escaped for terminals and logs."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import printable

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
VISIBLE_FORMAT = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Visible characters of the category Cf: number signs and end marks of Arabic, Syriac and Kaithi."""


def unsafe_characters(text: str) -> list[str]:
    """Return the characters that a reader cannot see or that control a terminal."""
    return [
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character not in VISIBLE_FORMAT
        and not 0x13430 <= ord(character) <= 0x13455  # joiners of hieroglyphs
        and character not in "\u200c\u200d"
    ]


@given(ANY)
def test_one_line_contains_no_invisible_characters(text: str):
    assert unsafe_characters(printable.one_line(text)) == []


@given(ANY)
def test_lines_contain_only_newlines_and_tabs(text: str):
    assert set(unsafe_characters(printable.lines(text))) <= {"\n", "\t"}


@given(ANY)
def test_escaping_is_idempotent(text: str):
    assert printable.one_line(printable.one_line(text)) == printable.one_line(text)
    assert printable.lines(printable.lines(text)) == printable.lines(text)


@given(st.text())
def test_text_without_such_characters_is_unchanged(text: str):
    if not unsafe_characters(text):
        assert printable.one_line(text).replace("\u200c", "") == printable.one_line(text.replace("\u200c", ""))
        assert printable.lines("naïve ş İ 漢字 🙂") == "naïve ş İ 漢字 🙂"


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner), max_leaves=8))
def test_json_keeps_its_values(value: object):
    document = json.dumps(value, ensure_ascii=False, indent=2)
    shown = printable.json_text(document)
    assert json.loads(shown) == json.loads(document)
    assert set(unsafe_characters(shown)) <= {"\n"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb", r"a\rb"),
        ("one\r\ntwo", "one\ntwo"),
        ("\x9b31m", r"\x9b31m"),
        ("user\u202egpj.exe", r"user\u202egpj.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("pass\u00adword", r"pass\xadword"),
        ("ad\u200bmin", r"ad\u200bmin"),
        ("ad\u200dmin", r"ad\u200dmin"),
        ("\ufeffx", r"\ufeffx"),
        ("a\u2028b", r"a\u2028b"),
        ("\U000e0041", r"\U000e0041"),
        ("\u3164", r"\u3164"),
        ("\ud800", r"\ud800"),
        ("a\tb\nc", "a\tb\nc"),
    ],
)
def test_each_kind_of_character_is_shown_by_its_code(text: str, shown: str):
    assert printable.lines(text) == shown


@pytest.mark.parametrize("text", ["👩\u200d💻", "👁\ufe0f\u200d🗨", "می\u200cخواهم", "क्\u200dष"])
def test_joiners_within_a_letter_are_kept(text: str):
    assert printable.one_line(text) == text
