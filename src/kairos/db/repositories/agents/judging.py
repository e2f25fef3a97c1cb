"""Figures of the judge model in a project, from the stored calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import MetricRow


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """Figures of the judge model in one project."""

    judged: int
    """Answers whose quality was measured by the judge."""
    unmeasured: int
    """Answers whose quality was not measured."""
    calls: int
    """Calls of the judge itself."""
    failures: int
    cost_usd: float
    """Cost of the calls with known cost."""
    unpriced: int
    """Calls with unknown cost."""
    input_tokens: int
    output_tokens: int

    @property
    def share(self) -> float | None:
        """Judged share of the answers not measured otherwise; None if there are none."""
        every = self.judged + self.unmeasured
        return self.judged / every if every else None


async def figures(session: AsyncSession, task_type: str, source: str, since: datetime) -> JudgeFigures:
    """Figures since then. `task_type` is that of the judge's own calls, `source` is its name as quality source."""
    # Long inputs have the suffix `/long` (`llm/routing/task_types.py`).
    own = MetricRow.task_type.startswith(task_type, autoescape=True)
    statement = select(
        func.count().filter(MetricRow.quality_source == source),
        func.count().filter(and_(~own, MetricRow.success, MetricRow.quality.is_(None))),
        func.count().filter(own),
        func.count().filter(and_(own, ~MetricRow.success)),
        func.coalesce(func.sum(MetricRow.cost_usd).filter(own), 0.0),
        func.count().filter(and_(own, MetricRow.cost_usd.is_(None))),
        func.coalesce(func.sum(MetricRow.input_tokens).filter(own), 0),
        func.coalesce(func.sum(MetricRow.output_tokens).filter(own), 0),
    ).where(MetricRow.at >= since)
    row = (await session.execute(statement)).one()
    judged, unmeasured, calls, failures, cost, unpriced, input_tokens, output_tokens = row
    return JudgeFigures(
        judged, unmeasured, calls, failures, cost or 0.0, unpriced, int(input_tokens or 0), int(output_tokens or 0)
    )
