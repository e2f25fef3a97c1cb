"""The loss curve of a training run is thinned for display."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.fine_tuning.training.run_progress import thinned

points = st.lists(st.booleans(), max_size=300).map(
    lambda marks: [{"step": n, "loss": 1.0, "validation_loss": 0.5 if mark else None} for n, mark in enumerate(marks)]
)


@given(points, st.integers(1, 50))
def test_last_point_and_every_validation_point_are_kept(curve, most: int):
    kept = thinned(curve, most)
    assert [p["step"] for p in kept] == sorted(p["step"] for p in kept)
    assert all(p in kept for p in curve if p["validation_loss"] is not None)
    assert not curve or curve[-1] in kept
    plain = [p for p in kept if p["validation_loss"] is None]
    assert len(plain) <= most + 1
