"""A check that registers itself is accepted, run, weighted, stored and shown without changes elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from kairos.agents.base import Draft, TaskSpec
from kairos.agents.checks.check_result import CheckResult, error
from kairos.agents.checks.content import REQUIRE
from kairos.agents.checks.registry import CHECKS, Check, CheckedAnswer, Wording, in_order, register, requested
from kairos.agents.checks.requested import RequestedChecks, checks_model
from kairos.agents.guardian import GuardianAgent
from kairos.api.routes.checks import list_checks
from tests.kit.drafts import task


async def _run(most: int, answer: CheckedAnswer) -> CheckResult:
    fits = len(answer.text.split()) <= most
    findings = () if fits else (error("max_words", f"The answer has more than {most} words."),)
    return CheckResult("max_words", findings, 1.0 if fits else 0.0)


@pytest.fixture
def max_words(monkeypatch: pytest.MonkeyPatch) -> Check[int]:
    monkeypatch.setattr("kairos.agents.checks.registry.CHECKS", dict(CHECKS))
    monkeypatch.setattr("kairos.agents.guardian.CHECKS", known := dict(CHECKS))
    check = Check(
        name="max_words",
        order=9,
        weight=2.0,
        parameter=Annotated[int, Field(ge=1)],
        description="Most words of the answer.",
        option="Most words of the answer.",
        label=Wording("Words", "Sözcük"),
        run=_run,
    )
    known["max_words"] = check
    return register(check)


async def test_registered_check_is_run_and_weighted(max_words: Check[int]):
    model: Any = checks_model()
    checks = model(max_words=2, require=["three"])
    verdict = await GuardianAgent().judge(_with(checks), Draft("one two three", "stop"))
    assert (verdict.approved, verdict.checks) == (False, ("form", "require", "max_words"))
    assert verdict.score == pytest.approx((1.0 * 1 + 2.0 * 0) / 3 * 0.5)
    assert [finding.message for finding in verdict.findings] == ["The answer has more than 2 words."]


def test_parameter_of_a_registered_check_is_validated_and_stored(max_words: Check[int]):
    model: Any = checks_model()
    assert model(max_words=2).stored() == {"max_words": 2}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        model(max_words=0)


async def test_registered_check_is_listed_with_its_schema(max_words: Check[int]):
    member: Any = None
    item = (await list_checks(member)).items[-1]
    assert item.model_dump(by_alias=True) == {
        "name": "max_words",
        "weight": 2.0,
        "schema": {"type": "integer", "minimum": 1},
        "label": {"en": "Words", "tr": "Sözcük"},
        "hint": None,
    }


def test_name_of_a_check_is_unique():
    with pytest.raises(ValueError, match="'require' is already registered"):
        register(REQUIRE)


def test_order_and_weights_of_the_checks():
    """Findings are listed in this order, and the score is the mean with these weights."""
    assert [(check.name, check.weight) for check in in_order()] == [
        ("format", 1.0),
        ("require", 1.0),
        ("forbid", 1.0),
        ("schema", 2.0),
        ("tests", 3.0),
    ]


def test_unknown_check_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        RequestedChecks.model_validate({"rhymes": True})


def test_only_given_checks_are_requested():
    assert requested(RequestedChecks.model_validate({"require": [], "schema": None, "tests": None})) == []
    given = RequestedChecks.model_validate({"schema": {}, "forbid": ["x"]})
    assert [check.name for check, _ in requested(given)] == ["forbid", "schema"]


def _with(checks: Any):
    return replace(task(), spec=TaskSpec(checks=checks))
