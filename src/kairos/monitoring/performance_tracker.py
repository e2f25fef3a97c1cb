"""Records every model call permanently: speed, success, cost, tokens, and the quality measured later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from kairos.db.engine import Database
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


class PerformanceTracker:
    """Writes `model_performance_metrics`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, origin: CallOrigin, calls: Sequence[ModelCall], answered: str | None) -> None:
        """Save the calls of one decision, and the model that answered."""
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
        async with self._database.project(origin.project_id) as session:
            await metrics.add(session, rows)
            await history.close_decision(session, origin.decision_id, answered, [asdict(call) for call in calls])
