"""The replay of a recorded table through the production classes. The table is synthetic; no times are measured."""

from __future__ import annotations

import random

import pytest

from kairos.errors import InvalidInput
from kairos.llm.replay.baselines import ReplayOutcome
from kairos.llm.replay.replay import ReplayOptions, Scenario, replay
from kairos.llm.replay.replay_report import ReplayRun
from kairos.llm.replay.replay_table import ReplayTable
from kairos.llm.routing.statistics import RouterWeights

TRUTH = {"code": {"fast": 0.85, "weak": 0.2, "strong": 0.8}, "essay": {"fast": 0.3, "weak": 0.25, "strong": 0.75}}
COST = {"fast": 0.0001, "weak": 0.0002, "strong": 0.01}


def table(rows: int = 1000, seed: int = 1) -> ReplayTable:
    draws, models = random.Random(seed), ("fast", "weak", "strong")
    types = tuple(draws.choice(("code", "essay")) for _ in range(rows))
    quality = tuple(tuple(float(draws.random() < TRUTH[t][m]) for m in models) for t in types)
    cost = tuple(tuple(COST[m] for m in models) for _ in types)
    return ReplayTable(models, types, quality, cost)


def figures(report, player: str = "kairos") -> dict[str, float]:
    return report.to_dict()[player]


def test_kairos_regrets_less_than_thompson_and_far_less_than_chance():
    report = replay(table(), ReplayOptions(orders=12))
    assert figures(report)["regret"] < 0.8 * figures(report, "thompson")["regret"]
    assert figures(report)["regret"] < 0.2 * figures(report, "random")["regret"]
    assert figures(report)["switch_rate"] < 0.12
    assert figures(report)["quality"] > 0.75


def test_report_has_the_same_names_for_every_player():
    report = replay(table(60), ReplayOptions(orders=2)).to_dict()
    assert list(report) == ["kairos", "thompson", "random"]
    names = {"quality", "cost", "utility", "regret", "switch_rate", "decision_us_p50", "decision_us_p99"}
    for player in report.values():
        assert names <= player.keys()
        assert all(isinstance(player[name], float) for name in names)


def test_regret_utility_and_cost_match_their_definitions():
    """With one model every player makes the same choices, so each figure can be computed by hand."""
    one = ReplayTable(("m",), ("t", "t"), ((1.0,), (0.5,)), ((0.02,), (0.04,)))
    for player in replay(one, ReplayOptions(lambda_cost=0.3, orders=1)).to_dict().values():
        assert player["regret"] == pytest.approx(0.0)
        assert player["utility"] == player["quality"] == 0.75
        assert player["cost"] == pytest.approx(0.03)
        assert player["switch_rate"] == 0.0


def test_switches_are_counted_within_a_task_type():
    run = ReplayRun()
    for task_type, model in (("t", 0), ("u", 1), ("t", 0), ("u", 0), ("t", 1)):
        run.count(task_type, ReplayOutcome(task_type, model, 1.0, 0.0, None, 0), 1.0, 0.0)
    run.close()
    assert (run.switches, run.requests) == (2, 5)


def test_cost_term_of_utility_is_log_normalised_over_the_models():
    scene = Scenario.of(table(50), ReplayOptions(lambda_cost=0.5))
    assert scene.penalties == pytest.approx((0.0, 0.5 * 0.1505, 0.5), abs=1e-4)


def test_weight_on_cost_favours_the_cheap_model():
    free, priced = (figures(replay(table(), ReplayOptions(lambda_cost=x, orders=4))) for x in (0.0, 0.4))
    assert priced["cost"] < free["cost"]
    assert priced["quality"] < free["quality"]


def test_orders_depend_only_on_the_seed():
    again = [figures(replay(table(200), ReplayOptions(orders=3, seed=s)))["regret"] for s in (5, 5, 6)]
    assert again[0] == again[1] != again[2]


def test_late_outcomes_increase_regret_moderately():
    late = replay(table(), ReplayOptions(orders=8, delay=100))
    assert figures(replay(table(), ReplayOptions(orders=8)))["regret"] < figures(late)["regret"]
    assert figures(late)["regret"] < 0.5 * figures(late, "random")["regret"]


