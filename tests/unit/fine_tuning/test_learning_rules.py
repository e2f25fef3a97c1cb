"""`benchmarks/learning_rules`: its rules, its file of results, and its table."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks.learning_bench import AnswerFile, fresh_prompts, messages
from benchmarks.learning_rules.__main__ import SUBSET, parse_arguments, waiting
from benchmarks.learning_rules.catalogue import RULES
from benchmarks.learning_rules.rates import rates_of, write_rates
from benchmarks.learning_rules.results import Case, CaseResult, ResultsFile, Seconds, Shares, TrySummary
from benchmarks.learning_rules.rule import FRESH, MOST_ROWS, RESERVED, Rule, TaskDraw
from benchmarks.learning_rules.table import tables, worse_on_fresh
from kairos.fine_tuning.dataset.split import group_of
from kairos.fine_tuning.dataset.success_rates import SuccessRates
from kairos.fine_tuning.gate import control_prompts
from scripts.demo_learning import DemoTask

SEEDS = (0, 1, 2)
LONGEST_ANSWER = 80
"""Characters, about 25 tokens."""
rules = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def groups(drawn: TaskDraw) -> list[str]:
    """The tasks of a draw as the dataset distinguishes prompts."""
    return [group_of(messages(task.prompt)) for task in (*drawn.fresh, *drawn.reserved, *drawn.rows)]


def result(case: Case, **changes) -> CaseResult:
    none = Shares(0.5, 0.5)
    made = CaseResult(
        recipe="default",
        commit="abc1234",
        case=case,
        kind="table row",
        training=38,
        held_out_rows=10,
        ruling="promote",
        reason="better",
        held_out=Shares(0.0, 0.9),
        control=none,
        new_tasks=Shares(0.0, 1.0),
        new_tasks_plain=Shares(0.0, 0.5),
        fresh=none,
        fresh_plain=none,
        seconds=Seconds(120.0, 80.0, 200.0),
        control_prompts=120,
        tries=[TrySummary(4, 4e-4, 8, 0.5, 76, 76, 1.0, 1.0, -0.01, None, "promote", 120.0)],
    )
    return replace(made, **changes)


def test_rules_are_of_many_kinds():
    assert len(RULES) >= 10
    assert len({rule.kind for rule in RULES.values()}) == len(RULES)


def test_rule_of_the_demo_is_one_of_them():
    rule = RULES["vex_call"]
    demo = DemoTask("heat", "kettle")
    task = rule.task({"verb": "heat", "thing": "kettle"}, rule.phrasings[0])
    assert (task.prompt, task.right) == (demo.prompt, demo.right)


@rules
def test_draw_depends_on_the_seed_alone(rule: Rule):
    assert rule.draw(1) == rule.draw(1)
    assert rule.draw(1) != rule.draw(2)


@rules
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_reserved_and_fresh_tasks_never_overlap(rule: Rule, seed: int):
    drawn = rule.draw(seed)
    assert (len(drawn.fresh), len(drawn.reserved), len(drawn.rows)) == (FRESH, RESERVED, MOST_ROWS)
    assert len(set(groups(drawn))) == FRESH + RESERVED + MOST_ROWS


@rules
def test_rule_has_several_phrasings_and_enough_values(rule: Rule):
    assert len(rule.phrasings) == len(set(rule.phrasings)) >= 4
    assert len(rule.values) == len({json.dumps(dict(values), sort_keys=True) for values in rule.values}) >= 150
    prompts = {rule.task(values, phrasing).prompt for values in rule.values for phrasing in rule.phrasings}
    assert len(prompts) == len(rule.values) * len(rule.phrasings)


@rules
def test_prompts_are_none_of_the_ordinary_ones(rule: Rule):
    ordinary = {*control_prompts.replayed(), *(one.prompt for one in control_prompts.control())}
    evaluated = (*control_prompts.control(), *control_prompts.selection(), *fresh_prompts())
    ordinary |= {one.prompt for one in evaluated}
    prompts = {rule.task(values, phrasing).prompt for values in rule.values for phrasing in rule.phrasings}
    assert ordinary.isdisjoint(prompts)


@rules
def test_right_answer_is_short_and_accepted_and_each_other_is_refused(rule: Rule):
    rights = sorted({task.right for task in rule.draw(0).rows})
    assert len(rights) >= 4
    assert max(map(len, rights)) <= LONGEST_ANSWER
    for right in rights:
        assert rule.grade(right, right) == 1
        assert rule.grade(f" {right}\n", right) == 1
    for right, other in itertools.permutations(rights, 2):
        assert rule.grade(other, right) == 0


@rules
def test_prompt_and_empty_answer_are_refused(rule: Rule):
    for task in rule.draw(0).rows:
        assert rule.grade("", task.right) == 0
        assert rule.grade(task.prompt.upper()[::-1], task.right) == 0


def test_refusals_and_ordinary_answers_are_both_among_the_rows_of_a_policy():
    for seed in SEEDS:
        refused = ["Pay is private." in task.right for task in RULES["pay_policy"].draw(seed).rows[:16]]
        assert 4 <= sum(refused) <= 12


def test_results_are_read_back_as_written(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    first, second = result(Case("table_row", 0, 24)), result(Case("table_row", 1, 24), held_out=Shares(None, None))
    file = ResultsFile(path)
    file.add(first)
    file.add(second)
    assert list(file) == list(ResultsFile(path)) == [first, second]


def test_file_with_a_torn_last_line_is_resumed(tmp_path: Path):
    """A kill during an append leaves a part of the line. That case runs again, and the file stays readable."""
    path = tmp_path / "results.jsonl"
    first, second = result(Case("table_row", 0, 24)), result(Case("table_row", 1, 24), reason="größer")
    whole = first.line().encode() + b"\n"
    torn = second.line().encode()
    within_a_letter = torn.index("ö".encode()) + 1
    for length in (*range(0, len(torn), 17), within_a_letter, len(torn)):
        path.write_bytes(whole + torn[:length])
        file = ResultsFile(path)
        assert file.cases_of("default") == {first.case}
        assert path.read_bytes() == whole
    ResultsFile(path).add(second)
    assert list(ResultsFile(path)) == [first, second]


def test_cases_with_a_result_are_not_run_again_for_the_same_recipe(tmp_path: Path):
    file = ResultsFile(tmp_path / "results.jsonl")
    file.add(result(Case("vex_call", 0, 24)))
    chosen = ["--rules", "vex_call,table_row", "--seeds", "0,1", "--rows", "24"]
    assert waiting(parse_arguments(chosen), file) == [
        Case("table_row", 0, 24),
        Case("vex_call", 1, 24),
        Case("table_row", 1, 24),
    ]
    assert len(waiting(parse_arguments([*chosen, "--recipe", "other"]), file)) == 4


@pytest.mark.parametrize("wrong", [["--rows", "97"], ["--rows", "0"], ["--rules", "vex_call,unknown"]])
def test_cases_that_do_not_exist_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_arguments(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_subset_is_of_known_rules_of_different_kinds():
    assert waiting(parse_arguments(["--subset"]), ResultsFile(Path("/nonexistent"))) == list(SUBSET)
    assert len({RULES[case.rule].kind for case in SUBSET}) == len(SUBSET) >= 3


def test_answers_of_the_base_are_kept_per_base_prompt_and_settings(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    key = AnswerFile.key("base", messages("Hello?"), 64)
    AnswerFile(path).add(key, "Hi.\nÇ")
    path.write_bytes(path.read_bytes() + b'["torn')
    kept = AnswerFile(path)
    assert kept.get(key) == "Hi.\nÇ"
    others = (
        ("other", messages("Hello?"), 64),
        ("base", messages("Hello?", None), 64),
        ("base", messages("Hello?"), 65),
    )
    assert [kept.get(AnswerFile.key(*other)) for other in others] == [None, None, None]


def test_loss_on_fresh_prompts_counts_beyond_5_points_over_both_contexts():
    case = Case("table_row", 0, 48)
    assert not worse_on_fresh(result(case, fresh=Shares(0.60, 0.55), fresh_plain=Shares(0.60, 0.55)))
    assert not worse_on_fresh(result(case, fresh=Shares(0.60, 0.50), fresh_plain=Shares(0.60, 0.65)))
    assert worse_on_fresh(result(case, fresh=Shares(0.60, 0.54), fresh_plain=Shares(0.60, 0.54)))


def test_table_shows_each_rule_and_the_shares_of_runs_that_reached_the_goals(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(line + "\n" for line in LINES.strip().splitlines()))
    assert list(tables(ResultsFile(path))) == [*TABLE.strip("\n").splitlines(), ""]


LINES = """
{"recipe": "default", "commit": "abc1234", "case": {"rule": "vex_call", "seed": 0, "rows": 48}, "kind": "made-up API call", "training": 38, "held_out_rows": 10, "ruling": "promote", "reason": "better", "held_out": {"base": 0.0, "adapter": 0.9}, "control": {"base": 0.74, "adapter": 0.7}, "control_prompts": 120, "new_tasks": {"base": 0.0, "adapter": 1.0}, "new_tasks_plain": {"base": 0.0, "adapter": 0.8}, "fresh": {"base": 0.6, "adapter": 0.6}, "fresh_plain": {"base": 0.58, "adapter": 0.58}, "tries": [], "seconds": {"tries": 300, "gate": 100.0, "total": 400.0}}
{"recipe": "default", "commit": "abc1234", "case": {"rule": "vex_call", "seed": 1, "rows": 48}, "kind": "made-up API call", "training": 40, "held_out_rows": 8, "ruling": "refuse", "reason": "worse on control prompts", "held_out": {"base": 0.0, "adapter": 1.0}, "control": {"base": 0.74, "adapter": 0.6}, "control_prompts": 120, "new_tasks": {"base": 0.0, "adapter": 0.9}, "new_tasks_plain": {"base": 0.0, "adapter": 0.8}, "fresh": {"base": 0.6, "adapter": 0.4}, "fresh_plain": {"base": 0.58, "adapter": 0.5}, "tries": [], "seconds": {"tries": 340, "gate": 100.0, "total": 440.0}}
{"recipe": "default", "commit": "abc1234", "case": {"rule": "house_date", "seed": 0, "rows": 48}, "kind": "date convention", "training": 39, "held_out_rows": 9, "ruling": "promote", "reason": "better", "held_out": {"base": 0.1, "adapter": 0.8}, "control": {"base": 0.74, "adapter": 0.74}, "control_prompts": 120, "new_tasks": {"base": 0.1, "adapter": 0.7}, "new_tasks_plain": {"base": 0.0, "adapter": 0.7}, "fresh": {"base": 0.6, "adapter": 0.5}, "fresh_plain": {"base": 0.58, "adapter": 0.48}, "tries": [], "seconds": {"tries": 400, "gate": 100.0, "total": 500.0}}
{"recipe": "better", "commit": "def5678", "case": {"rule": "vex_call", "seed": 0, "rows": 16}, "kind": "made-up API call", "training": 16, "held_out_rows": 0, "ruling": "needs_approval", "reason": "fewer than 8 held-out samples", "held_out": {"base": null, "adapter": null}, "control": {"base": 0.74, "adapter": 0.74}, "control_prompts": 120, "new_tasks": {"base": 0.0, "adapter": 0.5}, "new_tasks_plain": {"base": 0.0, "adapter": 0.5}, "fresh": {"base": 0.6, "adapter": 0.6}, "fresh_plain": {"base": 0.58, "adapter": 0.58}, "tries": [], "seconds": {"tries": 120, "gate": 80.0, "total": 200.0}}
"""  # noqa: E501 - a file as it is written
TABLE = """
recipe better (def5678)
rule          rows seeds  promoted     held out      control    new tasks        fresh        plain  median  worst
vex_call        16     1       0/1            –   74% →  74%    0% →  50%   60% →  60%   58% →  58%   200 s  200 s
16 rows: 0 of 1 runs (0%) promoted with held-out at least 85% and control within 5 points; promoted but worse on fresh prompts: 0; time to the decision: median 200 s, worst 200 s

