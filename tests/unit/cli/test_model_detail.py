"""`kairos model show`: the reason for each task type, and the calls."""

from __future__ import annotations

from typing import Any

import pytest

from kairos.cli import output
from kairos.cli.model_detail import model_detail, reason_of
from kairos.llm.routing.routing_preview import RoutingReason

SCORE = {"model": "far", "mu": 0.61, "utility": 0.5, "interval": 0.05}
RIVAL = {**SCORE, "model": "best", "mu": 0.93, "utility": 0.8}
MODEL: dict[str, Any] = {
    "name": "far\x1b[31m",
    "upstream": "far",
    "local": False,
    "health": "unhealthy",
    "health_detail": "it is away",
    "origin": "stored",
    "base": None,
    "price": {"input": 1.0, "output": 4.0},
    "price_at": "2026-11-01",
    "price_source": "list",
    "price_per_hour": 2.5,
    "context": 8192,
    "answer_limit": 512,
    "capabilities": [],
    "adjustments": [],
    "breaker": "half_open",
    "retry_at": None,
    "figures": None,
}


def item(reason: str, **values: Any) -> dict[str, Any]:
    common = {"task_type": "code", "reason": reason, "chosen": "best", "share": 0.25, "deciding": "quality"}
    return {**common, "own": SCORE, "rival": RIVAL, "exclusion": {"reason": "breaker", "detail": "open"}, **values}


def test_reason_names_the_values_that_decide():
    assert reason_of(item("lower_score")) == "not chosen: quality 0.61 against 0.93 of best"
    assert reason_of(item("lower_score", deciding="cost")) == (
        "not chosen: score 0.500 against 0.800 of best, mostly because of cost"
    )
    assert reason_of(item("excluded", own=None)) == "excluded: open"


@pytest.mark.parametrize("reason", list(RoutingReason))
def test_every_reason_has_a_sentence(reason: RoutingReason):
    assert reason_of(item(reason)).startswith(("chosen", "not chosen: ", "excluded: "))
    assert reason_of(item(reason)).startswith("chosen") == (reason in CHOSEN)


CHOSEN = {
    RoutingReason.HIGHEST_SCORE,
    RoutingReason.EXPLORATION,
    RoutingReason.KEPT,
    RoutingReason.ONLY_CANDIDATE,
    RoutingReason.DEFAULT_MODEL,
    RoutingReason.LAST_RESORT,
}


def test_text_contains_dated_price_calls_and_reasons_without_control_characters():
    periods = [{"calls": 4, "failures": {"model_timeout": 2}}, {"calls": 3, "failures": {"model_timeout": 1}}]
    history = {"days": 7, "items": periods}
    routing = {"items": [item("lower_score"), item("excluded", own=None, share=None, task_type="text")]}
    with output.out.capture() as captured:
        for part in model_detail(MODEL, history, routing):
            output.out.print(part)
    text = " ".join(captured.get().split())
    assert "\x1b[31m" not in text
    for expected in ("(2026-11-01, list), $2.5 per hour", "7 calls, 3 failed (model_timeout 3)", "half-open"):
        assert expected in text
