"""Tables of results: a line per rule and number of rows, and the shares of runs that reached the goals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from statistics import fmean, median

from benchmarks.learning_rules.results import CaseResult, Shares

HELD_OUT_GOAL = 0.85
CONTROL_LOSS = 0.05
"""Loss of right answers on ordinary prompts that counts as none."""
FLOAT_ERROR = 1e-9
HEADER = (
    f"{'rule':<13} {'rows':>4} {'seeds':>5}  {'promoted':>8} {'held out':>12} {'control':>12} {'new tasks':>12}"
    f" {'fresh':>12} {'plain':>12} {'median':>7} {'worst':>6}"
)


def reached_goal(result: CaseResult) -> bool:
    """Whether the adapter was promoted, with held-out and control results as the goal demands."""
    learned = (result.held_out.adapter or 0) >= HELD_OUT_GOAL - FLOAT_ERROR
    return promoted(result) and learned and result.control.gain >= -CONTROL_LOSS - FLOAT_ERROR


def promoted(result: CaseResult) -> bool:
    return result.ruling == "promote"


def worse_on_fresh(result: CaseResult) -> bool:
    """Whether fresh prompts lost more than `CONTROL_LOSS`, on average with and without the system prompt."""
    return (result.fresh.gain + result.fresh_plain.gain) / 2 < -CONTROL_LOSS - FLOAT_ERROR


def tables(results: Iterable[CaseResult]) -> Iterator[str]:
    """Yield the lines of one table per recipe."""
    ordered = sorted(results, key=lambda result: (result.recipe, result.case.rows, result.case.rule, result.case.seed))
    for recipe, of_recipe in groupby(ordered, key=lambda result: result.recipe):
        cases = list(of_recipe)
        yield f"recipe {recipe} ({', '.join(sorted({case.commit for case in cases}))})"
        yield HEADER
        for _, of_rule in groupby(cases, key=lambda result: (result.case.rows, result.case.rule)):
            yield _row(list(of_rule))
        for rows, of_rows in groupby(cases, key=lambda result: result.case.rows):
            yield from _summary(rows, list(of_rows))
        yield ""


def _row(results: Sequence[CaseResult]) -> str:
    case, times = results[0].case, [result.seconds.total for result in results]
    measured = [
        [result.held_out for result in results],
        [result.control for result in results],
        [result.new_tasks for result in results],
        [result.fresh for result in results],
        [result.fresh_plain for result in results],
    ]
    shown = " ".join(_mean(shares) for shares in measured)
    count = f"{sum(map(promoted, results))}/{len(results)}"
    return (
        f"{case.rule:<13} {case.rows:>4} {len(results):>5}  {count:>8} {shown}"
        f" {median(times):>5.0f} s {max(times):>4.0f} s"
    )


def _summary(rows: int, results: Sequence[CaseResult]) -> Iterator[str]:
    times = [result.seconds.total for result in results]
    good, false = sum(map(reached_goal, results)), sum(promoted(one) and worse_on_fresh(one) for one in results)
    yield (
        f"{rows} rows: {good} of {len(results)} runs ({good / len(results):.0%}) promoted with held-out at least"
        f" {HELD_OUT_GOAL:.0%} and control within {100 * CONTROL_LOSS:.0f} points;"
        f" promoted but worse on fresh prompts: {false};"
        f" time to the decision: median {median(times):.0f} s, worst {max(times):.0f} s"
    )


def _mean(shares: Sequence[Shares]) -> str:
    measured = [(one.base, one.adapter) for one in shares if one.base is not None and one.adapter is not None]
    if not measured:
        return f"{'–':>12}"
    base, adapter = (fmean(side) for side in zip(*measured, strict=True))
    return f"{base:>5.0%} → {adapter:>4.0%}"
