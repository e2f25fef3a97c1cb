"""Rows of model calls, kept permanently: speed, success, cost, tokens, and the quality measured later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from kairos.db.engine import Session
from kairos.db.repositories.monitoring import metrics
from kairos.db.repositories.tasks import history
from kairos.tenancy import ProjectId, new_id


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call to one model, with its result."""

    model: str
    success: bool
    error: str | None
    """Error code; None on success."""
    first_token_s: float | None
    duration_s: float
    input_tokens: int | None
    """As counted by the server; None if it did not count."""
    output_tokens: int | None
    cost_usd: float | None
    """None if unknown, because there is no price or no count."""


@dataclass(frozen=True, slots=True)
class CallOrigin:
    """The project, task and decision of a call."""

    project_id: ProjectId
    task_id: UUID | None
    attempt: int | None
    decision_id: UUID
    task_type: str


async def add_calls(session: Session, origin: CallOrigin, calls: Sequence[ModelCall], answered: str | None) -> None:
    """Add the calls of one decision to `model_performance_metrics`, and the model that answered to the decision."""
    rows = [
        {
            "id": new_id(),
            "project_id": origin.project_id,
            "task_id": origin.task_id,
            "attempt": origin.attempt,
            "decision_id": origin.decision_id,
            "task_type": origin.task_type,
            **asdict(call),
        }
        for call in calls
    ]
    await metrics.add(session, rows)
    await history.close_decision(session, origin.decision_id, answered, [asdict(call) for call in calls])
