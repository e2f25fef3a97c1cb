"""Adapters: which there are, how far each has come, and which rows of the dataset it saw.

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
    """A row of the dataset that an adapter saw."""

    sample_id: UUID
    version: int
    part: str
    erased: bool


@dataclass(frozen=True, slots=True)
class MeasuredQuality:
    """What was measured of a model's answers."""

    answers: int
    quality: float
    """Mean, in [0, 1]."""


async def projects(connection: AsyncConnection) -> list[ProjectId]:
    """Those that have an adapter in service; by a function of the system role, which gives ids alone."""
    rows = await connection.execute(text("select kairos_projects_with_adapters()"))
    return [ProjectId(row[0]) for row in rows]


async def page(session: AsyncSession) -> list[AdapterRow]:
    """All but the deleted ones, the newest of each base first."""
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


async def of_run(session: AsyncSession, run_id: UUID) -> AdapterRow | None:
    return (await session.execute(select(AdapterRow).where(AdapterRow.run_id == run_id))).scalar_one_or_none()


SEEN_AT_ONCE = 1_000
"""Rows of one INSERT."""


async def next_version(session: AsyncSession, base: str) -> int:
    """A deleted version is never given again."""
    last = await session.scalar(select(func.max(AdapterRow.version)).where(AdapterRow.base == base))
    return (last or 0) + 1


async def add(session: AsyncSession, row: AdapterRow, seen: Sequence[Mapping[str, Any]]) -> None:
    """Keep an adapter and its lineage: `sample_id`, `version` and `part` of each row it saw."""
    session.add(row)
    await session.flush()
    keys = {"project_id": row.project_id, "adapter_id": row.id}
    for start in range(0, len(seen), SEEN_AT_ONCE):
        page = [{**keys, **one} for one in seen[start : start + SEEN_AT_ONCE]]
        await session.execute(insert(AdapterSampleRow).values(page))


async def of_state(session: AsyncSession, base: str, state: AdapterState) -> AdapterRow | None:
    """The adapter of a base in a state that only one can have."""
    statement = select(AdapterRow).where(AdapterRow.base == base, AdapterRow.state == state).with_for_update()
    return (await session.execute(statement.order_by(AdapterRow.version.desc()).limit(1))).scalar_one_or_none()


async def move(session: AsyncSession, row: AdapterRow, state: AdapterState, why: str, **values: Any) -> None:
    """To another state, from now on."""
    statement = update(AdapterRow).where(AdapterRow.id == row.id)
    values = {"state": state, "changed_at": func.now(), "changed_why": why, **values}
    await session.execute(statement.values(**values))
    await session.refresh(row)


async def save_report(session: AsyncSession, adapter_id: UUID, report: Mapping[str, Any]) -> None:
    await session.execute(update(AdapterRow).where(AdapterRow.id == adapter_id).values(report=dict(report)))


async def rows_of(session: AsyncSession, adapter_id: UUID) -> list[TrainedSample]:
    """The rows it saw, those that were erased since among them."""
    statement = (
        select(AdapterSampleRow.sample_id, AdapterSampleRow.version, AdapterSampleRow.part, SampleRow.id.is_(None))
        .outerjoin(SampleRow, SampleRow.id == AdapterSampleRow.sample_id)
        .where(AdapterSampleRow.adapter_id == adapter_id)
        .order_by(AdapterSampleRow.part, AdapterSampleRow.sample_id)
    )
    return [TrainedSample(*row) for row in await session.execute(statement)]


async def trained_on(session: AsyncSession, sample_id: UUID) -> list[AdapterRow]:
    """From a row to the adapters that were trained or measured with it."""
    saw = select(AdapterSampleRow.adapter_id).where(AdapterSampleRow.sample_id == sample_id)
    statement = select(AdapterRow).where(AdapterRow.id.in_(saw)).order_by(AdapterRow.id)
    return list((await session.execute(statement)).scalars())


async def trained_prompts(session: AsyncSession, adapter_id: UUID, most: int) -> list[list[dict[str, Any]]]:
    """Some of the prompts that it was trained on, as messages; those erased since are not among them."""
    statement = (
        select(SampleRow.prompt)
        .join(AdapterSampleRow, AdapterSampleRow.sample_id == SampleRow.id)
        .where(AdapterSampleRow.adapter_id == adapter_id, AdapterSampleRow.part == "training")
        .order_by(SampleRow.id)
        .limit(most)
    )
    return list((await session.execute(statement)).scalars())


async def measured(session: AsyncSession, model: str, task_types: Sequence[str], since: datetime) -> MeasuredQuality:
    """The answers of a model at these task types whose quality was measured since then."""
    statement = select(func.count(), func.coalesce(func.avg(MetricRow.quality), 0.0)).where(
        MetricRow.model == model,
        MetricRow.task_type.in_(task_types),
        MetricRow.at >= since,
        MetricRow.quality.is_not(None),
    )
    return MeasuredQuality(*(await session.execute(statement)).one())


async def measured_task_types(session: AsyncSession, model: str, since: datetime) -> list[str]:
    """What a model was measured at since then."""
    statement = select(MetricRow.task_type).where(
        MetricRow.model == model, MetricRow.at >= since, MetricRow.quality.is_not(None)
    )
    return list((await session.execute(statement.distinct())).scalars())
