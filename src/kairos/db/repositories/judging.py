"""What a judge model did in a project, and what it cost, from the calls that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import MetricRow


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """A judge's work in one project."""

    judged: int
    """Answers whose quality is the judge's word."""
    unmeasured: int
    """Answers whose quality nothing measured."""
    calls: int
    """Of the judge itself."""
    failures: int
    cost_usd: float
    """Of the calls whose cost is known."""
    unpriced: int
    """Calls whose cost is not known."""
    input_tokens: int
    output_tokens: int

    @property
    def share(self) -> float | None:
        """Judged ones of those that nothing else measured; None where there were none."""
        every = self.judged + self.unmeasured
        return self.judged / every if every else None


async def figures(session: AsyncSession, task_type: str, source: str, since: datetime) -> JudgeFigures:
    """The calls since then: those of `task_type` are the judge's own, `source` is its name beside a quality."""
    # With `/long` behind it where the statistics keep long inputs apart (`llm/routing/task_types.py`).
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
