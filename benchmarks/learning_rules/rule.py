"""A rule that a team teaches by corrected rows: its prompts, their right answers, and how answers are graded."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kairos.agents.answer_grader import same_answer
from kairos.agents.checks.content import check_required

FRESH, RESERVED, MOST_ROWS = 20, 32, 96
"""Tasks of a draw: measured outside the gate, kept for choosing among candidates, and available as corrected rows."""

Values = Mapping[str, str]


class Grading(StrEnum):
    """How an answer is compared with the right one."""

    EXACT = "exact"
    """Equal as JSON, or as text without surrounding white space: as the gate compares with the approved answer."""
    CONTAINS = "contains"
    """Contains the right answer: as the check `require` of a task."""


@dataclass(frozen=True, slots=True)
class RuleTask:
    """A prompt with its right answer."""

    prompt: str
    right: str


@dataclass(frozen=True, slots=True)
class TaskDraw:
    """Tasks of one rule and seed. No two have the same values."""

    fresh: tuple[RuleTask, ...]
    reserved: tuple[RuleTask, ...]
    rows: tuple[RuleTask, ...]
    """The first 16, 24, 48 … of them are the rows of a case, so that larger cases contain smaller ones."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as phrasings of the prompt into which values are put."""

    name: str
    kind: str
    phrasings: tuple[str, ...]
    values: tuple[Values, ...]
    answer: Callable[[Values], str]
    grading: Grading = Grading.EXACT

    def task(self, values: Values, phrasing: str) -> RuleTask:
        return RuleTask(phrasing.format(**values), self.answer(values))

    def draw(self, seed: int) -> TaskDraw:
        """Return the tasks of a seed, each with its own values and one of the phrasings."""
        rng = random.Random(f"{self.name} {seed}")
        chosen = rng.sample(self.values, FRESH + RESERVED + MOST_ROWS)
        tasks = tuple(self.task(values, rng.choice(self.phrasings)) for values in chosen)
        return TaskDraw(tasks[:FRESH], tasks[FRESH : FRESH + RESERVED], tasks[FRESH + RESERVED :])

    def grade(self, answer: str, right: str) -> float:
        """Return 1 for a right answer, else 0."""
        if self.grading is Grading.EXACT:
            return float(same_answer(answer, right))
        return float(check_required([right], answer).score == 1)


def combinations(**axes: Iterable[str]) -> tuple[Values, ...]:
    """Return every combination of the values."""
    return tuple(dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values()))