recipe default (abc1234)
rule          rows seeds  promoted     held out      control    new tasks        fresh        plain  median  worst
house_date      48     1       1/1   10% →  80%   74% →  74%   10% →  70%   60% →  50%   58% →  48%   500 s  500 s
vex_call        48     2       1/2    0% →  95%   74% →  65%    0% →  95%   60% →  50%   58% →  54%   420 s  440 s
48 rows: 1 of 3 runs (33%) promoted with held-out at least 85% and control within 5 points; promoted but worse on fresh prompts: 1; time to the decision: median 440 s, worst 500 s
"""  # noqa: E501 - as wide as it is printed


def test_success_rates_are_counted_per_number_of_rows_of_one_recipe(tmp_path: Path):
    results = [
        result(Case("ticket_queue", 0, 48), recipe="a", ruling="promote", training=36, commit="1234567"),
        result(Case("ticket_queue", 1, 48), recipe="a", ruling="refuse", training=35, commit="1234567"),
        result(Case("ticket_queue", 0, 24), recipe="a", ruling="promote", training=16, commit="1234567"),
        result(Case("ticket_queue", 0, 24), recipe="b", ruling="refuse", training=16, commit="1234567"),
    ]
    rates = rates_of(results, "a", date(2026, 12, 1))
    assert [(one.rows, one.runs, one.promoted) for one in rates.measurements] == [(16, 1, 1), (35, 2, 1)]
    write_rates(rates, tmp_path / "rates.json")
    assert SuccessRates.model_validate_json((tmp_path / "rates.json").read_bytes()) == rates
