"""`model_performance_metrics`: a row for each model call, kept for a configured number of months.

The quality of an answer is written later by `statistics.py`, together with the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, case, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import MetricRow

UNKNOWN_ERROR = "unknown"
"""Error code of failed calls that have none."""


async def add(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows of the project in scope with one multi-row INSERT (row-level security does not allow COPY).

    Existing rows are skipped: a writer repeats an insert if it does not know the result of the first one.
    """
    if rows:
        await session.execute(insert(MetricRow).on_conflict_do_nothing(), list(rows))


async def by_model(session: AsyncSession) -> list[Any]:
    """Figures by model, for the project in scope."""
    statement = select(
        MetricRow.model,
        func.count().label("calls"),
        func.count().filter(MetricRow.success).label("successes"),
        func.avg(MetricRow.quality).label("quality"),
        func.count(MetricRow.quality).label("measured"),
        func.avg(MetricRow.first_token_s).label("first_token_s"),
        func.avg(MetricRow.duration_s).filter(MetricRow.success).label("duration_s"),
        func.sum(MetricRow.cost_usd).label("cost_usd"),
        func.sum(MetricRow.input_tokens).label("input_tokens"),
        func.sum(MetricRow.output_tokens).label("output_tokens"),
    ).group_by(MetricRow.model)
    return list(await session.execute(statement))


@dataclass(frozen=True, slots=True)
class CallGroup:
    """The calls of a model in one period that succeeded, or that failed with one error."""

    at: datetime
    """Start of the period."""
    error: str | None
    """Error code; None for calls that succeeded."""
    calls: int
    duration_s: float | None
    """Mean, like `first_token_s`."""
    median_duration_s: float | None
    first_token_s: float | None
    median_first_token_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """Sum of the known costs."""


async def by_period(session: AsyncSession, model: str, since: datetime, period: str) -> list[CallGroup]:
    """The calls of a model since then, by period (`hour` or `day`, in UTC) and error."""
    at = func.date_trunc(period, MetricRow.at, "UTC")
    error = case((MetricRow.success, None), else_=func.coalesce(MetricRow.error, UNKNOWN_ERROR))
    statement = (
        select(
            at,
            error,
            func.count(),
            func.avg(MetricRow.duration_s),
            func.percentile_cont(0.5).within_group(MetricRow.duration_s),
            func.avg(MetricRow.first_token_s),
            func.percentile_cont(0.5).within_group(MetricRow.first_token_s),
            cast(func.sum(MetricRow.input_tokens), BigInteger),
            cast(func.sum(MetricRow.output_tokens), BigInteger),
            func.sum(MetricRow.cost_usd),
        )
        .where(MetricRow.model == model, MetricRow.at >= since)
        .group_by(at, error)
    )
    return [CallGroup(*row) for row in await session.execute(statement)]


async def drop_old_partitions(connection: AsyncConnection, months: int) -> int:
    """Drop partitions older than the last `months` full months. Returns their number; partitions in use are kept.

    Needs a transaction of its own, of the system role: writes of metrics are blocked until it ends.
    """
    return int(await connection.scalar(text("select kairos_drop_partitions(:months)"), {"months": months}) or 0)
