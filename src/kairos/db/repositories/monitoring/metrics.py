"""`model_performance_metrics`: a row for each model call, kept for a configured number of months.

The quality of an answer is written later by `statistics.py`, together with the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import MetricRow


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


async def drop_old_partitions(connection: AsyncConnection, months: int) -> int:
    """Drop partitions older than the last `months` full months. Returns their number; partitions in use are kept.

    Needs a transaction of its own, of the system role: writes of metrics are blocked until it ends.
    """
    return int(await connection.scalar(text("select kairos_drop_partitions(:months)"), {"months": months}) or 0)
