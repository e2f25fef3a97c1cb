"""The queue that every daemon reads: fair between projects, capped, and lossless because PostgreSQL decides.

What is taken here must still be claimed in PostgreSQL, and what Redis loses is put back by the sweeper. The rules are
in queue.lua; here are their names, their types and their faults.

Who calls what: submitting and retrying `put`; a daemon `take`s, and calls `done` when its claim was refused or its task
has ended; cancelling a task that does not run yet `remove`s it. To hand a running task out again call `done` first and
`put` after: a put of a running task changes nothing. A fault of Redis is EngineUnavailable; after it every call but
`take` may be repeated without harm, and what a failed `take` took shows up in `stale_runs`.
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
# Priority and order share one score. It stays exact: 100 * 1e13 is below 2**53, and 1e13 ms is the year 2286.
ORDERS = 10**13
CHUNK = 200  # ids in one call: 2 ms, for which everybody else waits (Lua could unpack some 8,000 values)
LIMIT_S = 5.0  # for a call with its repeats
PAUSES_S = (0.05, 0.2, 0.8)  # before each repeat, at most
# A sleeper looks again this often, so that a bell rung for a daemon that died, or grew full, is not waited for long.
# Below redis-py's read timeout of 5 s, which would cut a longer blocking pop.
NAP_S = 2.0


@dataclass(frozen=True, slots=True)
class TakenTask:
    """A task that Redis handed out; it counts under its project's cap until `done`."""

    lane: Lane
    project_id: ProjectId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A task to put: higher priority first (beyond ±100 counts as ±100), then lower order (ms of creation)."""

    task_id: TaskId
    order: float
    priority: int = 0
    due_in_s: float = 0

    def arguments(self) -> tuple[str, float, int]:
        """Task, score and delay in ms, as queue.lua's `put` reads them."""
        priority = max(-HIGHEST_PRIORITY, min(HIGHEST_PRIORITY, self.priority))
        order = max(0, min(ORDERS - 1, self.order))
        return str(self.task_id), order - priority * ORDERS, max(0, math.ceil(self.due_in_s * 1000))


@dataclass(frozen=True, slots=True)
class Depth:
    """How many tasks of one project a lane holds."""

    waiting: int
    running: int
    delayed: int


