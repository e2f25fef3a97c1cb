"""Texts that read alike fold alike."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.folding import fold, fold_email

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("İSTANBUL", "istanbul"),
        ("ISTANBUL", "istanbul"),
        ("ıstanbul", "İstanbul"),
        ("I\u0307stanbul", "istanbul"),
        ("ISPARTA", "Isparta"),
        ("DİYARBAKIR", "diyarbakır"),
        ("STRASSE", "straße"),
        ("ﬁn", "FIN"),
        ("café", "CAFE\u0301"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("Å", "\u212b"),
        ("K", "\u212a"),
        ("pass\u00adword", "password"),
        ("pa\u200bss\u2060word\ufeff", "password"),
        ("I\u200b\u0307stanbul", "istanbul"),
        ("cafe\u200b\u0301", "café"),
        ("Ǆ", "ǆ"),
    ],
)
def test_texts_that_read_alike_fold_alike(one: str, other: str):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("cafe", "café"), ("a b", "ab"), ("１", "1"), ("j\u0307", "j")])
def test_texts_that_read_otherwise_stay_apart(one: str, other: str):
    assert fold(one) not in fold(other), "`forbid` searches for a term within a text"


@given(TEXT)
def test_folding_again_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


@given(TEXT)
def test_case_and_composition_do_not_count(text: str):
    assert fold(unicodedata.normalize("NFD", text)) == fold(text) == fold(unicodedata.normalize("NFC", text))
    assert fold(text.upper()) == fold(text.casefold().upper())


@given(TEXT)
def test_lines_stay(text: str):
    assert fold(text).count("\n") == text.count("\n")


@given(TEXT)
def test_a_folded_address_is_lower_case_and_final(text: str):
    folded = fold_email(text)
    assert fold_email(folded) == folded
    assert folded.lower() == folded


@pytest.mark.parametrize("typed", ["Ilgın@Örnek.TR", "ILGIN@ÖRNEK.TR", " ılgın@o\u0308rnek.tr ", "İlgin@örnek.tr"])
def test_one_person_is_one_address(typed: str):
    assert fold_email(typed) == "ilgin@örnek.tr"
