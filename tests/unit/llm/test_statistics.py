"""The decayed sums equal a recomputation from the samples, in any order of flushes and with late labels."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.llm.routing.experience import Experience
from kairos.llm.routing.statistics import (
    Observation,
    RouterWeights,
    Sample,
    Statistics,
    add_call,
    add_qualities,
    correct,
    decay,
    fade,
)
from tests.kit.statistics import recomputed

W = RouterWeights(gamma=0.98, short_gamma=0.8, half_life_s=1000.0)
QUALITY_SUMS = ("n", "s", "q", "short_n", "short_s", "short_q")

qualities = st.floats(0, 1, allow_nan=False)
batches = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(qualities, min_size=1, max_size=4), st.floats(0, 500)),
    min_size=1,
    max_size=12,
)


class SharedTable:
    """Adds batches as the store does, in the order in which flushes of several replicas arrive."""

    def __init__(self) -> None:
        self.rows = {model: Statistics() for model in "ab"}
        self.samples: dict[str, list[Sample]] = {model: [] for model in "ab"}
        self.position = 0
        self.now = 0.0

    def flush(self, model: str, batch: list[float], elapsed_s: float) -> None:
        self.position += len(batch)
        self.now += elapsed_s
        for row in self.rows.values():
            fade(row, decay(W, len(batch), elapsed_s))
        row = self.rows[model]
        add_qualities(row, batch, W)
        self.samples[model] += [Sample(self.position, row.turn, self.now, r) for r in batch]

    def label(self, model: str, place: int, quality: float) -> None:
        old = self.samples[model][place]
        correct(self.rows[model], old, quality, self.position, self.now, W)
        self.samples[model][place] = Sample(old.position, old.turn, old.at, quality)


def assert_same(row: Statistics, expected: Statistics) -> None:
    for name in QUALITY_SUMS:
        assert getattr(row, name) == pytest.approx(getattr(expected, name), abs=1e-9), name


@given(flushes=batches, labels=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 99), qualities), max_size=8))
def test_flushed_batches_and_late_labels_equal_a_recomputation_from_the_samples(flushes, labels):
    table = SharedTable()
    for number, (model, batch, elapsed_s) in enumerate(flushes):
        table.flush(model, batch, elapsed_s)
        for after, place, quality in labels:
            if after == number:
                table.label(model, place % len(table.samples[model]), quality)
    for model, row in table.rows.items():
        assert_same(row, recomputed(table.samples[model], table.position, table.now, W))
        assert -1e-9 <= row.s <= row.n + 1e-9
        assert row.n >= 0


@given(
    seen=st.lists(st.tuples(st.sampled_from("ab"), qualities, st.floats(0, 500)), min_size=1, max_size=20),
    data=st.data(),
)
def test_experience_in_memory_equals_a_recomputation_from_its_samples(seen, data):
    experience, now = Experience(W), 0.0
    samples: dict[str, list[Sample]] = {"a": [], "b": []}
    for model, quality, elapsed_s in seen:
        now += elapsed_s
        sample = experience.observe(Observation("p", "t", model, now, quality))
        assert sample is not None
        samples[model].append(sample)
    model = seen[0][0]
    corrected = experience.relabel("p", "t", model, samples[model][0], data.draw(qualities), now)
    samples[model][0] = corrected
    for name in samples:
        row = experience.statistics("p", "t", name, now)
        assert_same(row, recomputed(samples[name], len(seen), now, W))


def test_evidence_of_other_task_types_stays_exact_over_many_changes():
    """The sums behind the prior are updated by differences, whose errors must not accumulate."""
    experience, draws = Experience(RouterWeights()), random.Random(1)
    for step in range(3000):
        experience.observe(Observation("p", f"t{draws.randrange(4)}", draws.choice("ab"), step, draws.random()))
    project = experience.project("p")
    for model, total in project.models.items():
        assert total.weight == pytest.approx(sum(row.evidence[model][0] for row in project.rows.values()))
        assert total.weighted == pytest.approx(sum(row.evidence[model][1] for row in project.rows.values()))


def test_observation_without_quality_updates_only_speed_and_cost():
    experience = Experience(W)
    assert experience.observe(Observation("p", "t", "a", 0.0, None, 0.1, 2.0, 50.0, 0.01, 100, 80)) is None
    row = experience.statistics("p", "t", "a", 0.0)
    assert (row.n, row.s, row.q, row.turn) == (0, 0, 0, 0)
    assert (row.latency_s, row.tokens_per_s, row.cost_usd, row.output_tokens) == (2.0, 50.0, 0.01, 80)


def test_averages_follow_recent_calls_and_ignore_unmeasured_values():
    row = Statistics()
    for _ in range(100):
        add_call(row, Observation("p", "t", "a", 0.0, latency_s=1.0, cost_usd=0.5), RouterWeights())
    for _ in range(40):
        add_call(row, Observation("p", "t", "a", 0.0, latency_s=9.0), RouterWeights())
    assert row.latency_s is not None
    assert row.latency_s > 7.0
    assert row.cost_usd == pytest.approx(0.5)


def test_statistics_decay_with_time():
    row = Statistics(n=8.0, s=4.0, q=3.0)
    fade(row, decay(RouterWeights(), 0, 14 * 86400))
    assert (row.n, row.s, row.q) == (4.0, 2.0, 1.5)


def test_clock_that_goes_back_does_not_increase_weights():
    assert decay(W, 0, -50.0) == 1.0


def test_restored_row_keeps_the_pending_decisions_of_the_process():
    experience = Experience(W)
    project = experience.project("p")
    row = project.row("t", 0.0, W)
    project.cell(row, "a").pending = 2
    experience.restore("p", "t", 30, {"a": Statistics(n=10, s=8, q=7, last_change=5.0)})
    restored = experience.statistics("p", "t", "a", 5.0)
    assert (restored.n, restored.s, restored.pending) == (10, 8, 2)
    assert (row.position, row.n) == (30, 10)


def test_projects_share_nothing():
    experience = Experience(W)
    experience.observe(Observation("x", "t", "a", 0.0, 1.0))
    assert experience.statistics("y", "t", "a", 0.0).n == 0
    assert not experience.project("y").models
