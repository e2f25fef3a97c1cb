"""Router statistics of three replicas on one PostgreSQL, with flushes and late labels in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from kairos.config import RouterSettings, Settings
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.models import MetricRow, PositionRow
from kairos.db.repositories.monitoring import metrics
from kairos.db.repositories.routing import statistics
from kairos.db.repositories.routing.statistics import Fading, Judgement, QualitySource, TaskTypeStatistics
from kairos.embedded import Addresses
from kairos.llm.routing.statistics import RouterWeights, Sample
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.pubsub import PubSub
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, new_id
from tests.kit.conditions import eventually
from tests.kit.people import new_project_in
from tests.kit.statistics import recomputed

WEIGHTS = RouterWeights()
FADING = Fading(WEIGHTS.gamma, WEIGHTS.short_gamma, WEIGHTS.half_life_s)
MODELS = ("a", "b")
TYPE = "work"


class Replica:
    """The statistics of one daemon, and the last values it received."""

    def __init__(self, database: Database, pubsub: PubSub) -> None:
        self.known: dict[str, TaskTypeStatistics] = {}
        self.statistics = SharedStatistics(
            database, pubsub, FADING, RouterSettings(flush_s=0.1, poll_s=0.2), self._learn
        )

    def _learn(self, project_id: ProjectId, known: TaskTypeStatistics) -> None:
        self.known[known.task_type] = known


async def call(database: Database, project_id: ProjectId, model: str) -> UUID:
    """Store a successful call, as the tracker does."""
    decision_id = new_id()
    row = {
        "id": new_id(),
        "project_id": project_id,
        "at": datetime.now(UTC),
        "decision_id": decision_id,
        "model": model,
        "task_type": TYPE,
        "success": True,
        "duration_s": 1.0,
        "first_token_s": 0.2,
        "output_tokens": 40,
        "input_tokens": 10,
        "cost_usd": 0.001,
    }
    async with database.project(project_id) as session:
        await metrics.add(session, [row])
    return decision_id


async def from_samples(database: Database, project_id: ProjectId) -> dict[str, tuple[float, ...]]:
    """Return the sums of each model, recomputed from the samples."""
    async with database.project(project_id) as session:
        position = (await session.execute(select(PositionRow))).scalar_one()
        rows = (await session.execute(select(MetricRow).where(MetricRow.position.is_not(None)))).scalars().all()
    found = {}
    for model in {row.model for row in rows}:
        samples = [_sample(row) for row in rows if row.model == model]
        row = recomputed(samples, position.position, position.last_change.timestamp(), WEIGHTS)
        found[model] = (row.n, row.s, row.q, row.short_n, row.short_s, row.short_q)
    return found


def _sample(row: MetricRow) -> Sample:
    assert row.position is not None
    assert row.turn is not None
    assert row.observed_at is not None
    assert row.quality is not None
    return Sample(row.position, row.turn, row.observed_at.timestamp(), row.quality)


def sums(known: TaskTypeStatistics) -> dict[str, tuple[float, ...]]:
    return {
        model: (cell.n, cell.s, cell.q, cell.short_n, cell.short_s, cell.short_q)
        for model, cell in known.cells.items()
        if cell.n
    }


STEP = st.one_of(
    st.tuples(st.just("observe"), st.integers(0, 2), st.sampled_from(MODELS), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.tuples(st.just("label"), st.integers(0, 2), st.integers(0, 30), st.sampled_from([0.0, 0.5, 1.0])),
    st.tuples(st.just("flush"), st.integers(0, 2), st.none(), st.none()),
)


@pytest.mark.timeout(120)
async def test_shared_row_equals_a_recomputation_from_the_samples(addresses: Addresses):
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
    @given(st.lists(STEP, min_size=5, max_size=40))
    def check_any_order(steps):
        asyncio.run(_play(addresses, steps))

    await asyncio.to_thread(check_any_order)


async def _play(addresses: Addresses, steps: Iterable[tuple]) -> None:
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    database, redis = Database(at, Settings().database), connect(addresses.redis_url)
    try:
        project_id, _ = await new_project_in(database)
        replicas = [Replica(database, PubSub(redis)) for _ in range(3)]
        decisions: list[UUID] = []
        for kind, replica, subject, quality in steps:
            shared = replicas[replica].statistics
            if kind == "observe":
                decisions.append(await call(database, project_id, subject))
                judgement = Judgement(decisions[-1], quality, QualitySource.GUARDIAN, TYPE)
                await shared.record(project_id, judgement, at_once=False)
            elif kind == "label" and decisions:
                judgement = Judgement(decisions[subject % len(decisions)], quality, QualitySource.PERSON, TYPE)
                await shared.record(project_id, judgement, at_once=False)
            elif kind == "flush":
                await shared.flush(project_id)
        for replica in replicas:
            await replica.statistics.close()
        if not decisions:
            return
        expected = await from_samples(database, project_id)
        for replica in replicas:
            await replica.statistics.load(project_id)
            await replica.statistics._read(project_id)
            found = sums(replica.known[TYPE])
            assert found.keys() == expected.keys()
            for model, values in found.items():
                assert values == pytest.approx(expected[model], rel=1e-6, abs=1e-9), model
    finally:
        await redis.aclose()
        await database.close()


async def test_another_replica_receives_statistics_at_once(addresses: Addresses, database: Database):
    redis = connect(addresses.redis_url)
    project_id, _ = await new_project_in(database)
    writer, reader = (Replica(database, PubSub(redis)) for _ in range(2))
    listening = asyncio.create_task(reader.statistics.run())
    await reader.statistics.load(project_id)
    decision_id = await call(database, project_id, "a")
    await writer.statistics.record(project_id, Judgement(decision_id, 1.0, QualitySource.GUARDIAN, TYPE), at_once=True)
    await eventually(lambda: TYPE in reader.known and reader.known[TYPE].cells["a"].n > 0, 5)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await redis.aclose()


async def test_own_notices_are_ignored_and_those_of_others_are_combined(
    database: Database, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
):
    redis = connect(addresses.redis_url)
    project_id, _ = await new_project_in(database)
    shared = Replica(database, PubSub(redis)).statistics
    await shared.load(project_id)
    reads: list[ProjectId] = []

    async def read(project_id: ProjectId) -> None:
        reads.append(project_id)

    monkeypatch.setattr(shared, "_read_back", read)
    own, other, another = (f"{project_id} {name}".encode() for name in (shared._name, new_id(), new_id()))
    unknown, earlier_version = f"{new_id()} {new_id()}".encode(), str(project_id).encode()
    for notices, number in (({own, unknown, b"\xff"}, 0), ({own, other, another}, 1), ({earlier_version}, 1)):
        reads.clear()
        await shared._read_changed(frozenset(notices))
        assert reads == [project_id] * number, notices
    reads.clear()
    await shared._read_changed(None)
    assert reads == [project_id], "everything is read"
    await redis.aclose()


async def test_label_of_a_person_overrides_checks_and_is_not_overridden_by_them(database: Database, addresses):
    redis = connect(addresses.redis_url)
    project_id, _ = await new_project_in(database)
    replica = Replica(database, PubSub(redis))
    decision_id = await call(database, project_id, "a")
    for quality, source in ((1.0, QualitySource.GUARDIAN), (0.0, QualitySource.PERSON), (1.0, QualitySource.JUDGE)):
        await replica.statistics.record(project_id, Judgement(decision_id, quality, source, TYPE), at_once=True)
    cell = replica.known[TYPE].cells["a"]
    assert (cell.n, cell.s) == pytest.approx((1.0, 0.0), abs=1e-6)
    await redis.aclose()


async def test_unmeasured_answer_counts_only_for_speed_and_cost(database: Database, addresses: Addresses):
    redis = connect(addresses.redis_url)
    project_id, _ = await new_project_in(database)
    replica = Replica(database, PubSub(redis))
    decision_id = await call(database, project_id, "a")
    await replica.statistics.record(
        project_id, Judgement(decision_id, None, QualitySource.GUARDIAN, TYPE), at_once=True
    )
    cell = replica.known[TYPE].cells["a"]
    assert (cell.n, cell.calls, cell.latency_s, cell.cost_usd) == (0, 1, 1.0, 0.001)
    await redis.aclose()


async def test_old_partitions_are_dropped_and_recent_ones_kept(database: Database):
    async with database.system() as connection:
        assert await metrics.drop_old_partitions(connection, 13) == 0
    assert statistics.RANKS[-1] is QualitySource.PERSON
    assert timedelta(0) < statistics.CLOCKS_APART
