"""Samples as text: export and import agree, and secrets are reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.db.base import SampleState
from kairos.fine_tuning.dataset.dataset import (
    HoldsSecrets,
    NothingToApprove,
    check_move,
    fingerprint,
    line_of,
    secrets_of,
)
from kairos.fine_tuning.dataset.formats.detection import read
from kairos.fine_tuning.dataset.formats.row import Imported

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"))
PROMPT = st.lists(st.builds(lambda c: {"role": "user", "content": c}, TEXT), min_size=1, max_size=4)
NOT_BLANK = TEXT.filter(lambda text: bool(text.strip()))


@given(
    PROMPT, NOT_BLANK, st.none() | TEXT, st.none() | TEXT.filter(lambda text: len(text) <= 100), st.uuids(), st.uuids()
)
def test_exported_sample_can_be_imported(prompt, answer, faulty, task_type, row_id, project_id):
    origin = {"project": project_id, "id": row_id, "version": 3}
    row = read(line_of(prompt, answer, faulty, task_type, origin))
    assert row == Imported(prompt, answer, faulty, task_type, row_id, 3, project_id)


@given(PROMPT, PROMPT, st.none() | TEXT, st.none() | TEXT)
def test_fingerprints_are_equal_only_for_the_same_prompt_and_faulty_answer(one, two, faulty, other):
    same = (one, faulty) == (two, other)
    assert (fingerprint(one, faulty) == fingerprint(two, other)) is same


def test_secrets_are_reported_by_kind_and_place_without_their_text():
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    found = secrets_of([{"role": "user", "content": f"use {token}"}], None, f"ok {token}")
    assert found == [
        {"kind": "a GitHub token", "where": "corrected output"},
        {"kind": "a GitHub token", "where": "prompt 1"},
    ]
    assert secrets_of([{"role": "user", "content": "hello"}], "x", "y") == []


@pytest.mark.parametrize("state", [SampleState.CORRECTED, SampleState.APPROVED, SampleState.HELD_OUT])
def test_sample_without_a_good_answer_is_never_approved(state: SampleState):
    with pytest.raises(NothingToApprove):
        check_move(state, corrected_output=None, secrets=[], cleared=False)


def test_sample_that_may_contain_a_secret_needs_clearance_by_a_person():
    secrets = [{"kind": "a GitHub token", "where": "prompt 1"}]
    with pytest.raises(HoldsSecrets, match="GitHub token"):
        check_move(SampleState.APPROVED, corrected_output="x", secrets=secrets, cleared=False)
    check_move(SampleState.APPROVED, corrected_output="x", secrets=secrets, cleared=True)
    check_move(SampleState.REJECTED, corrected_output=None, secrets=secrets, cleared=False)
