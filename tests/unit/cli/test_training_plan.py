"""`kairos fine-tune --dry-run`: the review of the samples as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer

from kairos.cli import output
from kairos.cli.training_plan import ADVICE, NOT_DONE, show_plan
from kairos.fine_tuning.dataset.advice import AdviceAction

KIND = {"task_type": "code", "prompt": "Write the [bold]call\x1b[31m", "rows": 12, "training": 9}
OTHERS = {"task_type": None, "prompt": None, "rows": 2, "training": 2}
CONFLICT = {"prompt": "Capital?", "first": "id-1", "second": "id-2", "first_answer": "Oslo", "second_answer": "Bergen"}
REVIEW: dict[str, Any] = {
    "reviewed": 14,
    "distinct": 13,
    "repeated": 1,
    "contradictions": 1,
    "conflicts": [CONFLICT],
    "too_long": 0,
    "max_tokens": 1024,
    "empty_answers": 0,
    "kinds": [KIND, OTHERS],
    "kinds_total": 2,
    "prompts": 12,
    "grouped_prompts": 12,
    "kinds_problem": None,
}
PLAN: dict[str, Any] = {
    "base": "tiny",
    "rows": 14,
    "training": 11,
    "selection": 0,
    "held_out": 3,
    "replayed": 11,
    "memory_bytes": {"needed": 1, "free": 2},
    "disk_bytes": {"needed": 1, "free": 2},
    "device": "CPU",
    "problems": [],
    "review": REVIEW,
    "success": None,
    "fewest_measured": None,
    "advice": [],
}
SUCCESS = {"rows": 24, "runs": 8, "promoted": 7, "base": "tiny", "title": "Tiny 135M", "measured": "2026-12-02"}
CHECK: dict[str, Any] = {"asked": 20, "right": 18, "chosen": 24, "failed": 1, "seconds": 25.0, "advice": []}
CHECK["samples"] = [
    {"id": "id-3", "prompt": "Capital [b]of\x1b[31m Norway?", "right": True},
    {"id": "id-4", "prompt": "Capital of Peru?", "right": False},
]


def advice(action: str, kind: Any = None) -> dict[str, Any]:
    return {"action": action, "count": 2, "have": 4, "need": 8, "kind": kind}


@pytest.fixture
def shown() -> Callable[..., str]:
    """A function that returns the text shown for a plan, on one line."""

    def show(plan: dict[str, Any], check: dict[str, Any] | None = None) -> str:
        with output.out.capture() as captured:
            show_plan(plan, check, json=False)
        return " ".join(captured.get().split())

    return show


def test_kinds_figures_and_contradictions_are_shown(shown: Callable[..., str]):
    text = shown(PLAN)
    for expected in (
        *("2 kinds", "code: Write the [bold]call\\x1b[31m 12 9", "other prompts, each unlike the rest 2 2"),
        *("repeated samples 1; 13 different samples remain", "too long none over 1024 tokens, by an estimate"),
        *("≠ Capital?", "id-1 Oslo", "id-2 Bergen", "no measured success rate yet", "nothing was started"),
    ):
        assert expected in text
    assert "before you train" not in text
    assert "the base already answers" not in text


def test_measured_success_rate_is_quoted(shown: Callable[..., str]):
    text = shown(PLAN | {"success": SUCCESS, "fewest_measured": 16})
    assert (
        "with 24 training samples, 7 of 8 runs of the suite ended in a promotion (Tiny 135M, measured 2026-12-02)"
        in text
    )
    assert "not measured with fewer than 16 different training samples" in shown(PLAN | {"fewest_measured": 16})


def test_answers_of_the_base_are_shown(shown: Callable[..., str]):
    text = shown(PLAN, CHECK | {"advice": [advice("teach_other")]})
    assert "the base already answers 18 of 20 sampled rows (1 call failed, 3 not asked within 25 s)" in text
    assert "id-3 Capital [b]of\\x1b[31m Norway?" in text
    assert "id-4" not in text
    assert "it already answers 4 of 8 samples" in text
    assert "sampled rows id-3" in shown(PLAN, CHECK | {"asked": 24})


def test_every_advice_has_a_sentence(shown: Callable[..., str]):
    assert set(ADVICE) == set(AdviceAction)
    text = shown(PLAN | {"advice": [advice(action, KIND) for action in AdviceAction]})
    assert "→ Correct about 2 more samples of the kind “code: Write the [bold]call\\x1b[31m”: it has 4 for" in text
    assert "→ Resolve 2 contradictions:" in text
    assert text.count("→") == len(AdviceAction)
    assert "{" not in text


def test_task_types_are_named_where_prompts_were_not_compared(shown: Callable[..., str]):
    kinds = [KIND | {"prompt": None}, OTHERS]
    review = REVIEW | {"kinds": kinds, "kinds_problem": "No text can be embedded here: x.", "grouped_prompts": 0}
    text = shown(PLAN | {"review": review, "advice": [advice("add_to_kind", kinds[0])]})
    assert "code 12 9 without a task type 2 2 by task type only: No text can be embedded here: x." in text
    assert "of the kind “code”" in text
    assert "random sample" not in text


def test_sample_of_prompts_and_smaller_kinds_are_mentioned(shown: Callable[..., str]):
    text = shown(PLAN | {"review": REVIEW | {"prompts": 4_000, "grouped_prompts": 400, "kinds_total": 31}})
    assert "31 kinds, the 2 largest" in text
    assert "found in a random sample of 400 of 4000 prompts" in text


def test_plan_without_samples_has_no_review(shown: Callable[..., str]):
    empty = REVIEW | {"reviewed": 0, "kinds": [], "conflicts": []}
    assert "kinds" not in shown(PLAN | {"rows": 0, "review": empty})


def test_problems_end_the_command_with_their_exit_code(shown: Callable[..., str]):
    with pytest.raises(typer.Exit) as exit_:
        shown(PLAN | {"problems": ["too few"]})
    assert exit_.value.exit_code == NOT_DONE


@pytest.mark.parametrize("check", [None, CHECK])
def test_json_contains_the_whole_plan(capsys: pytest.CaptureFixture[str], check: dict[str, Any] | None):
    show_plan(PLAN, check, json=True)
    assert json.loads(capsys.readouterr().out) == PLAN | ({"base_check": check} if check else {})
