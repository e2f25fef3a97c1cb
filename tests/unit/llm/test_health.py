"""The health of a model, as determined by its calls and checks of its server, and as decisions read it."""

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


def test_model_without_calls_is_healthy():
    assert ModelHealth()("m", NOW) is HEALTHY
    assert ModelHealth().status("m", NOW).detail == "not called yet"


def test_three_consecutive_errors_exclude_the_model_for_a_period():
    health = failed(3)
    availability = health("m", NOW)
    assert (availability.open, availability.retry_at, state(health)) == (
        True,
        NOW + PERIOD_S,
        ModelHealthState.UNHEALTHY,
    )
    assert "503" in availability.reason
    assert not health("m", NOW + PERIOD_S).open, "the period ends without any call"


def test_no_other_call_is_made_during_a_probe():
    health = failed(3)
    assert health.acquire("m", NOW + PERIOD_S) is not None
    assert health("m", NOW + PERIOD_S).open
    assert health.acquire("m", NOW + PERIOD_S) is None


def test_retry_after_is_respected_from_the_first_error():
    health = failed(1, ModelRateLimited(model="m", reason="slow down", http_status=429, retry_after_s=90))
    assert health("m", NOW + 89).open
    assert not health("m", NOW + 90).open


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_refusal_lasts_until_a_reset(status: int):
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
def test_own_deadlines_and_bad_requests_do_not_affect_health(error: ModelCallError):
    health = failed(10, error)
    assert (health("m", NOW), state(health)) == (HEALTHY, ModelHealthState.HEALTHY)


def test_own_cancellations_do_not_affect_health():
    health = ModelHealth()
    for _ in range(10):
        permit = health.acquire("m", NOW)
        assert permit is not None
        health.abandoned("m", permit)
    assert (health("m", NOW), state(health)) == (HEALTHY, ModelHealthState.HEALTHY)


def test_next_call_probes_after_a_cancelled_probe():
    health = failed(3)
    permit = health.acquire("m", NOW + PERIOD_S)
    assert permit is not None
    health.abandoned("m", permit)
    assert health.acquire("m", NOW + PERIOD_S) is not None


def test_share_of_failures_degrades_the_model_and_lowers_utility():
    health = ModelHealth()
    for number in range(10):
        call(health, NOW, server_error() if number % 4 == 0 else None)
    assert health("m", NOW).penalty == pytest.approx(MAX_PENALTY * 0.3)
    assert state(health) is ModelHealthState.DEGRADED


def test_failures_of_an_hour_ago_do_not_count():
    """Failures expire with time, even without later calls."""
    health = failed(2)
    assert health("m", NOW + WINDOW_S - 1).penalty == MAX_PENALTY
    assert health("m", NOW + WINDOW_S) is HEALTHY
    assert state(health, NOW + WINDOW_S) is ModelHealthState.HEALTHY


def test_model_that_answers_later_than_usual_is_degraded():
    health = ModelHealth()
    for _ in range(10):
        call(health, NOW, first_token_s=1.0)
    for _ in range(10):
        call(health, NOW, first_token_s=9.0)
    assert state(health) is ModelHealthState.DEGRADED
    assert "late" in health.status("m", NOW).detail
    assert health("m", NOW).penalty == 0.0, "the router's latency term accounts for it already"


def test_model_that_was_always_slow_is_not_degraded():
    health = ModelHealth()
    for _ in range(10):
        call(health, NOW, first_token_s=20.0)
    assert state(health) is ModelHealthState.HEALTHY


def test_error_text_of_the_server_is_hidden_from_projects():
    """An error body may repeat the prompt of another project."""
    health = failed(3, server_error("cannot parse: 'the secret recipe'"))
    assert "secret" not in health.status("m", NOW).detail
    assert "secret" not in health("m", NOW).reason


def test_server_that_cannot_be_reached_is_unhealthy_before_a_call_fails():
    health = ModelHealth()
    health.unreachable("m", "connection refused", NOW)
    assert state(health) is ModelHealthState.UNHEALTHY
    assert not health("m", NOW).open, "a single check may be wrong"
    for _ in range(2):
        health.unreachable("m", "connection refused", NOW)
    assert health("m", NOW).open


def test_server_that_checks_cannot_reach_stays_excluded():
    health = failed(3, unreachable())
    health.unreachable("m", "connection refused", NOW + PERIOD_S + 1)
    assert health("m", NOW + PERIOD_S + 2).open


def test_next_call_probes_a_server_that_can_be_reached_again():
    health = failed(3, unreachable())
    health.reachable("m", NOW + 1)
    assert not health("m", NOW + 1).open
    assert state(health, NOW + 1) is ModelHealthState.UNHEALTHY, "until a call has succeeded"
    call(health, NOW + 2)
    assert health.acquire("m", NOW + 2) is not None


@pytest.mark.parametrize("error", [server_error(), ModelRefused(model="m", reason="no", http_status=401, remedy="")])
def test_successful_listing_does_not_close_a_breaker_opened_by_errors(error: ModelCallError):
    health = ModelHealth()
    while health.acquire("m", NOW) is not None:
        call(health, NOW, error)
    health.reachable("m", NOW)
    assert health("m", NOW).open


def test_checks_do_not_change_a_refusal():
    health = failed(1, ModelRefused(model="m", reason="no", http_status=401, remedy="Check the key."))
    health.unreachable("m", "connection refused", NOW)
    assert "Check the key." in health.status("m", NOW).detail


def test_replicas_that_open_independently_give_different_permits():
    """Otherwise the end of a call on one replica could be taken for the end of the other's probe."""
    one, two = failed(3), failed(3)
    assert one.snapshot("m")[0].generation != two.snapshot("m")[0].generation
    assert one.acquire("m", NOW + PERIOD_S) != two.acquire("m", NOW + PERIOD_S)


def test_breaker_change_is_deterministic():
    change = BreakerChange(lambda breaker: breaker.reset())
    first, second = Breaker(errors=2), Breaker(errors=2)
    for breaker in (first, second):
        change(breaker)
    assert first == second


def test_shared_state_applies_to_the_next_decision():
    health = ModelHealth()
    assert health("m", NOW) is HEALTHY
    health.apply_shared("m", failed(3).snapshot("m")[0], LastError("seen elsewhere"))
    assert "seen elsewhere" in health("m", NOW).reason


def test_listener_is_notified_only_of_changes():
    notified: list[str] = []
    health = ModelHealth()
    health.changed = lambda model, change: notified.append(model)
    for _ in range(5):
        call(health, NOW)
    assert notified == [], "a healthy model costs Redis nothing"
    call(health, NOW, server_error())
    assert notified == ["m"]


def test_readded_model_starts_healthy_and_ignores_old_calls():
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
