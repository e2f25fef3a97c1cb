"""Adapters, their states, and the dataset rows used to train and evaluate each.

Every function but `projects` runs in the project's scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import AdapterRow, AdapterSampleRow, AdapterState, MetricRow, SampleRow
from kairos.tenancy import ProjectId

IN_SERVICE = (AdapterState.CANARY, AdapterState.LIVE)


@dataclass(frozen=True, slots=True)
class TrainedSample:
    """A dataset row used to train or evaluate an adapter."""

    sample_id: UUID
    version: int
    part: str
    erased: bool


@dataclass(frozen=True, slots=True)
class MeasuredQuality:
    """Measured quality of a model's answers."""

    answers: int
    quality: float
    """Mean, in [0, 1]."""


async def projects(connection: AsyncConnection) -> list[ProjectId]:
    """Projects with an adapter in service, by a function of the system role that returns ids only."""
    rows = await connection.execute(text("select kairos_projects_with_adapters()"))
    return [ProjectId(row[0]) for row in rows]


async def page(session: AsyncSession) -> list[AdapterRow]:
    """Adapters that are not deleted, by base, newest first."""
    statement = select(AdapterRow).where(AdapterRow.state != AdapterState.DELETED)
    return list((await session.execute(statement.order_by(AdapterRow.base, AdapterRow.version.desc()))).scalars())


async def in_service(session: AsyncSession) -> list[AdapterRow]:
    statement = select(AdapterRow).where(AdapterRow.state.in_(IN_SERVICE)).order_by(AdapterRow.id)
    return list((await session.execute(statement)).scalars())


async def get(session: AsyncSession, adapter_id: UUID, *, locked: bool = False) -> AdapterRow | None:
    statement = select(AdapterRow).where(AdapterRow.id == adapter_id)
    if locked:
        statement = statement.with_for_update()
    return (await session.execute(statement)).scalar_one_or_none()


SEEN_AT_ONCE = 1_000
"""Rows of one INSERT."""


async def next_version(session: AsyncSession, base: str) -> int:
    """The next version number of a base. Numbers of deleted adapters are not reused."""
    last = await session.scalar(select(func.max(AdapterRow.version)).where(AdapterRow.base == base))
    return (last or 0) + 1


async def add(session: AsyncSession, row: AdapterRow, seen: Sequence[Mapping[str, Any]]) -> None:
    """Store an adapter and its lineage: `sample_id`, `version` and `part` of each row used."""
    session.add(row)
    await session.flush()
    keys = {"project_id": row.project_id, "adapter_id": row.id}
    for start in range(0, len(seen), SEEN_AT_ONCE):
        page = [{**keys, **one} for one in seen[start : start + SEEN_AT_ONCE]]
        await session.execute(insert(AdapterSampleRow).values(page))


async def of_state(session: AsyncSession, base: str, state: AdapterState) -> AdapterRow | None:
    """The adapter of a base in a state that at most one can have, locked."""
    statement = select(AdapterRow).where(AdapterRow.base == base, AdapterRow.state == state).with_for_update()
    return (await session.execute(statement.order_by(AdapterRow.version.desc()).limit(1))).scalar_one_or_none()


async def move(session: AsyncSession, row: AdapterRow, state: AdapterState, why: str, **values: Any) -> None:
    """Set the state of an adapter, with the time and reason of the change."""
    statement = update(AdapterRow).where(AdapterRow.id == row.id)
    values = {"state": state, "changed_at": func.now(), "changed_why": why, **values}
    await session.execute(statement.values(**values))
    await session.refresh(row)


async def save_report(session: AsyncSession, adapter_id: UUID, report: Mapping[str, Any]) -> None:
    await session.execute(update(AdapterRow).where(AdapterRow.id == adapter_id).values(report=dict(report)))


async def rows_of(session: AsyncSession, adapter_id: UUID) -> list[TrainedSample]:
    """The rows used for an adapter, rows erased since then included."""
    statement = (
        select(AdapterSampleRow.sample_id, AdapterSampleRow.version, AdapterSampleRow.part, SampleRow.id.is_(None))
        .outerjoin(SampleRow, SampleRow.id == AdapterSampleRow.sample_id)
        .where(AdapterSampleRow.adapter_id == adapter_id)
        .order_by(AdapterSampleRow.part, AdapterSampleRow.sample_id)
    )
    return [TrainedSample(*row) for row in await session.execute(statement)]


async def trained_prompts(session: AsyncSession, adapter_id: UUID, most: int) -> list[list[dict[str, Any]]]:
    """Up to `most` training prompts of an adapter, as messages; without rows erased since then."""
    statement = (
        select(SampleRow.prompt)
        .join(AdapterSampleRow, AdapterSampleRow.sample_id == SampleRow.id)
        .where(AdapterSampleRow.adapter_id == adapter_id, AdapterSampleRow.part == "training")
        .order_by(SampleRow.id)
        .limit(most)
    )
    return list((await session.execute(statement)).scalars())


async def measured(session: AsyncSession, model: str, task_types: Sequence[str], since: datetime) -> MeasuredQuality:
    """Number and mean quality of a model's answers at these task types that were measured since then."""
    statement = select(func.count(), func.coalesce(func.avg(MetricRow.quality), 0.0)).where(
        MetricRow.model == model,
        MetricRow.task_type.in_(task_types),
        MetricRow.at >= since,
        MetricRow.quality.is_not(None),
    )
    return MeasuredQuality(*(await session.execute(statement)).one())


async def measured_task_types(session: AsyncSession, model: str, since: datetime) -> list[str]:
    """Task types at which a model's quality was measured since then."""
    statement = select(MetricRow.task_type).where(
        MetricRow.model == model, MetricRow.at >= since, MetricRow.quality.is_not(None)
    )
    return list((await session.execute(statement.distinct())).scalars())
