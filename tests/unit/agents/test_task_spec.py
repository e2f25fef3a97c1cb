"""A task's options and checks are one type from the request to the stored row and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.base import TaskSpec
from kairos.agents.checks.answer_format import FORMAT, AnswerFormat
from kairos.agents.checks.registry import requested
from kairos.agents.checks.requested import RequestedChecks, spec_from
from kairos.llm.calls.call_options import ModelParameters
from kairos.llm.calls.providers import ChatRequest
from kairos.orchestration.queue.claim import NewTask

CHECKS_0_4 = {
    "format": "python",
    "schema": {"type": "object"},
    "require": ["a", "b"],
    "forbid": ["c"],
    "tests": "assert f() == 1",
}
OPTIONS_0_4 = {
    "model": "m",
    "system": "s",
    "temperature": 1.0,
    "max_tokens": 5,
    "session": "x",
    "cache": True,
    "cache_control": "no-cache",
}
"""The columns of a row that was stored before `TaskSpec` existed."""
FINGERPRINTS_0_4 = (
    "e08e200fc9afb747b388b142b2819a2a210f05adbe84be18f68bd381a8147894",
    "1773238db7fb1378221f6c54e2c3687afcd70dee91763307c3e77d31d448dffc",
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=20)


def test_row_of_an_earlier_version_is_read():
    spec = spec_from(OPTIONS_0_4, CHECKS_0_4)
    assert (spec.model, spec.system, spec.temperature, spec.max_tokens) == ("m", "s", 1.0, 5)
    assert (spec.session, spec.cache, spec.cache_control) == ("x", True, "no-cache")
    assert FORMAT.of(spec.checks) is AnswerFormat.PYTHON
    assert {check.name: parameter for check, parameter in requested(spec.checks)} == {
        **CHECKS_0_4,
        "require": ("a", "b"),
        "forbid": ("c",),
    }
    assert (spec.stored_options(), spec.checks.stored()) == (OPTIONS_0_4, CHECKS_0_4)


def test_row_without_options_and_checks_is_read():
    spec = spec_from({}, {})
    assert (spec.stored_options(), spec.checks.stored(), spec.checks.can_score()) == ({}, {}, False)
    assert requested(spec.checks) == []


def test_row_of_a_later_version_is_read_without_what_is_unknown():
    spec = spec_from({**OPTIONS_0_4, "color": "red"}, {**CHECKS_0_4, "rhymes": True})
    assert (spec.stored_options(), spec.checks.stored()) == (OPTIONS_0_4, CHECKS_0_4)


def test_idempotency_keys_of_an_earlier_version_stay_valid():
    """The fingerprints were computed before `TaskSpec` existed."""
    spec = spec_from(OPTIONS_0_4, CHECKS_0_4)
    full = NewTask(prompt="p", agent="ExecutionAgent", task_type="code", spec=spec, priority=3)
    plain = NewTask(prompt="p", agent="ExecutionAgent")
    assert (full.fingerprint().hex(), plain.fingerprint().hex()) == FINGERPRINTS_0_4


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": TEXTS,
            "system": TEXTS,
            "temperature": st.floats(0, 2),
            "max_tokens": st.integers(1, 1_000_000),
            "session": TEXTS,
            "cache": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from([str(form) for form in AnswerFormat]),
            "schema": st.dictionaries(TEXTS, st.none() | st.booleans() | TEXTS, max_size=3),
            "require": st.lists(TEXTS, min_size=1, max_size=3),
            "forbid": st.lists(TEXTS, min_size=1, max_size=3),
            "tests": TEXTS,
        },
    ),
)
def test_stored_specification_is_read_unchanged(options: dict, checks: dict):
    spec = TaskSpec(**options, checks=RequestedChecks.model_validate(checks))
    assert (spec.stored_options(), spec.checks.stored()) == (options, checks)
    assert spec_from(spec.stored_options(), spec.checks.stored()) == spec


def test_every_parameter_reaches_the_request():
    request = ChatRequest.of((), ModelParameters(temperature=0.5, max_tokens=7))
    assert (request.temperature, request.max_tokens, request.extra) == (0.5, 7, {})


def test_parameter_without_a_field_of_its_own_is_passed_through():
    class Later(ModelParameters):
        top_p: float | None = None

        def parameters(self):
            return {**super().parameters(), "top_p": self.top_p}

    request = ChatRequest.of((), Later(temperature=0.5, top_p=0.9))
    assert (request.temperature, request.extra) == (0.5, {"top_p": 0.9})
