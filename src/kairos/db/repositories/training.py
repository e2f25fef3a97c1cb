"""Training runs. Every function except `due` runs in the project's scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import AdapterRow, AdapterState, RunState, TaskRow, TrainingRunRow
from kairos.tenancy import ProjectId

TRIGGER_LOCK = 0x7472_6169_6E


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run with the state of its task and the adapter it produced."""

    run: TrainingRunRow
    task_state: str | None
    task_error: dict[str, Any] | None
    adapter_id: UUID | None


async def page(session: AsyncSession, limit: int) -> list[RunStatus]:
    """Runs, newest first."""
    statement = _statuses().order_by(TrainingRunRow.id.desc()).limit(limit)
    return [RunStatus(*row) for row in await session.execute(statement)]


async def get(session: AsyncSession, run_id: UUID) -> RunStatus | None:
    row = (await session.execute(_statuses().where(TrainingRunRow.id == run_id))).one_or_none()
    return RunStatus(*row) if row else None


async def lock(session: AsyncSession, base: str) -> None:
    """Lock the start of runs of this base in the project until the transaction ends."""
    lock = func.pg_advisory_xact_lock(func.hashtext(func.current_setting("kairos.project_id") + base))
    await session.execute(select(lock))


async def of_task(session: AsyncSession, task_id: UUID) -> TrainingRunRow | None:
    statement = select(TrainingRunRow).where(TrainingRunRow.task_id == task_id)
    return (await session.execute(statement)).scalar_one_or_none()


async def change(session: AsyncSession, run_id: UUID, **values: Any) -> None:
    await session.execute(update(TrainingRunRow).where(TrainingRunRow.id == run_id).values(**values))


async def begin(session: AsyncSession, run: TrainingRunRow) -> None:
    """Mark a run as training. A restarted run keeps its first start time."""
    started = func.coalesce(TrainingRunRow.started_at, func.now())
    await change(session, run.id, state=RunState.TRAINING, started_at=started, error=None)
    await session.refresh(run)


async def end(session: AsyncSession, run_id: UUID, state: RunState, error: str | None = None) -> None:
    await change(session, run_id, state=state, error=error, finished_at=func.now())


async def due(connection: AsyncConnection, rows: int | None, every: timedelta | None) -> list[ProjectId]:
    """Projects whose samples trigger a run, by a function of the system role. Empty if another
    replica holds the lock."""
    if not await connection.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": TRIGGER_LOCK}):
        return []
    query = text("select kairos_training_due(cast(:rows as integer), cast(:every as interval))")
    return [ProjectId(row[0]) for row in await connection.execute(query, {"rows": rows, "every": every})]


def _statuses() -> Select[TrainingRunRow, str, dict[str, Any] | None, UUID]:
    same_task = and_(TaskRow.project_id == TrainingRunRow.project_id, TaskRow.id == TrainingRunRow.task_id)
    same_run = and_(AdapterRow.project_id == TrainingRunRow.project_id, AdapterRow.run_id == TrainingRunRow.id)
    refused = AdapterRow.state == AdapterState.REFUSED
    # Of a run with several tries, the last adapter that was not refused.
    adapter = select(AdapterRow.id).where(same_run).order_by(refused, AdapterRow.version.desc()).limit(1)
    return (
        select(TrainingRunRow, TaskRow.state, TaskRow.error, adapter.scalar_subquery())
        .outerjoin(TaskRow, same_task)
        .execution_options(populate_existing=True)
    )
