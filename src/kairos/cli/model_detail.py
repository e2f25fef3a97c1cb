"""Format a model for people: its facts, its recent calls, and what the router would do with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from kairos.cli import output

CHOSEN = {
    "highest_score": "chosen: highest score",
    "exploration": "chosen: few of its answers have been measured",
    "kept": "chosen: no other model scores enough higher to justify a switch",
    "only_candidate": "chosen: no other model can take such a request",
    "default_model": "chosen: it is the configured default model",
    "last_resort": "chosen as the last resort",
}


def model_detail(
    model: Mapping[str, Any], history: Mapping[str, Any], routing: Mapping[str, Any]
) -> Iterator[RenderableType]:
    """The parts of the text, in order. The arguments are the API's responses."""
    detail = output.plain(model["health_detail"])
    yield output.line(output.bold(model["name"]), "  ", output.state(model["health"]), f"  {detail}")
    facts = {**_facts(model), **_calls(history)}
    yield output.table(["", ""], [[name, output.plain(value)] for name, value in facts.items()])
    columns = ["task type", "score#", "quality#?", "share#?", "reason"]
    yield output.table(columns, [_routing_row(item) for item in routing["items"]])


def _facts(model: Mapping[str, Any]) -> dict[str, str]:
    figures = model["figures"] or {}
    return {
        "upstream": model["upstream"],
        "where": "local" if model["local"] else "cloud",
        "from": model["origin"] if model["base"] is None else f"adapter of {model['base']}",
        "price": _price(model),
        "context": f"{model['context']} tokens",
        "default answer limit": f"{model['answer_limit']} tokens",
        "declared": ", ".join(model["capabilities"]) or "–",
        "adjustments": "; ".join(model["adjustments"]) or "none",
        "circuit breaker": _breaker(model),
        "calls": str(figures.get("calls", 0)),
        "quality": output.number(figures.get("quality")),
    }


def _price(model: Mapping[str, Any]) -> str:
    hourly = "" if model["price_per_hour"] is None else f", ${model['price_per_hour']:g} per hour"
    price = model["price"]
    if price is None:
        return f"unknown{hourly}"
    source = f", {model['price_source']}" if model["price_source"] else ""
    dated = f"({model['price_at'] or 'no date'}{source})"
    return f"${price['input']:g} in, ${price['output']:g} out per million {dated}{hourly}"


def _breaker(model: Mapping[str, Any]) -> str:
    until = f" until {model['retry_at']}" if model["retry_at"] else ""
    return f"{model['breaker'].replace('_', '-')}{until}"


def _calls(history: Mapping[str, Any]) -> dict[str, str]:
    """The calls of the period, and the reasons of failures."""
    calls, failures = 0, dict[str, int]()
    for period in history["items"]:
        calls += period["calls"]
        for error, number in period["failures"].items():
            failures[error] = failures.get(error, 0) + number
    reasons = ", ".join(f"{error} {number}" for error, number in sorted(failures.items(), key=lambda each: -each[1]))
    failed = f", {sum(failures.values())} failed ({reasons})" if failures else ""
    return {f"last {history['days']} days": f"{calls} {'call' if calls == 1 else 'calls'}{failed}"}


def _routing_row(item: Mapping[str, Any]) -> list[str]:
    own = item["own"]
    return [
        output.plain(item["task_type"]),
        "–" if own is None else output.number(own["utility"], digits=3),
        "–" if own is None else f"{own['mu']:.2f} ± {own['interval']:.2f}",
        "–" if item["share"] is None else f"{item['share']:.0%}",
        output.plain(reason_of(item)),
    ]


def reason_of(item: Mapping[str, Any]) -> str:
    """Why the router would choose the model now, or not."""
    reason, chosen = item["reason"], item["chosen"]
    if reason in CHOSEN:
        return CHOSEN[reason]
    if reason == "excluded":
        exclusion = item["exclusion"]
        return f"excluded: {exclusion['detail'] or exclusion['reason']}"
    if reason == "other_kept":
        return f"not chosen: {chosen} is kept, the difference is too small to justify a switch"
    if reason == "other_default":
        return f"not chosen: {chosen or 'another model'} is the configured default model"
    return f"not chosen: {_comparison(item)}"


def _comparison(item: Mapping[str, Any]) -> str:
    """What decides against the model: the quality, or else the score and the deciding term."""
    own, rival, term = item["own"], item["rival"], item["deciding"]
    if term == "quality":
        return f"quality {own['mu']:.2f} against {rival['mu']:.2f} of {rival['model']}"
    return f"score {own['utility']:.3f} against {rival['utility']:.3f} of {rival['model']}, mostly because of {term}"
