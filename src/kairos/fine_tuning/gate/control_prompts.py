"""ControlPrompt prompts: what any assistant should answer, whatever it was fine-tuned for.

Half are replayed in training, answered by the base itself, so that it forgets nothing; the other half only the gate
asks. A quality needs no judge: each gate prompt names words of which one must occur.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly however many are taken."""


@dataclass(frozen=True, slots=True)
class ControlPrompt:
    """A prompt, and the words of which a right answer holds one (lower case)."""

    prompt: str
    any_of: tuple[str, ...]

    def quality(self, answer: str) -> float:
        return float(any(word in answer.casefold() for word in self.any_of))


@cache
def replayed() -> tuple[str, ...]:
    """In an order whose every beginning is spread over the kinds of prompts, which stand together in the file."""
    prompts = _file()["replayed"]
    return tuple(prompts[number] for number in sorted(range(len(prompts)), key=lambda n: n * GOLDEN % 1))


@cache
def control() -> tuple[ControlPrompt, ...]:
    return tuple(ControlPrompt(entry["prompt"], tuple(entry["any_of"])) for entry in _file()["control"])


def _file() -> dict:
    return json.loads(resources.files("kairos.fine_tuning.gate").joinpath("control_prompts.json").read_text())
