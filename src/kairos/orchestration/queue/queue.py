"""The shared queue in Redis: fair between projects, with caps per project.

PostgreSQL is authoritative: a task taken here must still be claimed there, and the sweeper restores entries that Redis
lost. The operations are implemented in queue.lua; this module adds types and error handling.

Submission and retry call `put`. A daemon calls `take`, and `done` when the claim was refused or the task has ended.
Cancelling a task that is not running calls `remove`. To requeue a running task, call `done` before `put`: `put` ignores
running tasks. Errors of Redis raise `EngineUnavailable`; every call except `take` may then be repeated safely, and
tasks taken by a failed `take` appear in `stale_runs`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar
from uuid import UUID, uuid4

from redis.asyncio import Redis, RedisCluster

from kairos import redis_keys
from kairos.lanes import Lane
from kairos.redis_client import CONNECTION_ERRORS, blocking_redis_errors, redis_errors
from kairos.tenancy import ProjectId, TaskId

T = TypeVar("T")

LUA = files("kairos.orchestration.queue").joinpath("queue.lua").read_text()

HIGHEST_PRIORITY = 100
# Priority and order share one score, which stays exact: 100 * 1e13 is below 2**53, and 1e13 ms is the year 2286.
ORDERS = 10**13
CHUNK = 200  # ids in one call, which blocks Redis for 2 ms (Lua's limit is about 8,000 values)
LIMIT_S = 5.0  # for a call with its retries
PAUSES_S = (0.05, 0.2, 0.8)  # maximum pause before each retry
# An idle daemon checks again this often, in case its bell was consumed by a daemon that died, or was full. Must be
# below
# redis-py's read timeout of 5 s, which would interrupt a longer blocking pop.
NAP_S = 2.0


@dataclass(frozen=True, slots=True)
class TakenTask:
    """A task taken from the queue. It counts towards its project's cap until `done`."""

    lane: Lane
    project_id: ProjectId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A task to put: highest priority first (clamped to ±100), then lowest order (creation time in ms)."""

    task_id: TaskId
    order: float
    priority: int = 0
    due_in_s: float = 0

    def arguments(self) -> tuple[str, float, int]:
        """Task, score and delay in ms: the arguments of queue.lua's `put`."""
        priority = max(-HIGHEST_PRIORITY, min(HIGHEST_PRIORITY, self.priority))
        order = max(0, min(ORDERS - 1, self.order))
        return str(self.task_id), order - priority * ORDERS, max(0, math.ceil(self.due_in_s * 1000))


@dataclass(frozen=True, slots=True)
class Depth:
    """Number of tasks of one project in a lane."""

    waiting: int
    running: int
    delayed: int