def test_outage_fails_few_requests_because_the_breaker_opens():
    report = replay(table(), ReplayOptions(orders=4, outage="strong"))
    assert 3 <= figures(report)["failed_requests"] <= 10
    assert figures(report, "thompson")["failed_requests"] > 20


def test_model_that_gets_worse_is_abandoned():
    report = replay(table(), ReplayOptions(orders=4, degrade="strong"))
    assert figures(report)["decisions_until_left"] <= 60


def test_better_added_model_is_found():
    report = replay(table(), ReplayOptions(orders=4, add_model="strong"))
    assert figures(report)["decisions_until_found"] <= 60


def test_model_that_is_never_best_is_neither_abandoned_nor_found():
    report = replay(table(100), ReplayOptions(orders=1, degrade="weak"))
    assert figures(report)["decisions_until_left"] is None


def test_request_fails_if_no_model_can_answer():
    alone = ReplayTable(("m",), ("t",) * 20, ((1.0,),) * 20, ((0.1,),) * 20)
    report = figures(replay(alone, ReplayOptions(orders=1, outage="m")))
    assert (report["failed_requests"], report["quality"]) == (20, 0.0)


def test_slow_model_is_avoided_if_latency_has_a_weight():
    draws = random.Random(3)
    quality = tuple((float(draws.random() < 0.7), float(draws.random() < 0.7)) for _ in range(300))
    slow = ReplayTable(("slow", "quick"), ("t",) * 300, quality, ((0.1, 0.1),) * 300, ((60.0, 1.0),) * 300)
    report = replay(slow, ReplayOptions(lambda_latency=0.5, orders=4, weights=RouterWeights(latency_target_s=8)))
    assert figures(report)["regret"] < 0.2 * figures(report, "random")["regret"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (ReplayOptions(outage="nobody"), "no model 'nobody'"),
        (ReplayOptions(orders=0), "--orders"),
        (ReplayOptions(delay=-1), "--delay"),
        (ReplayOptions(lambda_cost=float("nan")), "--lambda-cost"),
        (ReplayOptions(lambda_latency=0.1), "no latencies"),
    ],
)
def test_invalid_options_are_refused(options, part):
    with pytest.raises(InvalidInput, match=part):
        replay(table(10), options)


GOOD = "task_type,q:a,c:a\nt,1,0.1\n"


def test_table_is_read_with_its_latencies():
    recording = ReplayTable.parse("task_type,q:a,q:b,c:b,c:a,l:a,l:b\nt,1,0.5,2,1,3,4\n\n".splitlines())
    assert (recording.models, recording.task_types) == (("a", "b"), ("t",))
    assert (recording.quality, recording.cost, recording.latency) == (((1, 0.5),), ((1, 2),), ((3, 4),))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "task_type"),
        ("task_type\nt\n", "q:MODEL"),
        ("q:a,c:a\n1,1\n", "has no column task_type"),
        ("task_type,q:a\nt,1\n", "has no column c:a"),
        ("task_type,q:a,q:b,c:a,c:b,l:a\nt,1,1,1,1,1\n", "has no column l:b"),
        ("task_type,q:a,q:a,c:a\nt,1,1,1\n", "twice"),
        ("task_type,q:a,c:a\n", "has no rows"),
        ("task_type,q:a,c:a\nt,1.01,0.1\n", "line 2, q:a: '1.01' is not a number from 0 to 1"),
        ("task_type,q:a,c:a\nt,-0.1,0.1\n", "q:a"),
        (GOOD + "t,good,0.1\n", "line 3, q:a: 'good'"),
        (GOOD + "t,nan,0.1\n", "q:a"),
        (GOOD + "t,1,-1\n", "c:a"),
        (GOOD + "t,1,inf\n", "c:a"),
        (GOOD + "t,1\n", "has 2 fields, the header 3"),
        (GOOD + ",1,1\n", "task_type is empty"),
    ],
)
def test_invalid_table_is_refused_with_the_place_of_the_error(text, part):
    with pytest.raises(InvalidInput, match=part):
        ReplayTable.parse(text.splitlines())


def test_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        ReplayTable.read(tmp_path / "nothing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput):
        ReplayTable.read(tmp_path / "binary.csv")
