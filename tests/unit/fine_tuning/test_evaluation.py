"""The gate's word: what is worse never goes into service by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.gate.evaluation import (
    FEWEST_PAIRS,
    GateOutcome,
    GatePrompt,
    Pair,
    compare,
    interval,
    rule,
    summarise,
)

MARGIN = 0.1


def pairs(base: list[float], candidate: list[float]):
    made = [Pair(str(n), "p", "w", "", "", b, c) for n, (b, c) in enumerate(zip(base, candidate, strict=True))]
    return summarise(made)


GOOD_CONTROL = pairs([1.0] * 40, [1.0] * 40)


def test_clearly_better_and_nothing_forgotten_is_promoted():
    assert rule(pairs([0.0] * 20, [1.0] * 18 + [0.0] * 2), GOOD_CONTROL, MARGIN).ruling is GateOutcome.PROMOTE


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=FEWEST_PAIRS, max_size=40), st.randoms())
def test_what_is_no_better_is_never_promoted(base, chance):
    worse = [min(b, chance.choice([0.0, b])) for b in base]
    assert rule(pairs(base, worse), GOOD_CONTROL, MARGIN).ruling is not GateOutcome.PROMOTE


def test_what_forgot_ordinary_things_is_refused():
    control = pairs([1.0] * 40, [1.0] * 30 + [0.0] * 10)
    report = rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN)
    assert report.ruling is GateOutcome.REFUSE
    assert "control" in report.reason


def test_what_may_have_forgotten_too_much_is_for_a_person_to_judge():
    """Eight points lost of a margin of ten."""
    control = pairs([1.0] * 50, [1.0] * 46 + [0.0] * 4)
    report = rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert "possibly worse" in report.reason


def test_answers_that_change_to_and_fro_are_no_loss():
    control = pairs([1.0] * 55 + [0.0] * 25, [0.0] * 9 + [1.0] * 46 + [1.0] * 7 + [0.0] * 18)
    assert control.low is not None
    assert control.low < -MARGIN, "the interval at 95 % would not let it pass"
    assert rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN).ruling is GateOutcome.PROMOTE


def test_too_few_rows_are_for_a_person_to_judge():
    report = rule(pairs([0.0] * 3, [1.0] * 3), GOOD_CONTROL, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert str(FEWEST_PAIRS) in report.reason


def test_the_interval_is_the_same_every_time():
    differences = [0.0, 1.0, 0.5, -0.5, 1.0, 0.0, 1.0, 0.25]
    assert interval(differences) == interval(differences)
    low, high = interval(differences)
    assert low < sum(differences) / len(differences) < high


async def test_both_models_are_asked_the_same():
    async def base(messages):
        return "wrong"

    async def candidate(messages):
        return messages[-1]["content"]

    async def grade(question, answer):
        return float(answer == question.wanted)

    questions = [GatePrompt(str(n), ({"role": "user", "content": f"q{n}"},), f"q{n}") for n in range(3)]
    found = await compare(questions, base, candidate, grade)
    assert (found.base, found.candidate, found.difference) == (0.0, 1.0, 1.0)
