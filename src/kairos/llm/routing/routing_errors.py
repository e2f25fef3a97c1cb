"""Errors of calls for which no model can be chosen."""

from __future__ import annotations

from kairos.errors import KairosError
from kairos.llm.routing.decision import Decision
from kairos.llm.routing.scoring import Reason


class NoModelAvailable(KairosError):
    """No model can be called now: {reasons}. `kairos model list` shows their health."""

    status, code, exit_code = 503, "no_model_available", 3
    retryable = True


class NoSuitableModel(KairosError):
    """No model in the catalogue is suitable for this call: {reasons}. Add one with `kairos model scan`, or relax the
    requirements."""

    status, code, exit_code = 422, "no_suitable_model", 3


class ModelBeingProbed(KairosError):
    """The model {model} failed recently, and another call is probing it. It cannot be called until the probe ends."""

    status, code, exit_code = 503, "model_being_probed", 3
    retryable = True


class ModelWithdrawn(KairosError):
    """The model {model} was withdrawn after it had been chosen for this call. Retry to choose another model."""

    status, code, exit_code = 503, "model_withdrawn", 3
    retryable = True


class UnknownModel(KairosError):
    """No model is named {name!r}. Known models: {known}."""

    status, code, exit_code = 422, "unknown_model", 2


def no_candidate_error(decision: Decision) -> KairosError:
    """Return the error for a decision that chose no model, with the reason each model was excluded."""
    reasons = "; ".join(f"{e.model}: {e.detail or e.reason}" for e in decision.excluded) or "the catalogue is empty"
    blocked = any(exclusion.reason in (Reason.BREAKER, Reason.UNUSABLE) for exclusion in decision.excluded)
    return NoModelAvailable(reasons=reasons) if blocked else NoSuitableModel(reasons=reasons)
