"""The preview of decisions: equal to the decision itself, without its effects, and with the reason for one model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.catalog.catalog import Model, Price
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.routing.decision import Decision
from kairos.llm.routing.routing_preview import ModelRouting, RoutingPreview, RoutingReason, TypicalRequest
from kairos.llm.routing.scoring import Reason, Term, uncertainty, weighted_terms
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import Observation, RouterWeights, Statistics
from kairos.tenancy import ProjectId, new_id

PROJECT = ProjectId(new_id())
NAMES = ("a", "b", "c")
PRICES = {"a": Price(1, 2), "b": Price(10, 20)}
OPEN = Availability(open=True, reason="its circuit breaker is open: down", retry_at=99.0)


def model(name: str, **values: object) -> Model:
    return Model(name, name, "http://models", **{"price": PRICES.get(name), **values})  # type: ignore[arg-type]


def selector(
    *models: Model, health: Mapping[str, Availability] | None = None, last_resort: str | None = None
) -> ModelSelector:
    known = health or {}
    return ModelSelector(
        models or [model(name) for name in NAMES],
        RouterWeights(),
        lambda name, now: known.get(name, HEALTHY),
        last_resort,
    )


def set_quality(router: ModelSelector, n: float = 1000, **means: float) -> None:
    now = time.time()
    rows = {name: Statistics(n=n, s=n * mean, q=n * mean, last_change=now) for name, mean in means.items()}
    router.restore(PROJECT, "t", int(n), rows)


async def already_loaded(project_id: ProjectId) -> None:
    """The statistics are in the selector."""


def preview(
    router: ModelSelector, name: str, default: str = "auto", *, local_only: bool = False, **values: object
) -> ModelRouting:
    previews = RoutingPreview(router, already_loaded, lambda: default)
    request = TypicalRequest("t", **values)  # type: ignore[arg-type]
    [found] = asyncio.run(previews.of(PROJECT, model(name), [request], local_only=local_only))
    return found


def shown(decision: Decision) -> tuple[object, ...]:
    return decision.chosen, decision.kind, decision.candidates, decision.excluded


OBSERVATIONS = st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1), st.floats(0.1, 30)), max_size=40)


@given(observations=OBSERVATIONS, blocked=st.sets(st.sampled_from(NAMES)), waiting=st.integers(0, 4))
def test_preview_is_the_next_decision_and_changes_nothing(
    observations: list[tuple[str, float, float]], blocked: set[str], waiting: int
):
    router = selector(health=dict.fromkeys(blocked, OPEN), last_resort="c")
    for name, quality, seconds in observations:
        router.observe(Observation(PROJECT, "t", name, 0.0, quality, latency_s=seconds))
    request = Request(PROJECT, "t")
    for _ in range(waiting):
        router.select(request, 0.0)
    previewed = [router.preview(request, 1.0) for _ in range(3)]
    assert {decision.ticket for decision in previewed} == {0}
    decided = router.select(request, 1.0)
    assert [shown(each) for each in previewed] == [shown(decided)] * 3


@given(observations=OBSERVATIONS, runner=st.booleans(), penalty=st.floats(0, 0.2))
def test_weighted_terms_add_up_to_the_utility(
    observations: list[tuple[str, float, float]], runner: bool, penalty: float
):
    models = (model("a", runner="gpu" if runner else None), model("b"), model("c"))
    router = selector(*models, health={"b": Availability(penalty=penalty)})
    router.loaded("gpu", "another")
    for name, quality, seconds in observations:
        router.observe(Observation(PROJECT, "t", name, 0.0, quality, latency_s=seconds))
    for score in router.preview(Request(PROJECT, "t"), 0.0).candidates:
        terms = weighted_terms(score, router.weights)
        assert set(terms) == set(Term)
        assert sum(terms.values()) == pytest.approx(score.utility)


def test_uncertainty_shrinks_with_observations():
    few, many = Statistics(n=4, s=2, q=2), Statistics(n=400, s=200, q=200)
    assert uncertainty(many, RouterWeights()) == pytest.approx(0.5 / 20, rel=0.05)
    assert uncertainty(many, RouterWeights()) < uncertainty(few, RouterWeights())
    assert uncertainty(few, RouterWeights()) < uncertainty(Statistics(), RouterWeights())


def test_uncertainty_is_that_of_the_memory_that_counts():
    """After a contradiction only the short memory counts, which holds few observations."""
    long_only = Statistics(n=400, s=360, q=360)
    contradicted = Statistics(n=400, s=360, q=360, short_n=10, short_s=1, short_q=1)
    assert uncertainty(contradicted, RouterWeights()) > 3 * uncertainty(long_only, RouterWeights())


def test_chosen_model_is_compared_with_the_best_other_one():
    router = selector()
    set_quality(router, a=0.95, b=0.3, c=0.6)
    found = preview(router, "a")
    assert (found.reason, found.chosen, found.deciding) == (RoutingReason.HIGHEST_SCORE, "a", Term.QUALITY)
    assert (found.own and found.own.score.model, found.rival and found.rival.score.model) == ("a", "c")


def test_other_model_is_compared_with_the_chosen_one():
    router = selector()
    set_quality(router, a=0.95, b=0.3, c=0.6)
    found = preview(router, "b")
    assert (found.reason, found.chosen, found.deciding) == (RoutingReason.LOWER_SCORE, "a", Term.QUALITY)
    assert found.rival is not None
    assert found.rival.score.model == "a"


def test_cost_decides_between_equally_good_models():
    router = selector(model("a"), model("b"))
    set_quality(router, a=0.9, b=0.9)
    assert preview(router, "b").deciding is Term.COST


def test_incumbent_is_kept_against_a_slightly_better_model():
    router = selector(model("a", price=None), model("b", price=None))
    set_quality(router, a=0.9, b=0.8)
    assert router.select(Request(PROJECT, "t"), 0.0).chosen == "a"
    set_quality(router, a=0.9, b=0.91)
    assert preview(router, "a").reason is RoutingReason.KEPT
    assert preview(router, "b").reason is RoutingReason.OTHER_KEPT


def test_unmeasured_model_is_chosen_for_exploration():
    router = selector()
    set_quality(router, n=30, a=0.5, b=0.5)
    assert preview(router, "c").reason is RoutingReason.EXPLORATION


def test_open_circuit_breaker_excludes_a_model():
    found = preview(selector(health={"b": OPEN}), "b")
    assert (found.reason, found.own) == (RoutingReason.EXCLUDED, None)
    assert found.exclusion is not None
    assert (found.exclusion.reason, found.exclusion.detail, found.exclusion.retry_at) == (
        Reason.BREAKER,
        OPEN.reason,
        99.0,
    )
    assert found.rival is not None, "the model that is chosen instead"


def test_last_resort_is_chosen_although_its_breaker_is_open():
    router = selector(health=dict.fromkeys(NAMES, OPEN), last_resort="b")
    assert preview(router, "b").reason is RoutingReason.LAST_RESORT
    other = preview(router, "a")
    assert (other.reason, other.chosen, other.rival) == (RoutingReason.EXCLUDED, "b", None)


def test_local_only_project_excludes_remote_models():
    router = selector(model("a"), model("b", local=True))
    found = preview(router, "a", local_only=True)
    assert found.exclusion is not None
    assert found.exclusion.reason is Reason.NOT_LOCAL
    assert preview(router, "b", local_only=True).reason is RoutingReason.ONLY_CANDIDATE


def test_configured_default_model_takes_every_call():
    router = selector()
    assert preview(router, "a", default="a").reason is RoutingReason.DEFAULT_MODEL
    found = preview(router, "b", default="a")
    assert (found.reason, found.chosen) == (RoutingReason.OTHER_DEFAULT, "a")


def test_typical_prompt_longer_than_the_context_excludes_a_model():
    router = selector(model("a", context=1000), model("b"))
    found = preview(router, "a", input_tokens=1000.5)
    assert found.exclusion is not None
    assert found.exclusion.reason is Reason.CONTEXT
    assert preview(router, "a", input_tokens=1000.0).exclusion is None


def test_canary_is_previewed_for_the_requests_that_it_may_serve():
    canary = model("c", share=0.1)
    router = selector(model("a"), canary)
    previews = RoutingPreview(router, already_loaded, lambda: "auto")
    requests = [TypicalRequest("t")]
    [own] = asyncio.run(previews.of(PROJECT, canary, requests, local_only=False))
    assert own.own is not None
    [other] = asyncio.run(previews.of(PROJECT, model("a"), requests, local_only=False))
    assert other.reason is RoutingReason.ONLY_CANDIDATE
