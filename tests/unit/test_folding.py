"""Texts that look the same to a reader have the same folded form."""

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
def test_equivalent_texts_have_the_same_folded_form(one: str, other: str):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("cafe", "café"), ("a b", "ab"), ("１", "1"), ("j\u0307", "j")])
def test_different_texts_have_different_folded_forms(one: str, other: str):
    assert fold(one) not in fold(other), "`forbid` searches for a term within a text"


@given(TEXT)
def test_folding_again_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


@given(TEXT)
def test_case_and_unicode_composition_are_ignored(text: str):
    assert fold(unicodedata.normalize("NFD", text)) == fold(text) == fold(unicodedata.normalize("NFC", text))
    assert fold(text.upper()) == fold(text.casefold().upper())


@given(TEXT)
def test_number_of_lines_is_kept(text: str):
    assert fold(text).count("\n") == text.count("\n")


@given(TEXT)
def test_folded_address_is_lower_case_and_stable(text: str):
    folded = fold_email(text)
    assert fold_email(folded) == folded
    assert folded.lower() == folded


@pytest.mark.parametrize("typed", ["Ilgın@Örnek.TR", "ILGIN@ÖRNEK.TR", " ılgın@o\u0308rnek.tr ", "İlgin@örnek.tr"])
def test_spellings_of_an_address_are_equal(typed: str):
    assert fold_email(typed) == "ilgin@örnek.tr"
