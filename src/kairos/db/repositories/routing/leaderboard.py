"""Results of the models at each task type, from the stored calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import MetricRow


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One model at one task type in one project."""

    task_type: str
    model: str
    calls: int
    failures: int
    measured: int
    """Answers with measured quality."""
    quality: float | None
    """Mean quality, in [0, 1]."""
    deviation: float | None
    """Sample standard deviation of the quality; None for fewer than two answers."""
    first_token_s: float | None
    duration_s: float | None
    cost_usd: float | None
    """Sum of the known costs."""


async def rows(session: AsyncSession, since: datetime) -> Sequence[LeaderboardRow]:
    """Results since then, by task type, best quality first."""
    quality = func.avg(MetricRow.quality)
    statement = (
        select(
            MetricRow.task_type,
            MetricRow.model,
            func.count(),
            func.count().filter(~MetricRow.success),
            func.count(MetricRow.quality),
            quality,
            func.stddev_samp(MetricRow.quality),
            func.avg(MetricRow.first_token_s),
            func.avg(MetricRow.duration_s).filter(MetricRow.success),
            func.sum(MetricRow.cost_usd),
        )
        .where(MetricRow.at >= since)
        .group_by(MetricRow.task_type, MetricRow.model)
        .order_by(MetricRow.task_type, quality.desc().nulls_last(), MetricRow.model)
    )
    return [LeaderboardRow(*row) for row in await session.execute(statement)]
