"""The pulls of all daemons, in Redis: who pulls what, how far it is, and requests to cancel.

A record is kept for a day after its last change. It carries no secret. Losing it loses only the display: Ollama
continues a repeated pull where it stopped. The operations are implemented in pulls.lua.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.orchestration.providers.ollama.pull_problem import PullProblem, interrupted
from kairos.orchestration.providers.ollama.pull_stream import PullPhase, PullProgress
from kairos.redis_client import redis_errors
from kairos.tenancy import ProjectId

LUA = files("kairos.orchestration.providers.ollama").joinpath("pulls.lua").read_text()
MOST_PULLS = 2
"""Pulls of one provider at a time, as in pulls.lua."""
KEPT_MS = 24 * 3600 * 1000
LEASE_S = 15.0
"""A pull whose daemon does not report for this long is interrupted."""


class PullState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Its daemon has ended."""


@dataclass(frozen=True, slots=True)
class PullRecord:
    """One pull, as every daemon shows it."""

    id: UUID
    model: str
    started_at: datetime
    state: PullState = PullState.RUNNING
    progress: PullProgress = field(default_factory=PullProgress)
    problem: PullProblem | None = None
    ended_at: datetime | None = None

    def ended(self, state: PullState, problem: PullProblem | None = None) -> PullRecord:
        return replace(self, state=state, problem=problem, ended_at=datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class PullsOf:
    """The provider whose pulls are meant; without a project, one that all projects share."""

    project_id: ProjectId | None
    provider_id: UUID


class BeatResult(StrEnum):
    """The answer to a report of a running pull."""

    OK = "ok"
    CANCEL = "cancel"
    LOST = "lost"
    """Its daemon has not reported in time, so that it counts as interrupted."""


class PullBoard:
    """Records of pulls in Redis. Every method raises `EngineUnavailable`."""

    def __init__(self, redis: Redis, lease_s: float = LEASE_S, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._script = redis.register_script(LUA)
        self._lease_ms = int(lease_s * 1000)
        self._namespace = namespace

    async def start(self, where: PullsOf, record: PullRecord) -> bool:
        """Add a running pull; False if the provider has `MOST_PULLS` already."""
        return bool(await self._call(where, "start", str(record.id), _stored(record), KEPT_MS, self._lease_ms))

    async def beat(self, where: PullsOf, record: PullRecord) -> BeatResult:
        """Report that a pull is running, and how far it is."""
        answer = await self._call(where, "beat", str(record.id), _stored(record), KEPT_MS, self._lease_ms)
        return BeatResult(answer.decode() if isinstance(answer, bytes) else answer)

    async def finish(self, where: PullsOf, record: PullRecord) -> None:
        """Write the end of a pull, unless it already counts as interrupted."""
        await self._call(where, "finish", str(record.id), _stored(record), KEPT_MS)

    async def remove(self, where: PullsOf, pull_id: UUID) -> None:
        await self._call(where, "remove", str(pull_id))

    async def cancel(self, where: PullsOf, pull_id: UUID) -> bool:
        """Ask the daemon of a pull to end it; False if it is not running."""
        return bool(await self._call(where, "cancel", str(pull_id), self._lease_ms))

    async def list(self, where: PullsOf) -> list[PullRecord]:
        """The pulls of a provider, newest first."""
        rows, running = await self._call(where, "list")
        ids = {one.decode() for one in running}
        records = [record for row in rows if (record := _read(row)) is not None]
        return sorted((_shown(record, ids) for record in records), key=lambda record: record.id, reverse=True)

    async def _call(self, where: PullsOf, command: str, *arguments: str | bytes | int) -> Any:
        key = redis_keys.model_pulls(where.project_id, where.provider_id, self._namespace)
        with redis_errors(self._redis):
            return await self._script(keys=[key], args=[command, *arguments])


def _shown(record: PullRecord, running: set[str]) -> PullRecord:
    """The record as it is now: one whose daemon has ended is interrupted."""
    if record.state is not PullState.RUNNING or str(record.id) in running:
        return record
    return replace(record, state=PullState.INTERRUPTED, problem=interrupted())


def _stored(record: PullRecord) -> bytes:
    return orjson.dumps(asdict(record))


def _read(row: bytes) -> PullRecord | None:
    """A stored record; None for one of another version of Kairos."""
    try:
        value: Mapping[str, Any] = orjson.loads(row)
        progress, problem = value["progress"], value["problem"]
        return PullRecord(
            id=UUID(value["id"]),
            model=value["model"],
            started_at=datetime.fromisoformat(value["started_at"]),
            state=PullState(value["state"]),
            progress=PullProgress(PullPhase(progress["phase"]), progress["completed"], progress["total"]),
            problem=PullProblem(problem["cause"], problem["remedy"]) if problem else None,
            ended_at=datetime.fromisoformat(value["ended_at"]) if value["ended_at"] else None,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
