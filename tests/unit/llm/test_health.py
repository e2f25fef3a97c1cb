"""The health of a model: what its calls and looks at its server make of it, and what a decision reads."""

from __future__ import annotations

import pytest

from kairos.llm.calls.providers import (
    ModelCallError,
    ModelRateLimited,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
    ModelTimeout,
    ModelUnreachable,
)
from kairos.llm.health.availability import HEALTHY
from kairos.llm.health.breaker import PERIOD_S, Breaker
from kairos.llm.health.health import MAX_PENALTY, WINDOW_S, BreakerChange, LastError, ModelHealth, ModelHealthState

NOW = 1000.0


def server_error(reason: str = "overloaded") -> ModelCallError:
    return ModelServerError(model="m", reason=reason, http_status=503)


def unreachable() -> ModelCallError:
    return ModelUnreachable(model="m", reason="connection refused", base_url="http://here/v1")


def call(health: ModelHealth, now: float, error: ModelCallError | None = None, first_token_s: float = 0.1) -> None:
    permit = health.acquire("m", now)
    assert permit is not None, "the breaker is open"
    if error:
        health.failed("m", permit, error, now)
    else:
        health.succeeded("m", permit, now, first_token_s)


def failed(times: int, error: ModelCallError | None = None) -> ModelHealth:
    health = ModelHealth()
    for _ in range(times):
        call(health, NOW, error or server_error())
    return health


def state(health: ModelHealth, now: float = NOW) -> ModelHealthState:
    return health.status("m", now).state


def test_what_was_never_called_is_healthy():
    assert ModelHealth()("m", NOW) is HEALTHY
    assert ModelHealth().status("m", NOW).detail == "not called yet"


def test_three_errors_in_a_row_close_it_to_calls_until_its_time_has_come():
    health = failed(3)
    standing = health("m", NOW)
    assert (standing.open, standing.retry_at, state(health)) == (True, NOW + PERIOD_S, ModelHealthState.UNHEALTHY)
    assert "503" in standing.reason
    assert not health("m", NOW + PERIOD_S).open, "time alone opens it, without a call of anything"


def test_while_one_call_tries_it_no_other_is_made():
    health = failed(3)
    assert health.acquire("m", NOW + PERIOD_S) is not None
    assert health("m", NOW + PERIOD_S).open
    assert health.acquire("m", NOW + PERIOD_S) is None


def test_a_retry_after_is_honoured_from_the_first_error():
    health = failed(1, ModelRateLimited(model="m", reason="slow down", http_status=429, retry_after_s=90))
    assert health("m", NOW + 89).open
    assert not health("m", NOW + 90).open


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refusal_waits_for_a_person(status: int):
    health = failed(1, ModelRefused(model="m", reason="no", http_status=status, remedy="Check the key."))
    assert health("m", NOW + 1e6).open
    assert health("m", NOW + 1e6).retry_at is None
    assert "Check the key." in health.status("m", NOW).detail
    health.reset("m")
    assert (health("m", NOW), state(health)) == (HEALTHY, ModelHealthState.HEALTHY)


@pytest.mark.parametrize(
    "error",
    [
        ModelRequestInvalid(model="m", reason="bad", http_status=400),
        ModelTimeout(model="m", reason="", phase="its end", seconds=1.0, remedy="", infrastructure=False),
    ],
)
def test_our_own_deadlines_and_bad_requests_say_nothing_of_the_server(error: ModelCallError):
    health = failed(10, error)
    assert (health("m", NOW), state(health)) == (HEALTHY, ModelHealthState.HEALTHY)


def test_our_own_cancels_say_nothing_of_the_server():
    health = ModelHealth()
    for _ in range(10):
        permit = health.acquire("m", NOW)
        assert permit is not None
        health.abandoned("m", permit)
    assert (health("m", NOW), state(health)) == (HEALTHY, ModelHealthState.HEALTHY)


def test_a_cancelled_probe_leaves_the_next_call_to_try():
    health = failed(3)
    permit = health.acquire("m", NOW + PERIOD_S)
    assert permit is not None
    health.abandoned("m", permit)
    assert health.acquire("m", NOW + PERIOD_S) is not None


def test_a_share_of_failures_degrades_it_and_costs_utility():
    health = ModelHealth()
    for number in range(10):
        call(health, NOW, server_error() if number % 4 == 0 else None)
    assert health("m", NOW).penalty == pytest.approx(MAX_PENALTY * 0.3)
    assert state(health) is ModelHealthState.DEGRADED


def test_failures_of_an_hour_ago_do_not_count():
    """However few calls there were since: time heals as well as successes do."""
    health = failed(2)
    assert health("m", NOW + WINDOW_S - 1).penalty == MAX_PENALTY
    assert health("m", NOW + WINDOW_S) is HEALTHY
    assert state(health, NOW + WINDOW_S) is ModelHealthState.HEALTHY


