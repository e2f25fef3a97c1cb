"""Run cases that have no result yet, or print the table: `python -m benchmarks.learning_rules --help`."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.learning_bench import AnswerFile
from benchmarks.learning_rules.case_run import CaseRunner
from benchmarks.learning_rules.catalogue import RULES
from benchmarks.learning_rules.rates import rates_of, write_rates
from benchmarks.learning_rules.results import Case, ResultsFile
from benchmarks.learning_rules.rule import MOST_ROWS
from benchmarks.learning_rules.table import tables
from kairos.config import FineTuningSettings
from kairos.embedded import DataFolder
from kairos.errors import KairosError
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers

RESULTS = Path(__file__).with_name("results.jsonl")
SUBSET = (Case("vex_call", 0, 48), Case("order_fields", 0, 24), Case("pay_policy", 0, 24))
"""A few cases of different kinds."""
DEFAULT_RECIPE = "default"


def main() -> int:
    arguments = parse_arguments()
    results = ResultsFile(arguments.out)
    failed = 0 if arguments.table else asyncio.run(run(arguments, results))
    print("\n".join(tables(results)) or f"no results in {arguments.out}")
    if arguments.rates:
        write_rates(rates_of(results, arguments.recipe, datetime.now(UTC).date()))
    return min(failed, 1)


async def run(arguments: argparse.Namespace, results: ResultsFile) -> int:
    """Run the chosen cases that have no result. Returns the number of failed ones."""
    cases, commit, failed = waiting(arguments, results), current_commit(), 0
    settings = FineTuningSettings(held_out_share=arguments.held_out_share)
    folder = work_folder(arguments.out)
    async with HttpClient() as http:
        with DataFolder(folder):
            answers = AnswerFile(arguments.out.with_suffix(".base_answers.jsonl"))
            runner = CaseRunner(folder, Providers(http), answers, settings)
            for number, case in enumerate(cases, 1):
                began = time.monotonic()
                try:
                    result = await runner.run(case, arguments.recipe, commit)
                except (KairosError, TimeoutError) as error:
                    failed += 1
                    print(f"[{number}/{len(cases)}] {case} failed: {error}", file=sys.stderr, flush=True)
                    continue
                results.add(result)
                took = time.monotonic() - began
                print(f"[{number}/{len(cases)}] {case}: {result.ruling}, {took:.0f} s with measurements", flush=True)
    return failed


def waiting(arguments: argparse.Namespace, results: ResultsFile) -> list[Case]:
    """Return the chosen cases that have no result under the recipe's label."""
    known = results.cases_of(arguments.recipe)
    return [case for case in chosen(arguments) if case not in known]


def chosen(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases that the arguments name, those with few rows first."""
    if arguments.subset:
        return list(SUBSET)
    return [
        Case(rule, seed, rows)
        for rows in sorted(arguments.rows)
        for seed in arguments.seeds
        for rule in arguments.rules
    ]


def work_folder(out: Path) -> Path:
    """Return the folder of trainings for a file of results: the same each time, so that nothing piles up."""
    name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"learning-rules-{name}"


def current_commit() -> str:
    """Return git's short hash of this checkout, with a mark if files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=RESULTS.parent).stdout.strip()


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_rules", description="Teach rules by rows.")
    parser.add_argument("--rules", type=_rules, default=list(RULES), help=f"some of {', '.join(RULES)}; by default all")
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2])
    parser.add_argument(
        "--rows", type=_rows, default=[16, 24, 48, 96], help=f"corrected rows of a case, at most {MOST_ROWS}"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of results; cases in it are not run again")
    parser.add_argument(
        "--recipe", default=DEFAULT_RECIPE, help="label of the measured recipe; cases are kept by label"
    )
    parser.add_argument("--held-out-share", type=float, default=FineTuningSettings().held_out_share)
    parser.add_argument("--subset", action="store_true", help="a few cases of different kinds")
    parser.add_argument("--table", action="store_true", help="print the table of the file and run nothing")
    parser.add_argument(
        "--rates", action="store_true", help="write the recipe's success rates into the package, for the advice"
    )
    return parser.parse_args(given)


def _rules(text: str) -> Sequence[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in RULES]:
        raise argparse.ArgumentTypeError(f"unknown rules: {', '.join(unknown)}; known: {', '.join(RULES)}")
    return names


def _rows(text: str) -> Sequence[int]:
    rows = _numbers(text)
    if not all(1 <= number <= MOST_ROWS for number in rows):
        raise argparse.ArgumentTypeError(f"choose numbers from 1 to {MOST_ROWS}")
    return rows


def _numbers(text: str) -> Sequence[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
