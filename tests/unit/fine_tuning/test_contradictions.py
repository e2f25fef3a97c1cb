"""Contradictions: same prompt, different answers. They are found exactly if there are any, in any order of samples."""

from __future__ import annotations

import json
from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.dataset.contradictions import contradictions, distinct
from kairos.fine_tuning.dataset.sample_keys import EXCERPT, keyed
from kairos.fine_tuning.dataset.split import ApprovedSample
from tests.kit.approved import approved

PROMPTS = {
    "Café open?": "cafe",
    "Cafe\u0301 open?": "cafe",
    "CAFÉ\u00a0\n open? ": "cafe",
    "Cafe open?": "no accent",
    "Café open": "no question mark",
}
"""Prompts, and which of them are the same."""
ANSWERS = ["yes", " yes\n", "Yes", '{"a": 1, "b": 2}', '{"b":2,"a":1}', '{"a": 1}', " ", ""]
SYSTEMS = [None, "Be brief.", "be  BRIEF.", "Answer with one JSON value."]

SAMPLES = st.lists(
    st.tuples(st.sampled_from(sorted(PROMPTS)), st.sampled_from(ANSWERS), st.sampled_from(SYSTEMS)), max_size=12
)


def rows_of(samples: list[tuple[str, str, str | None]]) -> list[ApprovedSample]:
    return [approved(n, prompt, answer, system=system) for n, (prompt, answer, system) in enumerate(samples, 1)]


def contradict(one: tuple[str, str, str | None], other: tuple[str, str, str | None]) -> bool:
    """The definition, written a second time."""
    prompts, answers = (one[0], other[0]), (one[1], other[1])
    systems = [system for system in (one[2], other[2]) if system is not None]
    if len({PROMPTS[prompt] for prompt in prompts}) == 2 or not all(answer.strip() for answer in answers):
        return False
    if len({" ".join(system.lower().split()) for system in systems}) == 2:
        return False
    return len({_value(answer) for answer in answers}) == 2


def _value(answer: str) -> str:
    return json.dumps(json.loads(answer), sort_keys=True) if answer.startswith("{") else answer.strip()


@given(SAMPLES)
def test_contradictions_are_found_exactly_where_they_are(samples: list[tuple[str, str, str | None]]):
    by_id = {UUID(int=n): sample for n, sample in enumerate(samples, 1)}
    found = contradictions(map(keyed, rows_of(samples)))
    wanted = {
        PROMPTS[one[0]] for one, other in combinations(samples, 2) if contradict(one, other)
    }  # the prompts that have any
    assert sorted(PROMPTS[by_id[pairs[0].first][0]] for pairs in found) == sorted(wanted)
    for pair in (pair for pairs in found for pair in pairs):
        assert pair.first < pair.second
        assert contradict(by_id[pair.first], by_id[pair.second])


@given(SAMPLES.flatmap(lambda samples: st.tuples(st.just(samples), st.permutations(range(len(samples))))))
def test_order_of_samples_does_not_matter(case: tuple[list[tuple[str, str, str | None]], list[int]]):
    samples, order = case
    rows = list(map(keyed, rows_of(samples)))
    shuffled = [rows[place] for place in order]
    assert contradictions(shuffled) == contradictions(rows)
    assert distinct(shuffled) == distinct(rows)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=8))
def test_any_text_is_compared(samples: list[tuple[str, str]]):
    rows = [keyed(approved(n, prompt, answer)) for n, (prompt, answer) in enumerate(samples, 1)]
    assert distinct(rows) <= len(rows)
    assert sum(map(len, contradictions(rows))) < max(1, len(rows))


def test_three_answers_to_one_prompt_are_two_pairs_with_the_oldest_sample():
    rows = [approved(1, "a?", "x"), approved(2, "A?", "x"), approved(3, "a?", "y"), approved(4, " a?", "z")]
    [pairs] = contradictions(map(keyed, rows))
    assert [(pair.first.int, pair.second.int) for pair in pairs] == [(1, 3), (1, 4)]
    assert (pairs[1].prompt, pairs[1].first_answer, pairs[1].second_answer) == ("a?", "x", "z")


def test_imported_sample_contradicts_the_correction_of_a_task():
    """The correction has the system message that the model received; the import has none."""
    rows = [approved(1, "Capital?", "Oslo"), approved(2, "Capital?", "Bergen", system="Answer with the result alone.")]
    assert len(contradictions(map(keyed, rows))) == 1


def test_answers_in_different_formats_do_not_contradict_each_other():
    rows = [
        approved(1, "Capital?", "Oslo", system="Answer with plain text."),
        approved(2, "Capital?", '{"city": "Oslo"}', system="Answer with one JSON value."),
    ]
    assert contradictions(map(keyed, rows)) == []


def test_prompts_that_differ_in_one_value_do_not_contradict_each_other():
    rows = [approved(n, f"Convert {n} miles to our units.", f"{n * 3} zent") for n in range(1, 30)]
    assert contradictions(map(keyed, rows)) == []


def test_same_last_message_after_different_turns_is_another_prompt():
    def row(number: int, first: str, answer: str) -> ApprovedSample:
        turns = ({"role": "user", "content": first}, {"role": "assistant", "content": "Ok."})
        return ApprovedSample(UUID(int=number), 1, None, None, (*turns, {"role": "user", "content": "Go on"}), answer)

    assert contradictions(map(keyed, [row(1, "Sing", "la"), row(2, "Count", "1")])) == []
    assert len(contradictions(map(keyed, [row(1, "Sing", "la"), row(2, "Sing", "lo")]))) == 1


@pytest.mark.parametrize("content", [None, [{"type": "text", "text": "hello"}], 7, {"a": [1]}])
def test_contents_of_any_form_are_compared(content: object):
    rows = [
        ApprovedSample(UUID(int=n), 1, None, None, ({"role": "user", "content": content},), answer)
        for n, answer in enumerate("ab", 1)
    ]
    assert len(contradictions(map(keyed, rows))) == 1


@pytest.mark.parametrize("answer", ["[" * 5_000, "[" * 600 + "]" * 600, '{"a": 1e999}', "{", "[1] and more"])
def test_answer_that_only_resembles_json_is_compared_as_text(answer: str):
    same = [keyed(approved(1, "a", answer)), keyed(approved(2, "a", f" {answer}\n"))]
    assert contradictions(same) == []
    assert distinct(same) == 1
    assert len(contradictions([*same, keyed(approved(3, "a", f"{answer}x"))])) == 1


def test_excerpts_are_one_short_line():
    rows = [approved(1, "a\nb " * 500, "x\ny " * 500), approved(2, "a\nb " * 500, "z")]
    [[pair]] = contradictions(map(keyed, rows))
    for text in (pair.prompt, pair.first_answer):
        assert len(text) == EXCERPT
        assert "\n" not in text
