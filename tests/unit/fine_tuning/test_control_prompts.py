"""The prompts that show whether a model has lost general ability, and how their answers are graded."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from benchmarks.learning_bench import fresh_prompts
from kairos.fine_tuning.gate import control_prompts
from kairos.fine_tuning.gate.control_prompts import ControlPrompt


def sets() -> dict[str, list[str]]:
    return {
        "replayed": list(control_prompts.replayed()),
        "control": [one.prompt for one in control_prompts.control()],
        "selection": [one.prompt for one in control_prompts.selection()],
        "fresh": [one.prompt for one in fresh_prompts()],
    }


def normalised(prompt: str) -> str:
    return " ".join(re.findall(r"\w+", prompt.casefold()))


def quality(answer: str, *terms: str) -> float:
    return ControlPrompt("?", terms).quality(answer)


@pytest.mark.parametrize(
    "answer", ["Paris.", "It is **PARIS**!", "paris", "(Paris)", "The capital is Paris, of course"]
)
def test_term_counts_as_a_whole_word_in_any_case(answer: str):
    assert quality(answer, "paris") == 1


@pytest.mark.parametrize(
    ("answer", "term"),
    [
        ("It is a monkey.", "key"),
        ("You open it.", "pen"),
        ("17", "7"),
        ("There are 10,000.", "10"),
        ("0.7", "7"),
        ("7.5", "7"),
        ("twenty-four", "four"),
        ("a four-legged one", "four"),
        ("sunlight", "sun"),
        ("", "sun"),
    ],
)
def test_term_inside_another_word_or_number_does_not_count(answer: str, term: str):
    assert quality(answer, term) == 0


@pytest.mark.parametrize(
    ("answer", "term"),
    [
        ("Shoes", "shoe"),
        ("brushes", "brush"),
        ("It is 7.", "7"),
        ("7, I think", "7"),
        ("100°C", "100"),
        ("U.S.", "u.s"),
    ],
)
def test_plurals_and_punctuation_do_not_hide_a_term(answer: str, term: str):
    assert quality(answer, term) == 1


def test_one_of_several_terms_is_enough():
    assert quality("a twelve", "12", "twelve") == 1
    assert quality("thirteen", "12", "twelve") == 0


def test_no_prompt_is_in_two_sets_or_twice_in_one():
    seen = Counter(itertools.chain.from_iterable(map(normalised, prompts) for prompts in sets().values()))
    assert len(seen) > 800, "the sets were read"
    assert [prompt for prompt, times in seen.items() if times > 1] == []


def test_there_are_enough_prompts_of_many_kinds():
    control, selection = control_prompts.control(), control_prompts.selection()
    kinds = Counter(one.kind for one in control)
    assert len(control) >= 500
    assert len(selection) >= 130
    assert len(kinds) >= 20
    assert "" not in kinds
    assert max(kinds.values()) <= 0.1 * len(control)
    assert {one.kind for one in selection} == set(kinds)


@pytest.mark.parametrize(
    "prompts", [control_prompts.control(), control_prompts.selection()], ids=["control", "selection"]
)
def test_no_prompt_contains_a_term_of_its_answer(prompts: tuple[ControlPrompt, ...]):
    assert [one.prompt for one in prompts if one.quality(one.prompt)] == []


def test_every_term_counts_alone_and_is_in_lower_case():
    prompts = (*control_prompts.control(), *control_prompts.selection())
    for one in prompts:
        assert one.any_of, one.prompt
        for term in one.any_of:
            assert term == term.casefold().strip(), term
            assert one.quality(f"It is {term}.") == 1, (one.prompt, term)


@pytest.mark.parametrize("prompts", [control_prompts.control(), control_prompts.selection()])
def test_first_prompts_cover_most_kinds(prompts: tuple[ControlPrompt, ...]):
    kinds = {one.kind for one in prompts}
    assert len({one.kind for one in prompts[: 2 * len(kinds)]}) >= 0.8 * len(kinds)
