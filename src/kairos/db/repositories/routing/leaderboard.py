"""Results of the models at each task type, from the stored calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import MetricRow

OWN_TYPES = "kairos:"
"""Prefix of the task types of Kairos' own calls, such as the judge's."""


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


@dataclass(frozen=True, slots=True)
class TypeTraffic:
    """The recent calls of one task type, and how many of them went to one model."""

    task_type: str
    calls: int
    of_model: int
    input_tokens: float | None
    """Mean over the calls with counted tokens."""


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


async def traffic_of(session: AsyncSession, model: str, since: datetime, most: int) -> Sequence[TypeTraffic]:
    """The `most` task types with the most calls since then, and the calls that went to the model.

    Without Kairos' own calls, which name their model.
    """
    calls = func.count()
    statement = (
        select(
            MetricRow.task_type,
            calls,
            func.count().filter(MetricRow.model == model),
            func.avg(MetricRow.input_tokens),
        )
        .where(MetricRow.at >= since, MetricRow.task_type.not_like(f"{OWN_TYPES}%"))
        .group_by(MetricRow.task_type)
        .order_by(calls.desc(), MetricRow.task_type)
        .limit(most)
    )
    return [
        TypeTraffic(name, total, own, None if tokens is None else float(tokens))
        for name, total, own, tokens in await session.execute(statement)
    ]
