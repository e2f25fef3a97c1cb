"""Control prompts: ordinary prompts that any assistant should answer, regardless of its fine-tuning.

Half are replayed in training with the base model's own answers, to preserve general ability; the other half is used
only by the gate. Quality is measured without a judge: each prompt lists terms of which one must occur in the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are evenly spread for any number of them."""


@dataclass(frozen=True, slots=True)
class ControlPrompt:
    """A prompt, and terms in lower case, of which a correct answer contains at least one."""

    prompt: str
    any_of: tuple[str, ...]

    def quality(self, answer: str) -> float:
        return float(any(term in answer.casefold() for term in self.any_of))


@cache
def replayed() -> tuple[str, ...]:
    """Return the prompts to replay, in an order whose every prefix covers all kinds of prompts evenly."""
    prompts = _file()["replayed"]
    return tuple(prompts[number] for number in sorted(range(len(prompts)), key=lambda n: n * GOLDEN % 1))


@cache
def control() -> tuple[ControlPrompt, ...]:
    return tuple(ControlPrompt(entry["prompt"], tuple(entry["any_of"])) for entry in _file()["control"])


def forgetting() -> tuple[ControlPrompt, ...]:
    return control()


def selection() -> tuple[ControlPrompt, ...]:
    return control()[:40]


def _file() -> dict:
    return json.loads(resources.files("kairos.fine_tuning.gate").joinpath("control_prompts.json").read_text())
