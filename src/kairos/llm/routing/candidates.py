"""What a project may choose from: the shared models and its own adapters, looked up once and not at every decision."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import NamedTuple

from kairos.llm.catalog.catalog import FREE, Catalog, Model
from kairos.llm.health.availability import Availability
from kairos.llm.routing.decision import Request
from kairos.llm.routing.scoring import Exclusion, Reason


class Entry(NamedTuple):
    """A model with what a decision needs of it."""

    name: str
    model: Model
    input_price: float
    output_price: float
    priced: bool
    runner: str | None


class Offer(NamedTuple):
    """The models of one project."""

    entries: tuple[Entry, ...]
    trials: bool
    """Whether only a share of the requests may go to some of them; mostly not."""


class Offers:
    """The offer of every project. Adapters of other projects are no part of it, so no decision passes them by."""

    def __init__(self, models: Iterable[Model]) -> None:
        catalog = Catalog(models)
        self._shared = _offer(tuple(catalog))
        self._own = {owner: _offer(catalog.of(owner)) for owner in catalog.owners}
        self.on_trial = frozenset(model.name for model in (*catalog, *catalog.adapters) if model.share < 1.0)

    def of(self, project_id: Hashable) -> Offer:
        return self._own.get(project_id, self._shared) if self._own else self._shared


def refusal(
    model: Model, request: Request, cost: float, availability: Availability, bound: str | None
) -> Exclusion | None:
    """Why the model may not be called for this request, if so (design.md, 1). `bound` is the model of its session."""
    name = model.name
    if request.model is not None and request.model != name:
        return Exclusion(name, Reason.NOT_NAMED, f"the caller named {request.model}")
    if name in request.exclude:
        return Exclusion(name, Reason.TRIED, "already tried for this request")
    if request.lot >= model.share and request.model is None and bound != name:
        return Exclusion(name, Reason.CANARY, f"on trial for {model.share * 100:g} % of the requests, not for this one")
    if request.local_only and not model.local:
        return Exclusion(name, Reason.NOT_LOCAL, "the prompt must not leave this machine")
    if request.context_tokens > model.context:
        return Exclusion(
            name, Reason.CONTEXT, f"{request.context_tokens} tokens of prompt and answer exceed its {model.context}"
        )
    if missing := request.capabilities - model.capabilities:
        return Exclusion(name, Reason.CAPABILITY, f"lacks {', '.join(sorted(missing))}")
    if request.budget_usd is not None and (cost < 0.0 or cost > request.budget_usd):
        price = "its price is unknown" if cost < 0.0 else f"would cost about {cost:.6f} USD"
        return Exclusion(name, Reason.BUDGET, f"{price}, {request.budget_usd:.6f} USD are left")
    if availability.open:
        return Exclusion(name, Reason.BREAKER, availability.reason or "its breaker is open", availability.retry_at)
    return None


def _offer(models: tuple[Model, ...]) -> Offer:
    tiers = {model.name: model.tier for model in models}
    entries = tuple(_entry(model, tiers) for model in models)
    return Offer(entries, any(model.share < 1.0 for model in models))


def _entry(model: Model, tiers: dict[str, float | None]) -> Entry:
    """An adapter without a tier has that of its base: it was made of it."""
    if model.tier is None and model.base is not None:
        model = replace(model, tier=tiers.get(model.base))
    price = model.price or (FREE if model.local else None)
    if price is None:
        return Entry(model.name, model, 0.0, 0.0, False, model.runner)
    return Entry(model.name, model, price.input / 1e6, price.output / 1e6, True, model.runner)
