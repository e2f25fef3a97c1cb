"""Required and forbidden texts are compared as people read them; invisible characters around JSON are ignored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.checks.content import check_forbidden, check_required
from kairos.agents.checks.json_answer import NotJson, read_json

EQUIVALENT = [
    ("İstanbul", "istanbul"),
    ("istanbul", "İSTANBUL'DA"),
    ("ISTANBUL", "ıstanbul"),
    ("Işık", "IŞIK"),
    ("diyarbakır", "DİYARBAKIR"),
    ("İ", "i\u0307"),
    ("straße", "STRASSE"),
    ("café", "cafe\u0301"),
    ("cafe\u0301", "CAFÉ"),
    ("password", "pass\u00adword"),
    ("password", "p\u200bassword"),
    ("\u200bpassword", "password"),
]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@pytest.mark.parametrize(("phrase", "answer"), EQUIVALENT)
def test_phrase_is_found_in_every_spelling(phrase: str, answer: str):
    assert check_required([phrase], f"It is {answer}.").score == 1
    assert check_forbidden([phrase], f"It is {answer}.").score == 0


@pytest.mark.parametrize(("phrase", "answer"), [("Ankara", "Istanbul"), ("cafe", "café"), ("a b", "ab")])
def test_another_phrase_is_not_found(phrase: str, answer: str):
    assert check_required([phrase], answer).score == 0
    assert check_forbidden([phrase], answer).score == 1


def test_forbidden_phrase_is_found_on_its_line():
    outcome = check_forbidden(["İSPARTA"], "one\nStraße\u00ad\n ısparta")
    assert [finding.line for finding in outcome.findings] == [3]


def test_phrase_of_invisible_characters_matches_only_them():
    assert check_forbidden(["\u200b"], "plain").score == 1
    assert check_forbidden(["\u200b"], "not\u200b plain").score == 0
    assert check_required(["\ufeff"], "plain").score == 0


@given(TEXT, TEXT, TEXT)
def test_contained_phrase_is_found_in_any_case(before: str, phrase: str, after: str):
    if phrase:
        assert check_required([phrase.upper()], f"{before} {phrase.casefold().upper()} {after}").score == 1


SURROUNDINGS = ["", "\ufeff", "\u200b", "\n\u2060 ", "\ufeff\n\t", "\u00a0", "\u200e", "\u2028"]


@pytest.mark.parametrize("before", SURROUNDINGS)
@pytest.mark.parametrize("after", SURROUNDINGS)
@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "```\n{}\n```"])
def test_invisible_characters_around_json_are_ignored(before: str, after: str, form: str):
    assert read_json(before + form.replace("{}", '{"a": "\u200b"}') + after) == {"a": "\u200b"}


@pytest.mark.parametrize("answer", ['{"a":\u200b 1}', "1\ufeff2", "\ufeff", "x\ufeff1", '\ufeff{"a": 1} and more'])
def test_invisible_characters_inside_json_are_an_error(answer: str):
    with pytest.raises(NotJson):
        read_json(answer)


def test_json_error_has_its_line_in_the_answer():
    with pytest.raises(NotJson) as fault:
        read_json('\ufeff\n\u200b\n{"a": 1,\n"a" 2}')
    assert fault.value.line == 4


@given(st.recursive(st.none() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=3)))
def test_any_value_survives_a_round_trip(value: object):
    assert read_json(f"\ufeff {json.dumps(value)}\u200b") == value
