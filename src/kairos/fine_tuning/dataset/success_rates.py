"""The share of trainings that ended in a promotion, as measured with the suite of rules (`benchmarks/learning_rules`).

`success_rates.json` contains one measurement for each base model, recipe and number of samples:

    {"format": 1, "measurements": [
      {"rows": 24, "runs": 8, "promoted": 7, "base": "smollm2-135m", "title": "SmolLM2 135M",
       "recipe": "f6cb38f", "measured": "2026-12-02"}]}

`rows` is the number of samples that each run trained on, without held-out ones; `recipe` is the commit of the training
code. Without measurements the list is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib import resources
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SuccessRate(BaseModel):
    """The runs of the suite with one number of samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(ge=1, description="Training samples of each run.")
    runs: int = Field(ge=1)
    promoted: int = Field(ge=0, description="Runs that ended in a promotion.")
    base: str = Field(min_length=1, description="Name of the base model in the catalogue.")
    title: str = Field(min_length=1, description="Name of the base model for people.")
    recipe: str = Field(min_length=7, description="Commit of the training code.")
    measured: date

    @model_validator(mode="after")
    def _promoted_are_runs(self) -> Self:
        if self.promoted > self.runs:
            raise ValueError("more runs were promoted than there were")
        return self


class SuccessRates(BaseModel):
    """The packaged file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    measurements: tuple[SuccessRate, ...]


@cache
def success_rates() -> tuple[SuccessRate, ...]:
    """Return the packaged measurements."""
    content = resources.files("kairos.fine_tuning.dataset").joinpath("success_rates.json").read_bytes()
    return SuccessRates.model_validate_json(content).measurements


def nearest_rate(rates: Sequence[SuccessRate], training_rows: int, base: str) -> SuccessRate | None:
    """Return the measurement with the most rows that are at most `training_rows`, of this base model if there is one.

    The latest one of several wins. Nothing is interpolated.
    """
    below = [rate for rate in rates if rate.rows <= training_rows]
    own = [rate for rate in below if rate.base == base] or below
    return max(own, key=lambda rate: (rate.rows, rate.measured, rate.runs), default=None)


def smallest_size(rates: Sequence[SuccessRate]) -> int | None:
    """Return the fewest rows that were measured; None without measurements."""
    return min((rate.rows for rate in rates), default=None)
