"""`router_statistics`: decayed statistics of each model at each task type, shared by all replicas.

Each measured call (`model_performance_metrics`) stores its position, so that a late label has the weight which its call
has by then. A row is stored with its position and time (`position`, `last_change`) and decays when it is read. Changes
to the rows of a task type require the lock of its position. All functions take a session in the project's scope.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.resources import files
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DecisionRow
from kairos.tenancy import ProjectId


class QualitySource(StrEnum):
    """The source of a measured quality. Each overrides those before it."""

    GUARDIAN = "guardian"
    JUDGE = "judge"
    PERSON = "person"

    def overrules(self, other: QualitySource) -> bool:
        return RANKS.index(self) >= RANKS.index(other)


RANKS = list(QualitySource)

CLOCKS_APART = timedelta(hours=1)
"""Maximum clock difference between machines: a call's time may be this much before the time in its decision's id."""
CLASHES = frozenset({"40001", "40P01"})
"""SQLSTATE codes of serialization failures and deadlocks, after which a retry succeeds."""


@dataclass(frozen=True, slots=True)
class Fading:
    """Decay of observations: a factor `gamma` for each observation of the task type, in the short memory also
    `short_gamma` for each observation of the model, and one half in `half_life_s`."""

    gamma: float
    short_gamma: float
    half_life_s: float

    def logarithms(self) -> dict[str, float]:
        return {
            "ln_gamma": math.log(self.gamma),
            "ln_short": math.log(self.short_gamma),
            "ln_second": -math.log(2) / self.half_life_s,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """The measured quality of a decision's answer. Without a quality only speed and cost are counted."""

    decision_id: UUID
    quality: float | None
    source: QualitySource
    task_type: str | None = None
    """None: it is read from the decision's row."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Statistics of a model at a task type, decayed to the task type's position. Fields as in `StatisticsRow`."""

    n: float
    s: float
    q: float
    short_n: float
    short_s: float
    short_q: float
    turn: int
    calls: float
    first_token_s: float | None
    latency_s: float | None
    tokens_per_s: float | None
    cost_usd: float | None
    input_tokens: float | None
    output_tokens: float | None


@dataclass(frozen=True, slots=True)
class TaskTypeStatistics:
    """Shared statistics of a task type."""

    task_type: str
    position: int
    version: int
    last_change: float
    cells: Mapping[str, Cell] = field(default_factory=dict)


TAKE = text("""
insert into router_positions as kept (project_id, task_type)
select :project_id, task_type from unnest(cast(:task_types as text[])) as task_type order by task_type
on conflict (project_id, task_type) do update set version = kept.version + 1
""")
"""Creates and locks the positions, always in the same order to avoid deadlocks."""

OBSERVE = text(files("kairos.db.repositories.routing").joinpath("statistics.sql").read_text(encoding="utf-8"))

CHANGED = text("""
select stood.task_type, stood.position as place, stood.version,
  cast(extract(epoch from stood.last_change) as double precision) as last_change,
  cell.model, cell.turn,
  kairos_faded(cell.n, fading) as n, kairos_faded(cell.s, fading) as s, kairos_faded(cell.q, fading) as q,
  kairos_faded(cell.short_n, fading) as short_n, kairos_faded(cell.short_s, fading) as short_s,
  kairos_faded(cell.short_q, fading) as short_q, kairos_faded(cell.calls, fading) as calls,
  cell.first_token_s, cell.latency_s, cell.tokens_per_s, cell.cost_usd, cell.input_tokens, cell.output_tokens
from (
  select * from router_positions where project_id = :project_id order by last_change desc limit :most
) as stood
left join unnest(cast(:task_types as text[]), cast(:versions as bigint[])) as known (task_type, version)
  on known.task_type = stood.task_type
left join router_statistics as cell on cell.project_id = stood.project_id and cell.task_type = stood.task_type
cross join lateral (
  select (stood.position - cell.position) * :ln_gamma
    + cast(extract(epoch from stood.last_change - cell.last_change) as double precision) * :ln_second as fading
) as age
where stood.version is distinct from known.version
order by stood.task_type
""")


async def observe(
    session: AsyncSession,
    project_id: ProjectId,
    judgements: Iterable[Judgement],
    fading: Fading,
    at: datetime | None = None,
) -> None:
    """Count judgements, at most one for each decision, as one batch at one position. `at` defaults to PostgreSQL's
    clock.

    Safe to repeat. Judgements of unknown decisions are ignored.
    """
    known = await _with_task_types(session, judgements)
    if not known:
        return
    task_types = sorted({judgement.task_type for judgement in known if judgement.task_type})
    await session.execute(TAKE, {"project_id": project_id, "task_types": task_types})
    values: dict[str, Any] = {
        "project_id": project_id,
        "decisions": [judgement.decision_id for judgement in known],
        "qualities": [judgement.quality for judgement in known],
        "sources": [str(judgement.source) for judgement in known],
        "ranks": [str(source) for source in RANKS],
        "since": _since(judgement.decision_id for judgement in known),
        "at": at,
    }
    await session.execute(OBSERVE, {**values, **fading.logarithms()})


async def changed(
    session: AsyncSession, project_id: ProjectId, fading: Fading, known: Mapping[str, int], most: int
) -> list[TaskTypeStatistics]:
    """Of the `most` recently changed task types, those whose version differs from the known one."""
    values = {
        "project_id": project_id,
        "task_types": list(known),
        "versions": list(known.values()),
        "most": most,
        "ln_gamma": math.log(fading.gamma),
        "ln_second": fading.logarithms()["ln_second"],
    }
    rows = await session.execute(CHANGED, values)
    return [_task_type(list(group)) for _, group in groupby(rows, lambda row: row.task_type)]


def clashed(error: BaseException) -> bool:
    """Whether the transaction failed because of a concurrent one and should be retried."""
    cause = error.__cause__ or error
    return getattr(getattr(cause, "orig", cause), "sqlstate", None) in CLASHES


async def _with_task_types(session: AsyncSession, judgements: Iterable[Judgement]) -> list[Judgement]:
    judgements = list(judgements)
    unknown = [judgement.decision_id for judgement in judgements if judgement.task_type is None]
    if not unknown:
        return judgements
    rows = await session.execute(select(DecisionRow.id, DecisionRow.task_type).where(DecisionRow.id.in_(unknown)))
    found = {row.id: row.task_type for row in rows}
    typed = [(judgement, judgement.task_type or found.get(judgement.decision_id)) for judgement in judgements]
    return [
        Judgement(judgement.decision_id, judgement.quality, judgement.source, task_type)
        for judgement, task_type in typed
        if task_type is not None
    ]


def _since(decisions: Iterable[UUID]) -> datetime:
    """Earliest time of these decisions' calls, to skip older partitions. A UUIDv7 begins with its creation time in
    milliseconds (RFC 9562, 5.7)."""
    epoch = datetime.fromtimestamp(0, UTC)
    return min(
        epoch + timedelta(milliseconds=decision.int >> 80) - CLOCKS_APART if decision.version == 7 else epoch
        for decision in decisions
    )


def _task_type(rows: Sequence[Any]) -> TaskTypeStatistics:
    first = rows[0]
    cells = {
        row.model: Cell(**{name: getattr(row, name) for name in Cell.__dataclass_fields__})
        for row in rows
        if row.model is not None
    }
    return TaskTypeStatistics(first.task_type, first.place, first.version, first.last_change, cells)
