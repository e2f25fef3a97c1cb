"""Heartbeats of the daemons, written every few seconds. They belong to no project and need no scope."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DaemonRole, ReplicaRow

DEAD_AFTER = timedelta(seconds=10)
"""A daemon without a heartbeat for this long counts as dead: five heartbeats."""
LISTED_FOR = timedelta(hours=1)
"""Time for which a dead daemon is still listed."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A daemon as of its last heartbeat."""

    name: str
    role: DaemonRole
    version: str
    slots: int
    started_at: datetime
    heartbeat_at: datetime
    config_version: int
    config_error: str | None
    config_waiting: list[str]
    alive: bool

    @property
    def works(self) -> bool:
        """Whether it runs tasks now."""
        return self.alive and self.slots > 0


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The status that a daemon writes with each heartbeat."""

    role: DaemonRole
    version: str
    slots: int
    config_version: int = 0
    config_error: str | None = None
    config_waiting: tuple[str, ...] = ()


async def beat(session: AsyncSession, name: str, status: DaemonStatus) -> None:
    values = {**asdict(status), "config_waiting": list(status.config_waiting)}
    statement = insert(ReplicaRow).values(name=name, **values)
    changed = {**values, "heartbeat_at": func.now()}
    await session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))


async def leave(session: AsyncSession, name: str) -> None:
    await session.execute(delete(ReplicaRow).where(ReplicaRow.name == name))


async def known(session: AsyncSession) -> list[Replica]:
    """Daemons that are alive or recently died, oldest first."""
    alive = ReplicaRow.heartbeat_at > func.now() - DEAD_AFTER
    statement = (
        select(
            ReplicaRow.name,
            ReplicaRow.role,
            ReplicaRow.version,
            ReplicaRow.slots,
            ReplicaRow.started_at,
            ReplicaRow.heartbeat_at,
            ReplicaRow.config_version,
            ReplicaRow.config_error,
            ReplicaRow.config_waiting,
            alive,
        )
        .where(ReplicaRow.heartbeat_at > func.now() - LISTED_FOR)
        .order_by(ReplicaRow.started_at, ReplicaRow.name)
    )
    return [_replica(row) for row in await session.execute(statement)]


def _replica(row: Any) -> Replica:
    name, role, *rest = row
    return Replica(name, DaemonRole(role), *rest)
