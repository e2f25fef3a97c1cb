"""`model_performance_metrics`: one row a model call, kept for as many months as the configuration says.

What was measured of an answer later is written by `statistics.py`, together with what it changes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import MetricRow


async def add(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows of the project in scope: one multi-row INSERT (COPY is refused under row-level security).

    A row that is there already is passed over: its writer could not know whether the first time had succeeded.
    """
    if rows:
        await session.execute(insert(MetricRow).on_conflict_do_nothing(), list(rows))


async def by_model(session: AsyncSession) -> list[Any]:
    """Figures of each model in the project in scope."""
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


async def drop_old_partitions(connection: AsyncConnection, months: int) -> int:
    """Drop the months before the last `months` whole ones. Returns how many were dropped; what is in use stays.

    In a transaction of the system role of its own: nobody can write a metric until it ends.
    """
    return int(await connection.scalar(text("select kairos_drop_partitions(:months)"), {"months": months}) or 0)
