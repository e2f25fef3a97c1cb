"""What to do before a training, derived from the figures of its review."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from kairos.fine_tuning.dataset.kinds import Kind
from kairos.fine_tuning.dataset.review import DatasetReview

NAMED_KINDS = 3
"""Kinds with too few samples that are named, the largest first."""


class AdviceAction(StrEnum):
    """Something to do before a training."""

    ADD_SAMPLES = "add_samples"
    ADD_HELD_OUT = "add_held_out"
    ADD_TO_KIND = "add_to_kind"
    RESOLVE_CONTRADICTIONS = "resolve_contradictions"
    REPLACE_REPEATED = "replace_repeated"
    SHORTEN = "shorten"
    FILL_ANSWERS = "fill_answers"
    TEACH_OTHER = "teach_other"


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do, and the figures that it follows from."""

    action: AdviceAction
    count: int
    """Samples or prompts to work on."""
    have: int
    need: int
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class RowNeeds:
    """Numbers of samples that training and gate need."""

    fewest_training: int
    fewest_held_out: int
    """With fewer held-out samples the gate leaves the decision to a person."""
    held_out_share: float


def advice_for(review: DatasetReview, training: int, held_out: int, needs: RowNeeds) -> tuple[Advice, ...]:
    """Return what to do, the most important first."""
    found = [
        *_missing(AdviceAction.ADD_SAMPLES, training, needs.fewest_training, 1 - needs.held_out_share),
        *_found(AdviceAction.RESOLVE_CONTRADICTIONS, review.contradictions),
        *_missing(AdviceAction.ADD_HELD_OUT, held_out, needs.fewest_held_out, needs.held_out_share),
        *_small_kinds(review, needs),
        *_found(AdviceAction.FILL_ANSWERS, review.empty_answers),
        *_found(AdviceAction.SHORTEN, review.too_long, review.max_tokens),
        *_found(AdviceAction.REPLACE_REPEATED, review.repeated),
    ]
    return tuple(found)


def advice_on_base(right: int, answered: int) -> tuple[Advice, ...]:
    """Return what follows from the base model's own answers: nothing, unless at least half are right."""
    if answered == 0 or 2 * right < answered:
        return ()
    return (Advice(AdviceAction.TEACH_OTHER, right, right, answered),)


def _small_kinds(review: DatasetReview, needs: RowNeeds) -> list[Advice]:
    named = [kind for kind in review.kinds if kind.prompt or review.grouping.problem]
    if len(named) < 2 or review.grouping.sampled:
        return []  # a single kind needs as much as the whole, and a sample does not show how many there are
    small = [kind for kind in named if kind.training < needs.fewest_training][:NAMED_KINDS]
    share = 1 - needs.held_out_share
    return [
        advice
        for kind in small
        for advice in _missing(AdviceAction.ADD_TO_KIND, kind.training, needs.fewest_training, share, kind)
    ]


def _missing(action: AdviceAction, have: int, need: int, share: float, kind: Kind | None = None) -> list[Advice]:
    """Return the advice to add samples, of which this share counts."""
    return [Advice(action, math.ceil((need - have) / share), have, need, kind)] if have < need else []


def _found(action: AdviceAction, count: int, need: int = 0) -> list[Advice]:
    return [Advice(action, count, count, need)] if count else []
