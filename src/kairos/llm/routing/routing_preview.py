"""The decision that the router would make now, as seen by one model: its score, its rival, and the reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil

from kairos.llm.catalog.catalog import Model
from kairos.llm.routing.decision import Decision, Request
from kairos.llm.routing.scoring import DecisionKind, Exclusion, Score, Term, weighted_terms
from kairos.llm.routing.selection import ModelSelector
from kairos.model_names import AUTO
from kairos.tenancy import ProjectId

MEDIAN_BUCKET = 0.5
"""Canary bucket of the median request. A canary itself is previewed for the requests that it may serve."""


class RoutingReason(StrEnum):
    """The reason why the router would or would not choose a model now."""

    HIGHEST_SCORE = "highest_score"
    EXPLORATION = "exploration"
    """Chosen because of its exploration bonus."""
    KEPT = "kept"
    """Chosen as the incumbent, which no other model beats by more than the margin."""
    ONLY_CANDIDATE = "only_candidate"
    DEFAULT_MODEL = "default_model"
    """`default_llm_model` names it."""
    LAST_RESORT = "last_resort"
    """Called although its circuit breaker is open, because no other model can be called."""
    LOWER_SCORE = "lower_score"
    OTHER_KEPT = "other_kept"
    """Not chosen, because its score does not exceed the incumbent's by more than the margin."""
    OTHER_DEFAULT = "other_default"
    """`default_llm_model` names another model."""
    EXCLUDED = "excluded"


CHOSEN = {
    DecisionKind.EXPLOIT: RoutingReason.HIGHEST_SCORE,
    DecisionKind.EXPLORE: RoutingReason.EXPLORATION,
    DecisionKind.STICKY: RoutingReason.KEPT,
    DecisionKind.ONLY: RoutingReason.ONLY_CANDIDATE,
    DecisionKind.FALLBACK: RoutingReason.LAST_RESORT,
}


@dataclass(frozen=True, slots=True)
class TypicalRequest:
    """A typical request of a task type."""

    task_type: str
    input_tokens: float | None = None
    """None if unknown."""


@dataclass(frozen=True, slots=True)
class PreviewedScore:
    """A candidate's score with its weighted terms."""

    score: Score
    terms: Mapping[Term, float]
    """Their sum is the utility."""
    uncertainty: float
    """Standard error of the expected quality."""


@dataclass(frozen=True, slots=True)
class ModelRouting:
    """What the router would do with one model for a typical request of a task type."""

    task_type: str
    reason: RoutingReason
    chosen: str | None
    """None if no model can be called."""
    own: PreviewedScore | None
    """None if the model is excluded."""
    rival: PreviewedScore | None
    """The chosen candidate; for the chosen model, the best other one."""
    deciding: Term | None
    """The term in which the better of both is furthest ahead; None without a rival."""
    exclusion: Exclusion | None


class RoutingPreview:
    """Previews decisions with the statistics, health and weights of this process. Counts and changes nothing."""

    def __init__(
        self, selector: ModelSelector, load: Callable[[ProjectId], Awaitable[None]], default_model: Callable[[], str]
    ) -> None:
        """`load` loads a project's statistics into the selector. `default_model` returns the model for all calls that
        do not name one; `auto` lets the router choose."""
        self._selector = selector
        self._load = load
        self._default_model = default_model

    async def of(
        self, project_id: ProjectId, model: Model, requests: Iterable[TypicalRequest], *, local_only: bool
    ) -> list[ModelRouting]:
        """Preview the decision for each of these requests of the project."""
        await self._load(project_id)
        now, found = time.time(), []
        for each in requests:
            found.append(self._preview(self._request(project_id, model, each, local_only), model.name, now))
            await asyncio.sleep(0)  # with thousands of models, a preview takes some milliseconds
        return found

    def _request(self, project_id: ProjectId, model: Model, typical: TypicalRequest, local_only: bool) -> Request:
        named = self._default_model()
        request = Request(
            project_id,
            typical.task_type,
            local_only=local_only,
            model=None if named == AUTO else named,
            canary_bucket=MEDIAN_BUCKET if model.share >= 1.0 else 0.0,
        )
        tokens = typical.input_tokens
        return request if tokens is None else replace(request, input_tokens=tokens, context_tokens=ceil(tokens))

    def _preview(self, request: Request, model: str, now: float) -> ModelRouting:
        decision = self._selector.preview(request, now)
        chosen = decision.chosen
        other = next((name for name in decision.ranked if name != model), None) if chosen == model else chosen
        own, rival = self._scored(decision, model), self._scored(decision, other)
        exclusion = next((each for each in decision.excluded if each.model == model), None)
        return ModelRouting(
            task_type=request.task_type,
            reason=_reason(decision, model, own, rival),
            chosen=chosen,
            own=own,
            rival=rival,
            deciding=_deciding(own, rival),
            exclusion=exclusion,
        )

    def _scored(self, decision: Decision, model: str | None) -> PreviewedScore | None:
        score = None if model is None else decision.score_of(model)
        if score is None:
            return None
        request, weights = decision.request, self._selector.weights
        uncertainty = self._selector.uncertainty(request.project_id, request.task_type, score.model, decision.at)
        return PreviewedScore(score, weighted_terms(score, weights), uncertainty)


def _reason(decision: Decision, model: str, own: PreviewedScore | None, rival: PreviewedScore | None) -> RoutingReason:
    named = decision.request.model
    if decision.chosen == model:
        kind = decision.kind or DecisionKind.ONLY
        return RoutingReason.DEFAULT_MODEL if named and kind is DecisionKind.ONLY else CHOSEN[kind]
    if named and named != model:
        return RoutingReason.OTHER_DEFAULT
    if own is None:
        return RoutingReason.EXCLUDED
    kept = rival is not None and own.score.utility >= rival.score.utility
    return RoutingReason.OTHER_KEPT if kept else RoutingReason.LOWER_SCORE


def _deciding(own: PreviewedScore | None, rival: PreviewedScore | None) -> Term | None:
    """Return the term in which the model with the higher utility is furthest ahead of the other one."""
    if own is None or rival is None:
        return None
    better, other = sorted((own, rival), key=lambda each: -each.score.utility)
    return max(Term, key=lambda term: better.terms[term] - other.terms[term])
