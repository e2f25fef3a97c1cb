"""The decision of the evaluation gate: a worse adapter never goes into service automatically."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.gate.control_prompts import ControlPrompt
from kairos.fine_tuning.gate.evaluation import (
    FEWEST_PAIRS,
    MOST_KEPT,
    SIGNIFICANCE,
    GateOutcome,
    GatePrompt,
    Pair,
    chance_of,
    compare,
    interval,
    rule,
    significance_of,
    summarise,
)
from kairos.fine_tuning.gate.general_ability import (
    NOTHING_ASKED,
    ROUNDS,
    AnsweredQuestion,
    GeneralAbility,
    PromptContext,
    Question,
)
from kairos.fine_tuning.gate.loss_test import Loss

MARGIN = 0.05
BETTER = [0.0] * 20, [1.0] * 18 + [0.0] * 2


def pairs(base: list[float], candidate: list[float]):
    made = [Pair(str(n), "p", "w", "", "", b, c) for n, (b, c) in enumerate(zip(base, candidate, strict=True))]
    return summarise(made)


def ability(loss: Loss, lost: int = 0, of: int = 100, lost_in: PromptContext | None = None) -> GeneralAbility:
    """Answers to control prompts; the adapter lost the first ones."""
    prompt = ControlPrompt("Say yes.", ("yes",))
    answers = [
        AnsweredQuestion(Question(n, prompt, context, ROUNDS[0]), "yes", "no" if n < lost else "yes")
        for n in range(of)
        for context in PromptContext
    ]
    return GeneralAbility(tuple(answers), loss, lost_in)


KEPT = ability(Loss.NONE)


def test_clearly_better_adapter_that_kept_general_ability_is_promoted():
    assert rule(pairs(*BETTER), KEPT, MARGIN).ruling is GateOutcome.PROMOTE


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=FEWEST_PAIRS, max_size=40), st.randoms())
def test_adapter_that_is_not_better_is_never_promoted(base, chance):
    worse = [min(b, chance.choice([0.0, b])) for b in base]
    assert rule(pairs(base, worse), KEPT, MARGIN).ruling is not GateOutcome.PROMOTE


def test_adapter_that_lost_general_ability_is_refused_with_its_loss():
    report = rule(pairs(*BETTER), ability(Loss.CERTAIN, lost=30), MARGIN)
    assert report.ruling is GateOutcome.REFUSE
    assert report.reason == "worse on control prompts by 30%"


def test_loss_in_one_context_is_named():
    report = rule(pairs(*BETTER), ability(Loss.CERTAIN, lost=20, lost_in=PromptContext.ALONE), MARGIN)
    assert report.ruling is GateOutcome.REFUSE
    assert report.reason == "worse on control prompts without the system prompt by 20%"


def test_possible_loss_of_general_ability_needs_approval():
    report = rule(pairs(*BETTER), ability(Loss.UNCERTAIN, lost=4), MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert report.reason.startswith("possibly worse on control prompts (-4.0%, 95 %: ")


def test_few_improved_samples_need_approval():
    report = rule(pairs([0.0] * 10, [1.0] * 4 + [0.0] * 6), KEPT, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert report.reason == "not significantly better on held-out samples (+40%, p = 0.062, above 0.031)"
    assert rule(pairs([0.0] * 10, [1.0] * 5 + [0.0] * 5), KEPT, MARGIN).ruling is GateOutcome.PROMOTE


def test_later_candidates_of_a_run_need_more_evidence():
    five, seven = (pairs([0.0] * 10, [1.0] * better + [0.0] * (10 - better)) for better in (5, 7))
    assert rule(five, KEPT, MARGIN, 2).ruling is GateOutcome.NEEDS_APPROVAL
    assert rule(seven, KEPT, MARGIN, 2).ruling is GateOutcome.PROMOTE
    assert rule(seven, KEPT, MARGIN, 3).ruling is GateOutcome.NEEDS_APPROVAL
    assert sum(significance_of(number) for number in range(1, 100)) == pytest.approx(SIGNIFICANCE)


def test_too_few_samples_need_approval():
    report = rule(pairs([0.0] * 4, [1.0] * 4), KEPT, MARGIN)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL
    assert str(FEWEST_PAIRS) in report.reason


def test_adapter_that_is_worse_at_its_task_is_refused_without_control_prompts():
    report = rule(pairs([1.0] * 10, [1.0] * 8 + [0.0] * 2), NOTHING_ASKED, MARGIN)
    assert report.ruling is GateOutcome.REFUSE
    assert (report.control.prompts, report.control.difference, report.contexts) == (0, None, ())


def test_report_has_all_figures_and_the_changed_answers_to_control_prompts():
    report = rule(pairs(*BETTER), ability(Loss.CERTAIN, lost=30), MARGIN)
    assert (report.control.prompts, report.control.base, report.control.difference) == (100, 1.0, -0.3)
    assert len(report.control.pairs) == MOST_KEPT
    assert sum(pair.difference < 0 for pair in report.control.pairs) == 60
    assert [(one.context, one.base, one.candidate) for one in report.contexts] == [
        (PromptContext.SYSTEM_PROMPT, 1.0, 0.7),
        (PromptContext.ALONE, 1.0, 0.7),
    ]


@given(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), max_size=30))
def test_chance_of_an_improvement_is_a_probability_and_symmetric(differences: list[float]):
    chance, opposite = chance_of(differences), chance_of([-one for one in differences])
    assert 0 < chance <= 1
    assert chance + opposite >= 1 - 1e-9


def test_chance_of_an_improvement_counts_sign_flips():
    assert chance_of([1.0] * 5) == 1 / 32
    assert chance_of([1.0, 0.0, 0.0]) == 1 / 2
    assert chance_of([]) == 1
    assert chance_of([1.0] * 40) < 0.001


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
    found = await compare(questions, base, candidate, grade, 2)
    assert (found.base, found.candidate, found.difference) == (0.0, 1.0, 1.0)
    assert [pair.id for pair in found.pairs] == ["0", "1", "2"]
