"""The breaker: three errors open it, one probe at a time closes it, and a refusal waits for a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.health.breaker import MAX_PERIODS, PERIOD_S, PROBE_S, Breaker, BreakerState, FaultKind, fault_of


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


def test_three_errors_in_a_row_open_it():
    breaker = Breaker()
    fail(breaker, 0.0, 2)
    assert breaker.state(0.0) is BreakerState.CLOSED
    fail(breaker, 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.acquire(PERIOD_S - 1) is None
    assert breaker.retry_at(0.0) == PERIOD_S


def test_a_success_between_errors_starts_the_count_again():
    breaker = Breaker()
    for _ in range(5):
        fail(breaker, 0.0, 2)
        permit = breaker.acquire(0.0)
        assert permit is not None
        breaker.succeeded(permit, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_the_time_it_stays_open_doubles_up_to_eight_times():
    breaker, now, stays = opened(), 0.0, []
    for _ in range(6):
        until = breaker.retry_at(now)
        assert until is not None
        stays.append((until - now) / PERIOD_S)
        now = until
        fail(breaker, now)
    assert stays == [1, 2, 4, 8, MAX_PERIODS, MAX_PERIODS]


def test_a_good_probe_closes_it_and_forgets_the_doubling():
    breaker = opened()
    fail(breaker, PERIOD_S)
    now = 3 * PERIOD_S
    permit = breaker.acquire(now)
    assert permit is not None
    breaker.succeeded(permit, now)
    assert breaker.state(now) is BreakerState.CLOSED
    fail(breaker, now, 3)
    assert breaker.retry_at(now) == now + PERIOD_S


def test_only_one_probe_goes_and_a_lost_one_is_replaced():
    breaker = opened()
    assert breaker.acquire(PERIOD_S) is not None
    assert breaker.acquire(PERIOD_S) is None
    assert not breaker.allows(PERIOD_S + PROBE_S - 1)
    assert breaker.retry_at(PERIOD_S) == PERIOD_S + PROBE_S
    assert breaker.acquire(PERIOD_S + PROBE_S) is not None


def test_what_a_lost_probe_reports_too_late_says_nothing_of_the_one_that_replaced_it():
    breaker = opened()
    lost, later = breaker.acquire(PERIOD_S), breaker.acquire(PERIOD_S + PROBE_S)
    assert lost is not None
    assert later is not None
    breaker.succeeded(lost, PERIOD_S + PROBE_S)
    assert breaker.acquire(PERIOD_S + PROBE_S) is None
    breaker.succeeded(later, PERIOD_S + PROBE_S)
    assert breaker.state(PERIOD_S + PROBE_S) is BreakerState.CLOSED


def test_an_abandoned_probe_makes_room_for_another():
    breaker = opened()
    permit = breaker.acquire(PERIOD_S)
    assert permit is not None
    breaker.failed(permit, FaultKind.OURS, PERIOD_S)
    assert breaker.acquire(PERIOD_S) is not None


def test_calls_from_before_it_opened_change_nothing():
    """Twenty calls were under way when the server went down: their errors do not double the wait, and one late answer
    does not close it."""
    breaker = Breaker()
    permits = [breaker.acquire(0.0) for _ in range(20)]
    for permit in permits[:19]:
        assert permit is not None
        breaker.failed(permit, FaultKind.INFRASTRUCTURE, 1.0)
    assert permits[19] is not None
    breaker.succeeded(permits[19], 2.0)
    assert breaker.state(2.0) is BreakerState.OPEN
    assert breaker.retry_at(2.0) == 1.0 + PERIOD_S


def test_our_own_cancels_do_not_count():
    breaker = Breaker()
    fail(breaker, 0.0, 20, FaultKind.OURS)
    assert breaker.state(0.0) is BreakerState.CLOSED
    fail(breaker, 0.0, 2)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_retry_after_is_honoured_from_the_first_error_and_over_the_period():
    breaker = Breaker()
    fail(breaker, 0.0, 1, retry_after_s=5.0)
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)
    breaker = Breaker()
    fail(breaker, 0.0, 2)
    fail(breaker, 0.0, 1, retry_after_s=200.0)
    assert breaker.retry_at(0.0) == 200.0


def test_a_failed_probe_after_retry_after_opens_it_for_a_period():
    breaker = Breaker()
    fail(breaker, 0.0, 1, retry_after_s=5.0)
    fail(breaker, 5.0)
    assert breaker.retry_at(5.0) == 5.0 + PERIOD_S


def test_a_refusal_stays_until_a_person_tries_again():
    breaker = Breaker()
    fail(breaker, 0.0, 1, FaultKind.REFUSED)
    assert breaker.state(1e9) is BreakerState.REFUSED
    assert breaker.acquire(1e9) is None
    assert breaker.retry_at(1e9) is None
    breaker.reset()
    assert breaker.acquire(1e9) is not None


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (None, FaultKind.INFRASTRUCTURE),
        *((status, FaultKind.INFRASTRUCTURE) for status in (408, 429, 500, 502, 503, 529)),
        *((status, FaultKind.REFUSED) for status in (401, 402, 403, 404)),
        *((status, FaultKind.OURS) for status in (400, 413, 422)),
    ],
)
def test_what_a_status_says_of_the_server(status, fault):
    assert fault_of(status) is fault


events = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "ok", "fail", "ours", "wait", "store"]), st.floats(0, 400), st.integers(0, 9)
    ),
    max_size=60,
)


@given(events=events)
def test_never_two_probes_at_once(events):
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
