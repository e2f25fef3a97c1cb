"""Control prompts: ordinary prompts that any assistant should answer, regardless of its fine-tuning.

Some are replayed in training with the base model's own answers, to preserve general ability; the others are used only
to evaluate, and the sets are disjoint. Quality is measured without a judge: each prompt lists terms of which one must
occur in the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypeVar

Value = TypeVar("Value")
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are evenly spread for any number of them."""


@dataclass(frozen=True, slots=True)
class ControlPrompt:
    """A prompt, and terms in lower case, of which a correct answer contains at least one."""

    prompt: str
    any_of: tuple[str, ...]
    kind: str = ""

    def quality(self, answer: str) -> float:
        """Return 1 if a term occurs as a whole word, in singular or plural, else 0."""
        return float(_pattern(self.any_of).search(answer.casefold()) is not None)


@cache
def replayed() -> tuple[str, ...]:
    """Return the prompts to replay."""
    return _evenly(_file()["replayed"])


@cache
def control() -> tuple[ControlPrompt, ...]:
    """Return the prompts of the gate. They were not selected by a model's answers: otherwise the answers would be worse
    the next time, even without forgetting."""
    return _evenly(_prompts("control"))


@cache
def selection() -> tuple[ControlPrompt, ...]:
    """Return prompts of the same kinds, for choosing among the candidates of a run."""
    return _evenly(_prompts("selection"))


def _evenly(ordered_by_kind: Sequence[Value]) -> tuple[Value, ...]:
    """Return the prompts in an order whose every prefix covers all kinds evenly."""
    numbers = sorted(range(len(ordered_by_kind)), key=lambda n: n * GOLDEN % 1)
    return tuple(ordered_by_kind[number] for number in numbers)


@cache
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of the terms, not inside another word or number: `four` is not in `twenty-four`, nor `10` in
    `10,000`."""
    listed = "|".join(re.escape(term) for term in terms)
    return re.compile(rf"(?<!\w)(?<!\w-)(?<!\d[.,])(?:{listed})(?:s|es)?(?!\w)(?!-\w)(?![.,]\d)")


def _prompts(name: str) -> tuple[ControlPrompt, ...]:
    return tuple(
        ControlPrompt(entry["prompt"], tuple(entry["any_of"]), entry.get("kind", "")) for entry in _file()[name]
    )


@cache
def _file() -> dict:
    return json.loads(resources.files("kairos.fine_tuning.gate").joinpath("control_prompts.json").read_text())
