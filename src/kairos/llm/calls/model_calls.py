"""Records of model calls, with cost and result."""

from __future__ import annotations

from kairos.llm.calls.providers import Completion, ModelCallError, Usage
from kairos.llm.catalog.catalog import FREE, Model
from kairos.monitoring.performance_tracker import ModelCall


def cost_of(model: Model, usage: Usage | None, duration_s: float = 0.0) -> float | None:
    """Return the cost of a call in US dollars; None if unknown. A local model without a price is free.

    A price per hour is added for the duration of the call. Concurrent calls each count their own, so that idle time
    is paid by nobody and parallel work more than once.
    """
    price = model.price or (FREE if model.local else None)
    hours = (model.price_per_hour or 0.0) * duration_s / 3600
    if price is None or usage is None:
        return hours if price == FREE else None
    return price.of(usage.input_tokens, usage.output_tokens) + hours


def successful_call(model: Model, completion: Completion) -> ModelCall:
    usage = completion.usage
    return ModelCall(
        model=model.name,
        success=True,
        error=None,
        first_token_s=completion.first_token_s,
        duration_s=completion.duration_s,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_usd=cost_of(model, usage, completion.duration_s),
    )


def failed_call(model: Model, error: ModelCallError, duration_s: float) -> ModelCall:
    usage = error.usage
    return ModelCall(
        model=model.name,
        success=False,
        error=error.code,
        first_token_s=None,
        duration_s=duration_s,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_usd=cost_of(model, usage, duration_s),
    )


def stopped_call(model: Model, duration_s: float) -> ModelCall:
    """Record a call that Kairos cancelled. Its cost is unknown unless the model is free."""
    return ModelCall(model.name, False, "stopped", None, duration_s, None, None, cost_of(model, None, duration_s))
