"""The circuit breaker: three errors open it, one probe at a time closes it, and a refusal lasts until a reset."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.health.breaker import MAX_PERIODS, PERIOD_S, PROBE_S, Breaker, BreakerState, FaultKind


def fail(
    breaker: Breaker, now: float, times: int = 1, fault: FaultKind = FaultKind.INFRASTRUCTURE, retry_after_s=None
) -> None:
    for _ in range(times):
        permit = breaker.acquire(now)
        assert permit is not None
        breaker.failed(permit, fault, now, retry_after_s)


def opened() -> Breaker:
    breaker = Breaker()
    fail(breaker, 0.0, 3)
    return breaker


def test_three_consecutive_errors_open_the_breaker():
    breaker = Breaker()
    fail(breaker, 0.0, 2)
    assert breaker.state(0.0) is BreakerState.CLOSED
    fail(breaker, 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.acquire(PERIOD_S - 1) is None
    assert breaker.retry_at(0.0) == PERIOD_S


def test_success_resets_the_error_count():
    breaker = Breaker()
    for _ in range(5):
        fail(breaker, 0.0, 2)
        permit = breaker.acquire(0.0)
        assert permit is not None
        breaker.succeeded(permit, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_open_time_doubles_up_to_eightfold():
    breaker, now, periods = opened(), 0.0, []
    for _ in range(6):
        until = breaker.retry_at(now)
        assert until is not None
        periods.append((until - now) / PERIOD_S)
        now = until
        fail(breaker, now)
    assert periods == [1, 2, 4, 8, MAX_PERIODS, MAX_PERIODS]


def test_successful_probe_closes_the_breaker_and_resets_the_open_time():
    breaker = opened()
    fail(breaker, PERIOD_S)
    now = 3 * PERIOD_S
    permit = breaker.acquire(now)
    assert permit is not None
    breaker.succeeded(permit, now)
    assert breaker.state(now) is BreakerState.CLOSED
    fail(breaker, now, 3)
    assert breaker.retry_at(now) == now + PERIOD_S


def test_only_one_probe_runs_and_a_lost_one_is_replaced():
    breaker = opened()
    assert breaker.acquire(PERIOD_S) is not None
    assert breaker.acquire(PERIOD_S) is None
    assert not breaker.allows(PERIOD_S + PROBE_S - 1)
    assert breaker.retry_at(PERIOD_S) == PERIOD_S + PROBE_S
    assert breaker.acquire(PERIOD_S + PROBE_S) is not None


def test_late_result_of_a_lost_probe_is_ignored():
    breaker = opened()
    lost, later = breaker.acquire(PERIOD_S), breaker.acquire(PERIOD_S + PROBE_S)
    assert lost is not None
    assert later is not None
    breaker.succeeded(lost, PERIOD_S + PROBE_S)
    assert breaker.acquire(PERIOD_S + PROBE_S) is None
    breaker.succeeded(later, PERIOD_S + PROBE_S)
    assert breaker.state(PERIOD_S + PROBE_S) is BreakerState.CLOSED


def test_abandoned_probe_permits_another():
    breaker = opened()
    permit = breaker.acquire(PERIOD_S)
    assert permit is not None
    breaker.failed(permit, FaultKind.OURS, PERIOD_S)
    assert breaker.acquire(PERIOD_S) is not None


def test_calls_started_before_opening_are_ignored():
    """Twenty calls were running when the server went down: their errors do not double the open time, and a late answer
    does not close the breaker."""
    breaker = Breaker()
    permits = [breaker.acquire(0.0) for _ in range(20)]
    for permit in permits[:19]:
        assert permit is not None
        breaker.failed(permit, FaultKind.INFRASTRUCTURE, 1.0)
    assert permits[19] is not None
    breaker.succeeded(permits[19], 2.0)
    assert breaker.state(2.0) is BreakerState.OPEN
    assert breaker.retry_at(2.0) == 1.0 + PERIOD_S


def test_cancellations_by_kairos_do_not_count():
    breaker = Breaker()
    fail(breaker, 0.0, 20, FaultKind.OURS)
    assert breaker.state(0.0) is BreakerState.CLOSED
    fail(breaker, 0.0, 2)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_retry_after_is_respected_from_the_first_error_and_extends_the_period():
    breaker = Breaker()
    fail(breaker, 0.0, 1, retry_after_s=5.0)
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)
    breaker = Breaker()
    fail(breaker, 0.0, 2)
    fail(breaker, 0.0, 1, retry_after_s=200.0)
    assert breaker.retry_at(0.0) == 200.0


def test_failed_probe_after_retry_after_opens_the_breaker_for_one_period():
    breaker = Breaker()
    fail(breaker, 0.0, 1, retry_after_s=5.0)
    fail(breaker, 5.0)
    assert breaker.retry_at(5.0) == 5.0 + PERIOD_S


def test_refusal_lasts_until_a_reset():
    breaker = Breaker()
    fail(breaker, 0.0, 1, FaultKind.REFUSED)
    assert breaker.state(1e9) is BreakerState.REFUSED
    assert breaker.acquire(1e9) is None
    assert breaker.retry_at(1e9) is None
    breaker.reset()
    assert breaker.acquire(1e9) is not None


events = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "ok", "fail", "ours", "wait", "store"]), st.floats(0, 400), st.integers(0, 9)
    ),
    max_size=60,
)


@given(events=events)
def test_two_probes_never_run_at_once(events):
    breaker, now, under_way = opened(), 0.0, {}
    permits: list[int] = []
    for event, seconds, place in events:
        if event == "wait":
            now += seconds
        elif event == "store":
            breaker = Breaker.from_dict(json.loads(json.dumps(breaker.to_dict())))
        elif event == "acquire":
            probing = breaker.state(now) is BreakerState.HALF_OPEN
            permit = breaker.acquire(now)
            if permit is None:
                continue
            if probing:
                alive = [p for p, since in under_way.items() if now < since + PROBE_S]
                assert not alive
                under_way[permit] = now
            permits.append(permit)
        elif permits:
            permit = permits.pop(place % len(permits))
            under_way.pop(permit, None)
            if event == "ok":
                breaker.succeeded(permit, now)
            else:
                breaker.failed(permit, FaultKind.OURS if event == "ours" else FaultKind.INFRASTRUCTURE, now)
