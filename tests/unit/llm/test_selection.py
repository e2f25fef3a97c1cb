"""The selection of a model: candidates, the winner, incumbents and sessions, and the explanation of a decision."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.catalog.catalog import FREE, Model, Price
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.routing.scoring import DecisionKind, Reason
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import Observation, RouterWeights, Statistics

NAMES = ("a", "b", "c")
QUALITY_ALONE = RouterWeights(lambda_cost=0.0, lambda_latency=0.0)


def model(name: str, **values: object) -> Model:
    return Model(name, name, "http://models", **values)  # type: ignore[arg-type]


def selector(*models: Model, weights: RouterWeights = QUALITY_ALONE, **values: object) -> ModelSelector:
    return ModelSelector(models or [model(name) for name in NAMES], weights, **values)  # type: ignore[arg-type]


def observe(router: ModelSelector, name: str, quality: float, times: int = 30, task_type: str = "t") -> None:
    for _ in range(times):
        router.observe(Observation("p", task_type, name, 0.0, quality))


def set_quality(router: ModelSelector, n: float = 1000, **means: float) -> None:
    """Set the mean quality of each model, with the same number of measurements."""
    rows = {name: Statistics(n=n, s=n * mean, q=n * mean) for name, mean in means.items()}
    router.restore("p", "t", int(n), rows)


def decide(router: ModelSelector, now: float = 0.0, **values: object):
    return router.select(Request("p", "t", **values), now)  # type: ignore[arg-type]


def test_router_learns_to_prefer_the_best_model():
    router = selector()
    good = {"a": 0.3, "b": 0.9, "c": 0.5}
    for step in range(100):
        decision = decide(router, step)
        assert decision.chosen is not None
        router.observe(Observation("p", "t", decision.chosen, step, good[decision.chosen]), decision.ticket)
    assert (decide(router).chosen, decide(router).kind) == ("b", DecisionKind.EXPLOIT)


def test_quality_on_other_task_types_is_the_prior():
    router = selector()
    observe(router, "b", 0.95, task_type="elsewhere")
    observe(router, "a", 0.1, task_type="elsewhere")
    decision = decide(router)
    assert decision.chosen == "b"
    scores = {score.model: score for score in decision.candidates}
    assert scores["b"].prior > 0.6 > scores["a"].prior
    assert scores["b"].prior_share == 1.0


def test_unmeasured_model_is_explored():
    router = selector()
    for name, quality in (("a", 0.6), ("b", 0.5)):
        observe(router, name, quality)
    assert (decide(router).chosen, decide(router).kind) == ("c", DecisionKind.EXPLORE)


def test_every_term_adds_up_to_the_utility():
    weights = RouterWeights(lambda_cost=0.2, lambda_latency=0.3)
    models = (model("a", price=Price(1, 2)), model("b", price=Price(10, 20), runner="gpu"), model("c", local=True))
    router = selector(
        *models, weights=weights, health=lambda name, now: Availability(penalty=0.1) if name == "a" else HEALTHY
    )
    router.loaded("gpu", "another")
    router.observe(Observation("p", "t", "a", 0.0, 0.8, 0.5, 4.0, 100.0, 0.01, 100, 200))
    for score in decide(router).candidates:
        terms = score.mu + score.bonus - 0.2 * score.cost - 0.3 * score.latency - score.health - score.switching
        assert score.utility == pytest.approx(terms)
    scores = {score.model: score for score in decide(router).candidates}
    assert scores["a"].expected_latency_s == pytest.approx(0.5 + 200 / 100)
    assert (scores["a"].health, scores["b"].switching) == (0.1, weights.switching)
    assert scores["c"].expected_cost == 0.0


def test_terms_of_a_decision_do_not_change_afterwards():
    router = selector()
    decision = decide(router)
    pending, mu = decision.candidates[0].pending, decision.candidates[0].mu
    observe(router, "a", 0.0)
    assert (decision.candidates[0].pending, decision.candidates[0].mu) == (pending, mu)


@pytest.mark.parametrize(
    ("wanted", "refused", "reason"),
    [
        ({"context_tokens": 9000}, model("x"), Reason.CONTEXT),
        ({"capabilities": frozenset({"tools"})}, model("x"), Reason.CAPABILITY),
        ({"local_only": True}, model("x"), Reason.NOT_LOCAL),
        ({"budget_usd": 1e-6}, model("x", price=Price(10, 10)), Reason.BUDGET),
        ({"budget_usd": 1e-6}, model("x"), Reason.BUDGET),
        ({"exclude": frozenset({"x"})}, model("x"), Reason.TRIED),
        ({"model": "fits"}, model("x"), Reason.NOT_NAMED),
    ],
)
def test_unsuitable_model_is_excluded_with_a_reason(wanted, refused, reason):
    fits = model("fits", local=True, context=32000, capabilities=frozenset({"tools"}), price=FREE)
    router = selector(refused, fits)
    observe(router, "x", 1.0)
    observe(router, "fits", 0.0)
    decision = decide(router, **wanted)
    assert decision.ranked == ("fits",)
    assert [(e.model, e.reason) for e in decision.excluded] == [("x", reason)]


@given(excluded=st.sets(st.sampled_from(NAMES)), best=st.sampled_from(NAMES), session=st.sampled_from([None, "s"]))
def test_excluded_model_is_never_chosen(excluded, best, session):
    router = selector()
    observe(router, best, 1.0)
    decide(router, session=session)
    decision = decide(router, exclude=frozenset(excluded), session=session)
    assert not excluded & set(decision.ranked)
    assert (decision.chosen is None) == (len(excluded) == 3)
    if 0 < len(excluded) < 3:
        assert decision.kind is DecisionKind.FALLBACK


@given(price=st.floats(0, 100), quality=st.floats(0, 1), times=st.integers(0, 20), weight=st.floats(0, 1))
def test_unknown_price_never_beats_a_free_model_of_equal_quality(price, quality, times, weight):
    models = (model("unknown"), model("free", price=FREE), model("other", price=Price(price, price)))
    router = selector(*models, weights=RouterWeights(lambda_cost=weight))
    set_quality(router, times, unknown=quality, free=quality)
    scores = {score.model: score for score in decide(router).candidates}
    assert scores["unknown"].utility <= scores["free"].utility
    assert scores["unknown"].expected_cost is None


@given(seed=st.integers(0, 1000))
def test_choices_are_deterministic(seed):
    def choices() -> list[tuple[str | None, DecisionKind | None]]:
        router, draws, made = selector(), random.Random(seed), []
        for step in range(30):
            decision = decide(router, step)
            assert decision.chosen is not None
            router.observe(Observation("p", "t", decision.chosen, step, draws.random()), decision.ticket)
            made.append((decision.chosen, decision.kind))
        return made

    assert choices() == choices()


def test_incumbent_stays_until_another_model_exceeds_it_by_the_margin():
    router = selector(model("a"), model("b"))
    set_quality(router, a=0.80, b=0.50)
    assert (decide(router).chosen, decide(router).kind) == ("a", DecisionKind.EXPLOIT)
    set_quality(router, a=0.80, b=0.81)
    kept = decide(router)
    assert (kept.chosen, kept.kind) == ("a", DecisionKind.STICKY)
    assert -0.02 < kept.margin < 0
    set_quality(router, a=0.80, b=0.83)
    assert (decide(router).chosen, decide(router).kind) == ("b", DecisionKind.EXPLOIT)


def test_session_keeps_its_model_until_it_fails_without_affecting_others():
    router = selector()
    set_quality(router, a=0.9, b=0.5, c=0.1)
    assert decide(router, session="s").chosen == "a"
    set_quality(router, a=0.5, b=0.9, c=0.1)
    assert (decide(router, session="s").chosen, decide(router, session="s").kind) == ("a", DecisionKind.STICKY)
    assert decide(router).chosen == "b"
    failed = decide(router, session="s", exclude=frozenset({"a"}))
    assert (failed.chosen, failed.kind) == ("b", DecisionKind.FALLBACK)
    assert decide(router, session="s").chosen == "b"


def test_model_of_a_session_does_not_become_the_incumbent():
    router = selector()
    set_quality(router, a=0.90, b=0.89, c=0.1)
    assert decide(router, session="s").chosen == "a"
    set_quality(router, a=0.89, b=0.90, c=0.1)
    assert decide(router, session="s").chosen == "a"
    assert decide(router).chosen == "b"


def test_fallback_does_not_become_the_incumbent():
    router = selector()
    set_quality(router, a=0.9, b=0.89, c=0.1)
    assert decide(router).chosen == "a"
    set_quality(router, a=0.9, b=0.905, c=0.1)
    assert decide(router, exclude=frozenset({"a"})).chosen == "b"
    assert decide(router).chosen == "a"


def test_decision_is_pending_until_its_verdict_or_its_expiry():
    router = selector(weights=RouterWeights(pending_expiry_s=60))
    first = decide(router, 0.0)
    assert first.chosen is not None
    assert router.statistics("p", "t", first.chosen, 0.0).pending == 1
    router.release(first.ticket)
    router.release(first.ticket)
    assert router.statistics("p", "t", first.chosen, 0.0).pending == 0
    second = decide(router, 10.0)
    assert second.chosen is not None
    assert (router.expire(69.0), router.expire(70.0)) == (0, 1)
    assert router.statistics("p", "t", second.chosen, 70.0).pending == 0


def test_simultaneous_requests_explore_different_models():
    """A hundred requests before the first verdict do not all try the same unknown model."""
    chosen = {decide(router).chosen for router in [selector()] for _ in range(30)}
    assert chosen == set(NAMES)


def test_open_breaker_excludes_its_model_and_gives_the_retry_time():
    out = {"a": 50.0, "b": 20.0, "c": 90.0}
    router = selector(health=lambda name, now: Availability(now < out[name], "down", out[name]))
    assert decide(router, 30.0).chosen == "b"
    decision = decide(router, 10.0)
    assert (decision.chosen, decision.kind, decision.retry_at, decision.ticket) == (None, None, 20.0, 0)
    assert {e.reason for e in decision.excluded} == {Reason.BREAKER}


def test_last_resort_is_used_if_only_its_breaker_excludes_it():
    router = selector(health=lambda name, now: Availability(True, "down", 9.0), last_resort="c")
    assert (decide(router).chosen, decide(router).kind) == ("c", DecisionKind.FALLBACK)
    assert decide(router, local_only=True).chosen is None
    assert decide(router, exclude=frozenset({"c"})).chosen is None


def test_named_model_is_the_only_candidate():
    router = selector()
    observe(router, "a", 1.0)
    assert (decide(router, model="c").chosen, decide(router, model="c").kind) == ("c", DecisionKind.ONLY)
    assert decide(router).chosen == "a"


def test_statistics_survive_changes_of_the_models():
    router = selector()
    observe(router, "a", 1.0, 50)
    router.replace_models([model("b"), model("d")])
    assert set(decide(router).ranked) == {"b", "d"}
    router.replace_models([model("a"), model("d")])
    scores = {score.model: score for score in decide(router).candidates}
    assert scores["a"].n > 40
    assert scores["d"].n == 0


def test_model_switch_of_a_shared_runner_must_outweigh_its_cost():
    router = selector(model("base", runner="gpu"), model("adapter", runner="gpu"))
    observe(router, "base", 0.70, 300)
    observe(router, "adapter", 0.73, 300)
    router.loaded("gpu", "base")
    assert decide(router).chosen == "base"
    router.loaded("gpu", "adapter")
    assert decide(router).chosen == "adapter"


def test_cost_of_a_model_includes_its_usual_output():
    weights = RouterWeights(lambda_cost=0.5, lambda_latency=0.0)
    router = selector(model("a", price=Price(0, 1)), model("b", price=Price(0, 1)), weights=weights)
    for name, tokens in (("a", 4000.0), ("b", 100.0)):
        router.observe(Observation("p", "t", name, 0.0, 0.7, output_tokens=tokens))
    assert decide(router).chosen == "b"


def test_score_of_one_model_equals_its_score_in_a_decision():
    router = selector()
    observe(router, "b", 0.8)
    inputs = router.score_inputs(Request("p", "t"), "b", 0.0)
    assert inputs
    assert router.calculate_score(inputs).score() == next(
        score for score in decide(router).candidates if score.model == "b"
    )
    assert router.score_inputs(Request("p", "t"), "nobody", 0.0) is None
