"""The results of cases, one JSON line each, in a file that survives a kill at any time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.learning_bench import append_line, complete_lines


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One training: a rule, the seed of its tasks and of the training, and the number of corrected rows."""

    rule: str
    seed: int
    rows: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of right answers of base and adapter; None where nothing was asked."""

    base: float | None
    adapter: float | None

    @property
    def gain(self) -> float:
        return (self.adapter or 0) - (self.base or 0)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Durations of a case: of its trainings with the choice among candidates, of the gate, and of the whole run."""

    tries: float
    gate: float
    total: float


@dataclass(frozen=True, slots=True)
class TrySummary:
    """One training of a run: its recipe, the chosen candidate, and the result."""

    epochs: float
    learning_rate: float
    rank: int
    replay_share: float
    steps: int
    step: int
    strength: float
    learned: float | None
    kept: float | None
    shortfall: str | None
    ruling: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The measurements of a case."""

    recipe: str
    """A label of the training recipe. Cases are compared between labels."""
    commit: str
    case: Case
    kind: str
    training: int
    """Rows that were trained on; the other rows are held out."""
    held_out_rows: int
    ruling: str
    reason: str
    held_out: Shares
    """As the gate measured it, as well as `control`."""
    control: Shares
    control_prompts: int
    new_tasks: Shares
    """Measured outside the gate: with the agent's system prompt, and without one (`plain`)."""
    new_tasks_plain: Shares
    fresh: Shares
    fresh_plain: Shares
    seconds: Seconds
    tries: Sequence[TrySummary]

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the result of a line. Raises `ValueError`, `TypeError`, `KeyError`."""
        raw: dict[str, Any] = json.loads(line)
        shares = ("held_out", "control", "new_tasks", "new_tasks_plain", "fresh", "fresh_plain")
        nested = {name: Shares(**raw[name]) for name in shares}
        tries = [TrySummary(**one) for one in raw["tries"]]
        return cls(
            **{**raw, **nested, "case": Case(**raw["case"]), "seconds": Seconds(**raw["seconds"]), "tries": tries}
        )

    def line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


class ResultsFile:
    """Appends results, and knows which cases have one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results = [CaseResult.parse(line) for line in complete_lines(path)]

    def __iter__(self) -> Iterator[CaseResult]:
        return iter(self._results)

    def cases_of(self, recipe: str) -> frozenset[Case]:
        return frozenset(result.case for result in self._results if result.recipe == recipe)

    def add(self, result: CaseResult) -> None:
        """Append a result, and return when it is on the disk."""
        append_line(self._path, result.line())
        self._results.append(result)