class FairQueue:
    """A weighted fair queue for each lane: the project with the lowest virtual time is first, and advances by
    1/weight."""

    def __init__(self, redis: Redis, *, namespace: str = redis_keys.NAMESPACE) -> None:
        self._redis = redis
        self._script = redis.register_script(LUA)
        self._namespace = namespace
        self._keys = {lane: [redis_keys.queue_lane(lane, namespace)] for lane in Lane}

    async def put(
        self,
        lane: Lane,
        project_id: ProjectId,
        task_id: TaskId,
        *,
        order: float,
        priority: int = 0,
        due_in_s: float = 0,
    ) -> None:
        """Add a task, with a delay of `due_in_s`. Waiting and running tasks are left unchanged; a delayed task is
        changed
        only by a put without delay, which makes it wait now."""
        await self.put_many(lane, project_id, [QueueEntry(task_id, order, priority, due_in_s)])

    async def put_many(self, lane: Lane, project_id: ProjectId, entries: Iterable[QueueEntry]) -> None:
        """As `put` for each entry, with one call for each page."""
        for page in _pages(entries):
            arguments = [value for entry in page for value in entry.arguments()]
            await self._call(lane, "put", str(project_id), *arguments)

    async def take(self, lane: Lane, k: int = 1) -> list[TakenTask]:
        """Take up to k tasks (at most CHUNK), in fair order.

        Not retried automatically: if only the reply was lost, the tasks are already taken.
        """
        if k < 1:
            return []
        return self._taken(lane, await self._call(lane, "take", min(k, CHUNK), repeat=False))

    async def done(self, lane: Lane, project_id: ProjectId, task_id: TaskId) -> bool:
        """Mark a task as no longer running. Returns True if it was; a repeated call has no effect."""
        return bool(await self._call(lane, "done", str(project_id), str(task_id)))

    async def remove(self, lane: Lane, project_id: ProjectId, task_id: TaskId) -> None:
        """Remove a waiting or delayed task. A running task must be stopped by its worker."""
        await self._call(lane, "remove", str(project_id), str(task_id))

    async def wait_for_work(self, lanes: Sequence[Lane], timeout_s: float) -> bool:
        """Wait until one of the lanes may have a task. Returns False after the timeout.

        True is only a hint: another daemon may take the task first.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            pause = await self._pause(lanes)
            left = end - loop.time()
            if pause == 0:
                return True
            if left <= 0:
                return False
            if await self._bell(lanes, min(pause, left, NAP_S)):
                return True

    async def set_cap(self, lane: Lane, project_id: ProjectId, cap: int | None) -> None:
        """Set the maximum of running tasks; None for no limit. Running tasks above a lowered cap continue."""
        await self._call(lane, "cap", str(project_id), "" if cap is None else max(0, cap))

    async def set_weight(self, lane: Lane, project_id: ProjectId, weight: float) -> None:
        """Set the project's share relative to others: 1 by default, at least .01."""
        if not math.isfinite(weight):
            raise ValueError(f"a weight must be a finite number, not {weight}")
        await self._call(lane, "weight", str(project_id), weight)

    async def delete_project(self, lane: Lane, project_id: ProjectId) -> None:
        """Delete all data of an erased project from the lane."""
        await self._call(lane, "forget", str(project_id))

    async def adopt(self, lane: Lane, project_id: ProjectId, task_ids: Iterable[TaskId]) -> None:
        """For the sweeper: count tasks as running that run according to PostgreSQL."""
        for page in _pages(task_ids):
            await self._call(lane, "adopt", str(project_id), *map(str, page))

    async def missing(self, lane: Lane, project_id: ProjectId, task_ids: Iterable[TaskId]) -> list[TaskId]:
        """For the sweeper: the tasks that are neither waiting, running nor delayed. Also repairs the project's turn."""
        missing: list[TaskId] = []
        for page in _pages(task_ids):
            answer = await self._call(lane, "missing", str(project_id), *map(str, page))
            missing += [TaskId(_uuid(value)) for value in answer]
        return missing

    async def stale_runs(self, lane: Lane, older_than_s: float) -> list[TakenTask]:
        """For the sweeper: tasks taken longer ago than this and not done, long-running ones included."""
        stale: list[TakenTask] = []
        for page in _pages(await self._projects(lane)):
            stale += self._taken(lane, await self._call(lane, "stale", math.ceil(older_than_s * 1000), *page))
        return stale

    async def depth(self, lane: Lane) -> dict[ProjectId, Depth]:
        """Number of waiting, running and delayed tasks, for each project that has any."""
        depths: dict[ProjectId, Depth] = {}
        for page in _pages(await self._projects(lane)):
            counts = await self._call(lane, "depth", *page)
            for i, project in enumerate(page):
                depths[ProjectId(UUID(project))] = Depth(*counts[3 * i : 3 * i + 3])
        return {project: depth for project, depth in depths.items() if depth != Depth(0, 0, 0)}

    async def generation(self) -> str | None:
        """Id of the last full refill; None if Redis lost its data and a refill is needed."""
        marks = {_text(await self._run(self._redis.get, self._generation(lane))) for lane in Lane}
        return marks.pop() if len(marks) == 1 else None

    async def start_generation(self) -> str:
        """Mark a full refill as complete. Called after the refill, so that an interrupted one is repeated."""
        mark = uuid4().hex
        for lane in Lane:
            await self._run(self._redis.set, self._generation(lane), mark)
        return mark

    async def _pause(self, lanes: Sequence[Lane]) -> float:
        """Seconds until a task may be available; 0 for now."""
        pauses = [await self._call(lane, "pause") for lane in lanes]
        return min((ms / 1000 for ms in pauses if ms >= 0), default=math.inf)

    async def _bell(self, lanes: Sequence[Lane], seconds: float) -> bool:
        bells = [redis_keys.queue_bell(lane, self._namespace) for lane in lanes]
        seconds = max(0.01, seconds)  # 0 means no timeout in Redis
        # In a cluster the lanes are in different slots, so each bell needs its own pop. A cancelled pop may consume a
        # ring; that is safe, because the daemon then checks every lane.
        groups = [[bell] for bell in bells] if isinstance(self._redis, RedisCluster) else [bells]
        pops = [asyncio.ensure_future(self._pop(group, seconds)) for group in groups]
        try:
            ended, _ = await asyncio.wait(pops, return_when=asyncio.FIRST_COMPLETED)
            return any(pop.result() for pop in ended)
        finally:
            for pop in pops:
                pop.cancel()
            await asyncio.gather(*pops, return_exceptions=True)

    async def _pop(self, bells: list[str], seconds: float) -> bool:
        with blocking_redis_errors(self._redis):
            async with asyncio.timeout(seconds + LIMIT_S):
                return await self._redis.blpop(bells, seconds) is not None

    async def _projects(self, lane: Lane) -> list[str]:
        members = await self._run(self._redis.smembers, redis_keys.queue_projects(lane, self._namespace))
        return sorted(str(_uuid(member)) for member in members)

    def _generation(self, lane: Lane) -> str:
        return redis_keys.queue_generation(lane, self._namespace)

    @staticmethod
    def _taken(lane: Lane, answer: list[Any]) -> list[TakenTask]:
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [TakenTask(lane, ProjectId(_uuid(project)), TaskId(_uuid(task))) for project, task in pairs]

    async def _call(self, lane: Lane, operation: str, *arguments: str | float, repeat: bool = True) -> Any:
        return await self._run(self._script, self._keys[lane], (operation, *arguments), repeat=repeat)

    async def _run(self, command: Any, *arguments: Any, repeat: bool = True) -> Any:
        """Run a command. With `repeat` it is retried after a lost connection."""
        with redis_errors(self._redis):
            async with asyncio.timeout(LIMIT_S):
                for pause in PAUSES_S if repeat else ():
                    try:
                        return await command(*arguments)
                    except CONNECTION_ERRORS:
                        await asyncio.sleep(random.uniform(0, pause))
                return await command(*arguments)


def _pages(values: Iterable[T]) -> Iterator[list[T]]:
    page: list[T] = []
    for value in values:
        page.append(value)
        if len(page) == CHUNK:
            yield page
            page = []
    if page:
        yield page


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _uuid(value: bytes | str) -> UUID:
    return UUID(_text(value))