class FairQueue:
    """Hands out tasks of a lane: the project with the smallest virtual time first, which then moves on by 1/weight."""

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
        """Makes a task wait, or come in `due_in_s`. One that waits or runs already stays as it is; one that is delayed
        stays so too, unless this put has no delay: then it waits from now on."""
        await self.put_many(lane, project_id, [QueueEntry(task_id, order, priority, due_in_s)])

    async def put_many(self, lane: Lane, project_id: ProjectId, entries: Iterable[QueueEntry]) -> None:
        """As `put` for each, a page a call."""
        for page in _pages(entries):
            arguments = [value for entry in page for value in entry.arguments()]
            await self._call(lane, "put", str(project_id), *arguments)

    async def take(self, lane: Lane, k: int = 1) -> list[TakenTask]:
        """Up to k tasks (and no more than CHUNK), fairest first.

        Never repeated by itself: an answer that was lost on the way has taken them already.
        """
        if k < 1:
            return []
        return self._taken(lane, await self._call(lane, "take", min(k, CHUNK), repeat=False))

    async def done(self, lane: Lane, project_id: ProjectId, task_id: TaskId) -> bool:
        """The task runs no more. True where it did; a second call frees nothing."""
        return bool(await self._call(lane, "done", str(project_id), str(task_id)))

    async def remove(self, lane: Lane, project_id: ProjectId, task_id: TaskId) -> None:
        """The task waits and is delayed no more; if it runs, its owner has to stop it."""
        await self._call(lane, "remove", str(project_id), str(task_id))

    async def wait_for_work(self, lanes: Sequence[Lane], timeout_s: float) -> bool:
        """Sleeps until one of the lanes may have something to take: True; or until the time is over: False.

        True is a hint and no promise: another daemon may be faster.
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
        """At most this many run at once; None for any number. Those that run beyond a lowered cap run on."""
        await self._call(lane, "cap", str(project_id), "" if cap is None else max(0, cap))

    async def set_weight(self, lane: Lane, project_id: ProjectId, weight: float) -> None:
        """The project's share against others', 1 by default; below .01 counts as .01."""
        if not math.isfinite(weight):
            raise ValueError(f"a weight is a finite number, not {weight}")
        await self._call(lane, "weight", str(project_id), weight)

    async def poke(self, lane: Lane, project_id: ProjectId) -> None:
        """Sees to it that the project stands in turn if it should."""
        await self._call(lane, "poke", str(project_id))

    async def delete_project(self, lane: Lane, project_id: ProjectId) -> None:
        """For the erasure of a project: everything the lane knows of it."""
        await self._call(lane, "forget", str(project_id))

    async def adopt(self, lane: Lane, project_id: ProjectId, task_ids: Iterable[TaskId]) -> None:
        """For the sweeper: tasks that PostgreSQL knows to be running count as running here (again)."""
        for page in _pages(task_ids):
            await self._call(lane, "adopt", str(project_id), *map(str, page))

    async def missing(self, lane: Lane, project_id: ProjectId, task_ids: Iterable[TaskId]) -> list[TaskId]:
        """For the sweeper: those of the tasks that neither wait, run nor are delayed; the rest is mended by the way."""
        gone: list[TaskId] = []
        for page in _pages(task_ids):
            answer = await self._call(lane, "missing", str(project_id), *map(str, page))
            gone += [TaskId(_uuid(value)) for value in answer]
        return gone

    async def stale_runs(self, lane: Lane, older_than_s: float) -> list[TakenTask]:
        """For the sweeper: what was taken longer ago than this and is not done. A task that runs long is among them."""
        stale: list[TakenTask] = []
        for page in _pages(await self._projects(lane)):
            stale += self._taken(lane, await self._call(lane, "stale", math.ceil(older_than_s * 1000), *page))
        return stale

    async def depth(self, lane: Lane) -> dict[ProjectId, Depth]:
        """How many tasks wait, run and are delayed, for each project that has any."""
        depths: dict[ProjectId, Depth] = {}
        for page in _pages(await self._projects(lane)):
            counts = await self._call(lane, "depth", *page)
            for i, project in enumerate(page):
                depths[ProjectId(UUID(project))] = Depth(*counts[3 * i : 3 * i + 3])
        return {project: depth for project, depth in depths.items() if depth != Depth(0, 0, 0)}

    async def generation(self) -> str | None:
        """The mark of the last full refill; None when Redis has lost data as a whole, and another is due."""
        marks = {_text(await self._run(self._redis.get, self._generation(lane))) for lane in Lane}
        return marks.pop() if len(marks) == 1 else None

    async def start_generation(self) -> str:
        """Marks that all PostgreSQL holds was put: call it after a full refill, so that one cut short is redone."""
        mark = uuid4().hex
        for lane in Lane:
            await self._run(self._redis.set, self._generation(lane), mark)
        return mark

    async def _pause(self, lanes: Sequence[Lane]) -> float:
        """Seconds until there may be something to take; 0 for now."""
        pauses = [await self._call(lane, "pause") for lane in lanes]
        return min((ms / 1000 for ms in pauses if ms >= 0), default=math.inf)

    async def _bell(self, lanes: Sequence[Lane], seconds: float) -> bool:
        bells = [redis_keys.queue_bell(lane, self._namespace) for lane in lanes]
        seconds = max(0.01, seconds)  # 0 is 'for ever' to Redis
        # In a Cluster the lanes lie in different slots, so each bell has a pop of its own. A pop that is cancelled may
        # swallow a ring; the daemon is awake then and asks every lane.
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
        """One command, repeated a few times where the connection was lost and a second time does no harm."""
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