def test_answers_that_begin_late_degrade_it_by_its_own_measure():
    health = ModelHealth()
    for _ in range(10):
        call(health, NOW, first_token_s=1.0)
    for _ in range(10):
        call(health, NOW, first_token_s=9.0)
    assert state(health) is ModelHealthState.DEGRADED
    assert "late" in health.status("m", NOW).detail
    assert health("m", NOW).penalty == 0.0, "the router's latency term has it already"


def test_a_model_that_was_always_slow_is_no_degraded_one():
    health = ModelHealth()
    for _ in range(10):
        call(health, NOW, first_token_s=20.0)
    assert state(health) is ModelHealthState.HEALTHY


def test_the_servers_own_words_stay_out_of_what_all_projects_see():
    """An error body may repeat the prompt it was about."""
    health = failed(3, server_error("cannot parse: 'the secret recipe'"))
    assert "secret" not in health.status("m", NOW).detail
    assert "secret" not in health("m", NOW).reason


def test_a_server_that_cannot_be_reached_is_unhealthy_before_a_call_fails():
    health = ModelHealth()
    health.unreachable("m", "connection refused", NOW)
    assert state(health) is ModelHealthState.UNHEALTHY
    assert not health("m", NOW).open, "one look may err"
    for _ in range(2):
        health.unreachable("m", "connection refused", NOW)
    assert health("m", NOW).open


def test_no_call_is_spent_on_a_server_that_looks_still_find_away():
    health = failed(3, unreachable())
    health.unreachable("m", "connection refused", NOW + PERIOD_S + 1)
    assert health("m", NOW + PERIOD_S + 2).open


def test_the_next_call_tries_a_server_that_can_be_reached_again():
    health = failed(3, unreachable())
    health.reachable("m", NOW + 1)
    assert not health("m", NOW + 1).open
    assert state(health, NOW + 1) is ModelHealthState.UNHEALTHY, "until a call has succeeded"
    call(health, NOW + 2)
    assert health.acquire("m", NOW + 2) is not None


@pytest.mark.parametrize("error", [server_error(), ModelRefused(model="m", reason="no", http_status=401, remedy="")])
def test_a_listing_that_works_closes_no_breaker_that_errors_opened(error: ModelCallError):
    health = ModelHealth()
    while health.acquire("m", NOW) is not None:
        call(health, NOW, error)
    health.reachable("m", NOW)
    assert health("m", NOW).open


def test_looks_do_not_touch_what_a_server_refused():
    health = failed(1, ModelRefused(model="m", reason="no", http_status=401, remedy="Check the key."))
    health.unreachable("m", "connection refused", NOW)
    assert "Check the key." in health.status("m", NOW).detail


def test_two_replicas_that_open_apart_from_each_other_give_different_permits():
    """Else the end of a call on one could pass for the end of the other's probe."""
    one, two = failed(3), failed(3)
    assert one.snapshot("m")[0].generation != two.snapshot("m")[0].generation
    assert one.acquire("m", NOW + PERIOD_S) != two.acquire("m", NOW + PERIOD_S)


def test_a_change_made_again_on_the_same_state_comes_out_the_same():
    change = BreakerChange(lambda breaker: breaker.reset())
    first, second = Breaker(errors=2), Breaker(errors=2)
    for breaker in (first, second):
        change(breaker)
    assert first == second


def test_what_others_know_counts_from_the_next_decision_on():
    health = ModelHealth()
    assert health("m", NOW) is HEALTHY
    health.apply_shared("m", failed(3).snapshot("m")[0], LastError("seen elsewhere"))
    assert "seen elsewhere" in health("m", NOW).reason


def test_only_real_changes_are_told():
    told: list[str] = []
    health = ModelHealth()
    health.changed = lambda model, change: told.append(model)
    for _ in range(5):
        call(health, NOW)
    assert told == [], "a healthy model costs Redis nothing"
    call(health, NOW, server_error())
    assert told == ["m"]


def test_a_model_that_comes_again_begins_anew_whatever_calls_of_the_old_one_report():
    health = ModelHealth()
    permit = health.acquire("adapter", NOW)
    assert permit is not None, "a model need not be known before"
    for _ in range(3):
        health.failed("m", health.acquire("m", NOW) or 0, server_error(), NOW)
    assert health("m", NOW).open
    health.discard("m")
    health.discard("adapter")
    assert health("m", NOW) is HEALTHY
    assert health.status("m", NOW).state is ModelHealthState.HEALTHY
    health.failed("adapter", permit, ModelRefused(model="adapter", reason="gone", http_status=404, remedy=""), NOW)
    assert not health("adapter", NOW).open
