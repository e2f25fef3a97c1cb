"""Adapters among the candidates: each for its own project, and a canary for its share of the requests."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.judge import sampled
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.availability import HEALTHY, Availability
from kairos.llm.routing.decision import canary_bucket_of
from kairos.llm.routing.scoring import DecisionKind, Reason
from kairos.llm.routing.selection import ModelSelector, Request
from kairos.llm.routing.statistics import RouterWeights, Statistics
from kairos.tenancy import ProjectId

OWNERS = tuple(ProjectId(uuid4()) for _ in range(3))
OURS = OWNERS[0]
WEIGHTS = RouterWeights(lambda_cost=0.0, lambda_latency=0.0)
SHARED = ("base", "other")


def model(name: str, **values: object) -> Model:
    return Model(name, name, "http://models", **values)  # type: ignore[arg-type]


def adapter(name: str, owner: ProjectId = OURS, **values: object) -> Model:
    return model(name, base="base", project_id=owner, **values)


def selector(*adapters: Model, **values: object) -> ModelSelector:
    return ModelSelector([*map(model, SHARED), *adapters], WEIGHTS, **values)  # type: ignore[arg-type]


def set_quality(router: ModelSelector, **means: float) -> None:
    rows = {name: Statistics(n=1000, s=1000 * mean, q=1000 * mean) for name, mean in means.items()}
    router.restore(OURS, "t", 1000, rows)


def decide(router: ModelSelector, project_id: ProjectId = OURS, **values: object):
    return router.select(Request(project_id, "t", **values), 0.0)  # type: ignore[arg-type]


ADAPTERS = st.lists(
    st.tuples(st.sampled_from(OWNERS), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.booleans()), max_size=8
)


@given(
    drawn=ADAPTERS,
    project=st.sampled_from(OWNERS),
    canary_bucket=st.floats(0, 1, exclude_max=True),
    session=st.sampled_from([None, "s"]),
    excluded=st.sets(st.sampled_from([*SHARED, "a0", "a1"])),
    named=st.sampled_from([None, "base", "a0", "a1"]),
    last_resort=st.sampled_from([None, "other"]),
)
def test_adapter_of_another_project_is_never_chosen_scored_or_named(
    drawn, project, canary_bucket, session, excluded, named, last_resort
):
    adapters = [adapter(f"a{i}", owner, share=share) for i, (owner, share, _) in enumerate(drawn)]
    unavailable = {f"a{i}" for i, (_, _, down) in enumerate(drawn) if down}

    def health(name: str, now: float, /) -> Availability:
        return Availability(True, f"{name} is down", 9.0) if name in unavailable else HEALTHY

    router = selector(*adapters, health=health, last_resort=last_resort)
    own = {*SHARED, *(each.name for each in adapters if each.project_id == project)}
    values = {"canary_bucket": canary_bucket, "session": session, "exclude": frozenset(excluded), "model": named}
    for owner in OWNERS:
        decide(router, owner, **values)  # earlier decisions of other projects must not matter
    decision = decide(router, project, **values)
    seen = {*decision.ranked, *(exclusion.model for exclusion in decision.excluded)}
    assert seen == own, "exactly the project's models are ranked or excluded"
    assert decision.chosen in {None, *own}
    assert set(router._experience.project(project).models) <= own, "no statistics exist for other models"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_canary_serves_about_its_share_of_many_requests(share: float):
    router = selector(adapter("trial", share=share))
    set_quality(router, base=0.2, other=0.2, trial=0.9)
    requests = 4000
    chosen = [decide(router, canary_bucket=canary_bucket_of(uuid4())).chosen for _ in range(requests)]
    error = (share * (1 - share) / requests) ** 0.5
    assert abs(chosen.count("trial") / requests - share) < 6 * error, (
        "six standard errors: exceeded by chance once in 5e8 runs"
    )


def test_judge_sampling_is_independent_of_the_canary_bucket():
    ids = [uuid4() for _ in range(4000)]
    in_canary = [each for each in ids if canary_bucket_of(each) < 0.1]
    judged = sum(sampled(each, 0.1) for each in in_canary) / len(in_canary)
    assert judged < 0.25, "with the same hash, all would be judged"


def test_canary_bucket_of_a_decision_is_deterministic():
    one = uuid4()
    assert canary_bucket_of(one) == canary_bucket_of(one)
    assert 0 <= canary_bucket_of(one) < 1


def test_canary_outside_its_share_is_excluded_with_a_reason():
    decision = decide(selector(adapter("trial", share=0.07)), canary_bucket=0.07)
    assert set(decision.ranked) == set(SHARED)
    (exclusion,) = decision.excluded
    assert (exclusion.model, exclusion.reason) == ("trial", Reason.CANARY)
    assert exclusion.detail == "a canary for 7 % of the requests, not for this one"


def test_caller_can_name_a_canary():
    decision = decide(selector(adapter("trial", share=0.0)), canary_bucket=0.9, model="trial")
    assert (decision.chosen, decision.kind) == ("trial", DecisionKind.ONLY)


def test_session_keeps_its_canary():
    router = selector(adapter("trial", share=0.1))
    set_quality(router, base=0.2, other=0.2, trial=0.9)
    assert decide(router, session="s", canary_bucket=0.05).chosen == "trial"
    assert decide(router, session="s", canary_bucket=0.95).chosen == "trial"
    assert decide(router, session="another", canary_bucket=0.95).chosen != "trial"


def test_fallback_respects_the_share():
    router = selector(adapter("trial", share=0.1))
    assert decide(router, canary_bucket=0.5, exclude=frozenset(SHARED)).chosen is None
    assert decide(router, canary_bucket=0.05, exclude=frozenset(SHARED)).chosen == "trial"


def test_canary_does_not_become_the_incumbent():
    """Otherwise requests outside its share would have no incumbent and alternate between equal models."""
    router = selector(adapter("trial", share=0.1))
    set_quality(router, base=0.70, other=0.69, trial=0.9)
    assert decide(router, canary_bucket=0.5).chosen == "base"
    set_quality(router, base=0.69, other=0.70, trial=0.9)
    assert decide(router, canary_bucket=0.05).chosen == "trial"
    assert decide(router, canary_bucket=0.5).chosen == "base"


@pytest.mark.parametrize(("tier", "prior"), [(None, 0.9), (0.4, 0.4)])
def test_adapter_without_a_tier_has_the_prior_of_its_base(tier: float | None, prior: float):
    router = ModelSelector([model("base", tier=0.9), adapter("a1", tier=tier)], WEIGHTS)
    (score,) = (score for score in decide(router).candidates if score.model == "a1")
    assert score.prior == pytest.approx(prior)


def test_promoted_adapter_is_added_and_removed_adapter_is_gone():
    router = selector(adapter("a1", share=0.0))
    set_quality(router, base=0.2, other=0.2, a1=0.9, a2=0.9)
    assert decide(router, canary_bucket=0.5).chosen != "a1"
    router.replace_models([*map(model, SHARED), adapter("a1")])
    assert decide(router, canary_bucket=0.5).chosen == "a1"
    router.replace_models([*map(model, SHARED), adapter("a2")])
    assert set(decide(router, canary_bucket=0.5).ranked) == {*SHARED, "a2"}
