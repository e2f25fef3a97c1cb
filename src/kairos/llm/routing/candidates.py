"""The models that a project may call: the shared ones, its own ones, and its adapters. Computed once per catalog
change."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import NamedTuple

from kairos.llm.catalog.catalog import FREE, Catalog, Model
from kairos.llm.health.availability import Availability
from kairos.llm.routing.decision import Request
from kairos.llm.routing.scoring import Exclusion, Reason


class CandidateModel(NamedTuple):
    """A model, with the values that a decision needs precomputed."""

    name: str
    model: Model
    input_price: float
    output_price: float
    priced: bool
    runner: str | None


class CandidateSet(NamedTuple):
    """The models that one project may call."""

    entries: tuple[CandidateModel, ...]
    constrained: bool
    """Whether any model is a canary, which may serve only a share of the requests, or unusable. Rarely true."""


class CandidateSets:
    """The candidate set of each project. Adapters of other projects are not in it, so decisions do not have to filter
    them."""

    def __init__(self, models: Iterable[Model]) -> None:
        catalog = Catalog(models)
        self._shared = _candidate_set(tuple(catalog))
        self._own = {owner: _candidate_set(catalog.of(owner)) for owner in catalog.owners}
        self.canaries = frozenset(model.name for model in catalog.every if model.share < 1.0)

    def of(self, project_id: Hashable) -> CandidateSet:
        return self._own.get(project_id, self._shared) if self._own else self._shared


def exclusion_of(
    model: Model, request: Request, cost: float, availability: Availability, bound: str | None
) -> Exclusion | None:
    """Return why the model may not be called for this request, or None if it may. `bound` is the model of its
    session."""
    name = model.name
    if request.model is not None and request.model != name:
        return Exclusion(name, Reason.NOT_NAMED, f"the caller requested {request.model}")
    if name in request.exclude:
        return Exclusion(name, Reason.TRIED, "already tried for this request")
    if request.canary_bucket >= model.share and request.model is None and bound != name:
        return Exclusion(name, Reason.CANARY, f"a canary for {model.share * 100:g} % of the requests, not for this one")
    if model.problem is not None:
        return Exclusion(name, Reason.UNUSABLE, model.problem)
    if request.local_only and not model.local:
        return Exclusion(name, Reason.NOT_LOCAL, "the prompt must not leave this machine")
    if request.context_tokens > model.context:
        return Exclusion(
            name, Reason.CONTEXT, f"{request.context_tokens} tokens of prompt and answer exceed its {model.context}"
        )
    if missing := request.capabilities - model.capabilities:
        return Exclusion(name, Reason.CAPABILITY, f"does not support {', '.join(sorted(missing))}")
    if request.budget_usd is not None and (cost < 0.0 or cost > request.budget_usd):
        price = "its price is unknown" if cost < 0.0 else f"would cost about {cost:.6f} USD"
        return Exclusion(name, Reason.BUDGET, f"{price}, {request.budget_usd:.6f} USD are left")
    if availability.open:
        return Exclusion(
            name, Reason.BREAKER, availability.reason or "its circuit breaker is open", availability.retry_at
        )
    return None


def _candidate_set(models: tuple[Model, ...]) -> CandidateSet:
    tiers = {model.name: model.tier for model in models}
    entries = tuple(_entry(model, tiers) for model in models)
    return CandidateSet(entries, any(model.share < 1.0 or model.problem is not None for model in models))


def _entry(model: Model, tiers: dict[str, float | None]) -> CandidateModel:
    """Build a candidate. An adapter without a tier has the tier of its base model."""
    if model.tier is None and model.base is not None:
        model = replace(model, tier=tiers.get(model.base))
    price = model.price or (FREE if model.local else None)
    if price is None:
        return CandidateModel(model.name, model, 0.0, 0.0, False, model.runner)
    return CandidateModel(model.name, model, price.input / 1e6, price.output / 1e6, True, model.runner)
