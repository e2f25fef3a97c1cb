"""Why a call has no model: what its caller reads."""

from __future__ import annotations

from kairos.errors import KairosError
from kairos.llm.routing.decision import Decision
from kairos.llm.routing.scoring import Reason


class NoModelAvailable(KairosError):
    """No model can take this call now: {reasons}. `kairos model list` shows their health."""

    status, code, exit_code = 503, "no_model_available", 3
    retryable = True


class NoSuitableModel(KairosError):
    """No model in the catalogue suits this call: {reasons}. Add one with `kairos model scan`, or ask less of it."""

    status, code, exit_code = 422, "no_suitable_model", 3


class BeingProbed(KairosError):
    """The model {model} failed before and is being tried by another call; it is not called before that has ended."""

    status, code, exit_code = 503, "model_being_probed", 3
    retryable = True


class ModelWithdrawn(KairosError):
    """The model {model} was taken out of service after it had been chosen for this call; another try chooses anew."""

    status, code, exit_code = 503, "model_withdrawn", 3
    retryable = True


class UnknownModel(KairosError):
    """No model is named {name!r}. The catalogue has: {known}."""

    status, code, exit_code = 422, "unknown_model", 2


def nothing_left(decision: Decision) -> KairosError:
    """The error of a decision without a choice, with what spoke against each model."""
    reasons = "; ".join(f"{e.model}: {e.detail or e.reason}" for e in decision.excluded) or "the catalogue is empty"
    blocked = any(exclusion.reason is Reason.BREAKER for exclusion in decision.excluded)
    return NoModelAvailable(reasons=reasons) if blocked else NoSuitableModel(reasons=reasons)
