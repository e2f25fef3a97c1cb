"""`router_statistics`: what all replicas measured of each model at each task type, decayed, with the place of each
sample (`model_performance_metrics`), so that a label that comes late is worth what its sample is worth by then.

A row is written with its place, (position, last_change), and fades when it is read; whoever changes rows of a task type
holds the lock of its position. All functions take a session in the project's scope.
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
    """Who measured a quality. Each overrules those before it."""

    GUARDIAN = "guardian"
    JUDGE = "judge"
    PERSON = "person"

    def overrules(self, other: QualitySource) -> bool:
        return RANKS.index(self) >= RANKS.index(other)


RANKS = list(QualitySource)

CLOCKS_APART = timedelta(hours=1)
"""How much earlier than its decision's id a call may be dated, by another clock: more than any two should differ."""
CLASHES = frozenset({"40001", "40P01"})
"""Codes of a serialization failure and of a deadlock: the same again, a moment later, succeeds."""


@dataclass(frozen=True, slots=True)
class Fading:
    """How fast observations lose weight: by `gamma` for each one of their task type, by `short_gamma` besides in the
    short memory for each one of their own model, and by half in `half_life_s`."""

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
    """What was measured of the answer of a decision. Without a quality its speed and cost are counted, and no more."""

    decision_id: UUID
    quality: float | None
    source: QualitySource
    task_type: str | None = None
    """None where only the decision's row knows it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A model at a task type, faded to the place of the task type. The fields are those of `StatisticsRow`."""

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
    """A task type as all replicas know it."""

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
"""Makes and locks the positions, in one order everywhere: otherwise replicas deadlock."""

OBSERVE = text(files("kairos.db.repositories").joinpath("statistics.sql").read_text(encoding="utf-8"))

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
    """Count judgements, at most one of a decision, as one batch at one place; without `at` by PostgreSQL's clock.

    Repeating it changes nothing. Judgements of decisions that are not known (any more) are passed over.
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
    """The task types, of the `most` that changed last, whose version is not the known one."""
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
    """Whether the transaction failed because another one was in its way, and should simply be tried again."""
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
    """Older partitions need not be looked at: a UUIDv7 begins with the milliseconds of its making (RFC 9562, 5.7)."""
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
