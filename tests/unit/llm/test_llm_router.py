"""The router's choice by context, also when no model has room for the longest answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kairos.http import HttpClient
from kairos.llm.calls.call_errors import ModelServerError
from kairos.llm.calls.providers import Providers
from kairos.llm.calls.served_context import CLOUD_CONTEXT
from kairos.llm.catalog.catalog import Catalog, Model
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.decision import Request, ScoredCandidate
from kairos.llm.routing.llm_router import LLMRouter
from kairos.llm.routing.selection import ModelSelector
from kairos.llm.routing.statistics import RouterWeights

SMALL = Model("small", "small", "http://127.0.0.1:1/v1", context=4096)
OTHER = Model("other", "other", "http://127.0.0.1:2/v1", context=8192)


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with HttpClient() as http:
        yield Providers(http)


def router_of(providers: Providers, *models: Model, last_resort: str | None = None) -> LLMRouter:
    """Build a router without the parts that a choice does not use."""
    catalog, health = Catalog(models), ModelHealth()
    unused: Any = None
    return LLMRouter(
        catalog=catalog,
        selector=ModelSelector(catalog, health=health, last_resort=last_resort),
        health=health,
        providers=providers,
        task_types=unused,
        cache=unused,
        database=unused,
        may_probe=unused,
    )


def request_for(context: int, least: int, **values: Any) -> Request:
    return Request("p", "t", context_tokens=context, min_context_tokens=least, **values)


def test_first_choice_uses_the_actual_contexts_of_models(providers: Providers):
    cloud = Model("cloud", "cloud", "https://cloud.test/v1", context_declared=False)
    router = router_of(providers, cloud)
    assert cloud.context < CLOUD_CONTEXT
    assert router.select_model(request_for(CLOUD_CONTEXT, CLOUD_CONTEXT)).chosen == "cloud"


def test_model_with_room_for_a_shorter_answer_precedes_the_last_resort(providers: Providers):
    router = router_of(
        providers, SMALL, Model("tiny", "tiny", "http://127.0.0.1:3/v1", context=512), last_resort="tiny"
    )
    decision = router.select_model(request_for(100_000, 1_000))
    assert (decision.chosen, decision.ranked) == ("small", ("small",))


def test_model_with_room_for_a_shorter_answer_is_used_after_a_failure(providers: Providers):
    router = router_of(providers, SMALL, OTHER)
    decision = router.select_model(request_for(8_000, 1_000))
    assert decision.chosen == "other"
    error = ModelServerError(model="other", http_status=503, reason="overloaded")
    following = router._after_failure(decision, OTHER, error, time.monotonic() + 5)
    assert following.chosen == "small"


def test_discarded_choice_does_not_count_as_pending(providers: Providers):
    router = router_of(providers, SMALL, last_resort="small")
    decision = router.select_model(request_for(100_000, 1_000))
    assert list(router._selector._pending) == [decision.ticket]


def test_choice_follows_the_calculated_scores(providers: Providers, monkeypatch: pytest.MonkeyPatch):
    router = router_of(providers, SMALL, OTHER)
    calculate = router._calculate_model_score

    def prefer(preferred: str):
        def score(model: str, *rest: Any) -> ScoredCandidate | None:
            found = calculate(model, *rest)
            return found and found._replace(utility=1.0 if model == preferred else 0.0)

        return score

    for name in ("small", "other", "small"):
        monkeypatch.setattr(router, "_calculate_model_score", prefer(name))
        decision = router.select_model(request_for(1_000, 1_000))
        assert decision.chosen == name
        assert [score.utility for score in decision.candidates] == [1.0, 0.0]


def test_score_of_a_model_is_its_score_in_a_decision(providers: Providers):
    router = router_of(providers, SMALL, OTHER)
    alone = router._calculate_model_score("other", "t", "p")
    assert alone
    decision = router.select_model(Request("p", "t"))
    (scored,) = [score for score in decision.candidates if score.model == "other"]
    assert alone.score().mu == scored.mu
    assert router._calculate_model_score("nobody", "t", "p") is None


def test_changed_weights_apply_to_decisions_and_to_observations(providers: Providers):
    """Observations fade by the weights, so both copies must change."""
    router = router_of(providers, SMALL)
    weights = RouterWeights(gamma=0.5)
    router.reweigh(weights, "auto", "small")
    selector = router._selector
    assert (selector.weights, selector._experience.weights, selector.last_resort) == (weights, weights, "small")
