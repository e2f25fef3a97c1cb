"""The suite's shares of promoted runs, in the form that Kairos shows before a training."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import groupby
from pathlib import Path

from benchmarks.learning_rules.results import CaseResult
from benchmarks.learning_rules.table import promoted
from benchmarks.learning_run import BASE
from kairos.fine_tuning.dataset import success_rates
from kairos.fine_tuning.dataset.success_rates import SuccessRate, SuccessRates

PACKAGED = Path(success_rates.__file__).with_suffix(".json")
TITLE = "SmolLM2 135M"


def rates_of(results: Iterable[CaseResult], recipe: str, measured: date) -> SuccessRates:
    """Return a measurement for each number of rows of a recipe's cases.

    Cases of the same size train on slightly different numbers of rows: the smallest counts.
    """
    cases = sorted((one for one in results if one.recipe == recipe), key=lambda one: one.case.rows)
    found = []
    for _, group in groupby(cases, key=lambda one: one.case.rows):
        of_size = list(group)
        found.append(
            SuccessRate(
                rows=min(one.training for one in of_size),
                runs=len(of_size),
                promoted=sum(map(promoted, of_size)),
                base=BASE,
                title=TITLE,
                recipe=of_size[-1].commit,
                measured=measured,
            )
        )
    return SuccessRates(format=1, measurements=tuple(found))


def write_rates(rates: SuccessRates, path: Path = PACKAGED) -> None:
    path.write_text(rates.model_dump_json(indent=2) + "\n")
