"""Three replicas exchange state at any time, in any order: never two probes at once, never closed while refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kairos.llm.calls.providers import ModelRefused
from kairos.llm.health.breaker import MAX_PERIODS, PERIOD_S, PROBE_S
from kairos.redis_client import connect
from tests.kit.replicas import Replica, server_error
from tests.kit.valkey import delete_namespace

REPLICA = st.integers(0, 2)


class Breakers(RuleBasedStateMachine):
    """The replicas exchange state only when a rule runs, so that Hypothesis decides how outdated each is."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.namespace = f"test-{uuid4().hex[:12]}"
        self.redis = connect(self.url)
        self.replicas = [Replica(self.redis, self.namespace) for _ in range(3)]
        self.now = 1000.0
        self.calls: list[tuple[Replica, int]] = []
        """Calls that began while the breaker was closed."""
        self.probe: tuple[Replica, int, float] | None = None
        """The running probe, with the time at which it counts as lost."""
        self.refused = False
        """Whether a refusal is stored in Redis, without a reset since."""

    def teardown(self) -> None:
        async def close() -> None:
            await delete_namespace(self.redis, self.namespace)
            await self.redis.aclose()

        self.wait(close())
        self.loop.close()

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def share(self, replica: Replica) -> None:
        self.wait(replica.breakers.exchange())

    @rule(seconds=st.sampled_from([1.0, PERIOD_S, PROBE_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=REPLICA)
    def open_and_wait_for_the_probe(self, number: int) -> None:
        """A sequence that random rules would rarely produce."""
        for _ in range(3):
            health = self.replicas[number].health
            if not health.is_probe("m", self.now) and (permit := health.acquire("m", self.now)) is not None:
                self.report(self.replicas[number], permit, "failed")
        for replica in (self.replicas[number], *self.replicas):
            self.share(replica)
        self.now += MAX_PERIODS * PERIOD_S

    @rule(number=REPLICA)
    def exchange(self, number: int) -> None:
        self.share(self.replicas[number])

    @rule(number=REPLICA)
    def call(self, number: int) -> None:
        replica = self.replicas[number]
        permit = self.wait(replica.acquire(self.now))
        if permit is None:
            return
        if replica.health.is_probe("m", self.now):
            running = self.probe is not None and self.now < self.probe[2]
            assert not running, "two probes at once"
            assert not self.refused, "a refused model was called"
            self.probe = (replica, permit, self.now + PROBE_S)
        else:
            self.calls.append((replica, permit))

    @rule(end=st.sampled_from(["succeeded", "failed", "refused", "abandoned"]))
    def a_call_ends(self, end: str) -> None:
        if self.calls:
            self.report(*self.calls.pop(0), end)

    @rule(end=st.sampled_from(["succeeded", "failed", "refused", "abandoned"]))
    def the_probe_ends(self, end: str) -> None:
        if self.probe:
            replica, permit, _ = self.probe
            self.report(replica, permit, end)
            self.share(replica)
            self.probe = None

    def report(self, replica: Replica, permit: int, end: str) -> None:
        health = replica.health
        if end == "succeeded":
            health.succeeded("m", permit, self.now)
        elif end == "abandoned":
            health.abandoned("m", permit)
        else:
            refusal = ModelRefused(model="m", reason="no", http_status=401, remedy="")
            health.failed("m", permit, refusal if end == "refused" else server_error(), self.now)

    @rule(number=REPLICA)
    def a_person_tries_again(self, number: int) -> None:
        self.replicas[number].health.reset("m")
        self.share(self.replicas[number])
        self.refused = False
        self.probe = None

    @invariant()
    def stays_refused(self) -> None:
        """A refusal stays, whichever older calls report and whichever replica writes last."""
        stored = Replica(self.redis, self.namespace)
        self.share(stored)
        refused = stored.health.snapshot("m")[0].refused
        assert refused or not self.refused, "closed while refused"
        self.refused = refused

    @rule()
    def all_agree_after_an_exchange(self) -> None:
        for replica in (*self.replicas, *self.replicas):
            self.share(replica)
        states = {str(replica.health.snapshot("m")[0].to_dict()) for replica in self.replicas}
        assert len(states) == 1, states


@pytest.mark.timeout(110)
def test_breaker_never_has_two_probes_and_is_never_closed_while_refused(valkey_url: str):
    class OnValkey(Breakers):
        url = valkey_url

    checks = settings(
        max_examples=150,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    case = type("Case", (OnValkey.TestCase,), {"settings": checks})
    case().runTest()
