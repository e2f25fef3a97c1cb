"""The decision of the evaluation gate: a worse adapter never goes into service automatically."""

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


def test_clearly_better_adapter_that_kept_general_ability_is_promoted():
    assert rule(pairs([0.0] * 20, [1.0] * 18 + [0.0] * 2), GOOD_CONTROL, MARGIN).ruling is GateOutcome.PROMOTE


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=FEWEST_PAIRS, max_size=40), st.randoms())
def test_adapter_that_is_not_better_is_never_promoted(base, chance):
    worse = [min(b, chance.choice([0.0, b])) for b in base]
    assert rule(pairs(base, worse), GOOD_CONTROL, MARGIN).ruling is not GateOutcome.PROMOTE


def test_adapter_that_lost_general_ability_is_refused():
    control = pairs([1.0] * 40, [1.0] * 30 + [0.0] * 10)
    report = rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN)
    assert report.ruling is GateOutcome.REFUSE
    assert "control" in report.reason


def test_possible_loss_of_general_ability_needs_approval():
    """The adapter lost eight points; the margin is ten."""
    control = pairs([1.0] * 50, [1.0] * 46 + [0.0] * 4)
    report = rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert "possibly worse" in report.reason


def test_changes_in_both_directions_are_not_a_loss():
    control = pairs([1.0] * 55 + [0.0] * 25, [0.0] * 9 + [1.0] * 46 + [1.0] * 7 + [0.0] * 18)
    assert control.low is not None
    assert control.low < -MARGIN, "the 95 % interval alone would refuse it"
    assert rule(pairs([0.0] * 20, [1.0] * 20), control, MARGIN).ruling is GateOutcome.PROMOTE


def test_too_few_samples_need_approval():
    report = rule(pairs([0.0] * 3, [1.0] * 3), GOOD_CONTROL, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert str(FEWEST_PAIRS) in report.reason


def test_interval_is_deterministic():
    differences = [0.0, 1.0, 0.5, -0.5, 1.0, 0.0, 1.0, 0.25]
    assert interval(differences) == interval(differences)
    low, high = interval(differences)
    assert low < sum(differences) / len(differences) < high


async def test_both_models_receive_the_same_prompts():
    async def base(messages):
        return "wrong"

    async def candidate(messages):
        return messages[-1]["content"]

    async def grade(question, answer):
        return float(answer == question.wanted)

    questions = [GatePrompt(str(n), ({"role": "user", "content": f"q{n}"},), f"q{n}") for n in range(3)]
    found = await compare(questions, base, candidate, grade)
    assert (found.base, found.candidate, found.difference) == (0.0, 1.0, 1.0)
