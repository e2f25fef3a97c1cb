"""Workers and a sweeper survive kill -9 and a restart of the server: every task ends once, and none is lost."""

import asyncio
from collections import Counter
from contextlib import suppress
from uuid import uuid4

import pytest

from kairos.errors import EngineUnavailable
from kairos.lanes import Lane
from kairos.orchestration.queue.queue import FairQueue, QueueEntry, TakenTask
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, TaskId
from tests.kit.conditions import eventually
from tests.kit.valkey import ValkeyServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

LANE = Lane.BATCH


class Rows:
    """Stands for PostgreSQL: the state of each task, and a claim that only one worker can win."""

    def __init__(self, projects: int, tasks: int) -> None:
        owners = [ProjectId(uuid4()) for _ in range(projects)]
        self.owner = {TaskId(uuid4()): owners[i % projects] for i in range(tasks)}
        self.state = dict.fromkeys(self.owner, "queued")
        self.ended: Counter[TaskId] = Counter()
        self.half, self.all = asyncio.Event(), asyncio.Event()

    def claim(self, task: TaskId) -> bool:
        if self.state[task] != "queued":
            return False
        self.state[task] = "running"
        return True

    def end(self, task: TaskId) -> None:
        self.state[task] = "ended"
        self.ended[task] += 1
        if len(self.ended) * 2 >= len(self.owner):
            self.half.set()
        if len(self.ended) == len(self.owner):
            self.all.set()

    def of(self, state: str, project: ProjectId) -> list[TaskId]:
        return [task for task, owner in self.owner.items() if owner == project and self.state[task] == state]


async def work(queue: FairQueue, rows: Rows) -> None:
    while True:
        try:
            for taken in await queue.take(LANE, 2) or await wait_for_tasks(queue):
                if rows.claim(taken.task_id):
                    await asyncio.sleep(0)  # the model's answer
                    rows.end(taken.task_id)
                await queue.done(LANE, taken.project_id, taken.task_id)
        except EngineUnavailable:
            await asyncio.sleep(0.02)


async def wait_for_tasks(queue: FairQueue) -> list[TakenTask]:
    await queue.wait_for_work([LANE], 1)
    return []


async def sweep(queue: FairQueue, rows: Rows) -> None:
    while True:
        await asyncio.sleep(0.1)
        with suppress(EngineUnavailable):
            await sweep_once(queue, rows)


async def sweep_once(queue: FairQueue, rows: Rows) -> None:
    refill = await queue.generation() is None
    for project in set(rows.owner.values()):
        await queue.adopt(LANE, project, rows.of("running", project))
        queued = rows.of("queued", project)
        gone = queued if refill else await queue.missing(LANE, project, queued)
        await queue.put_many(LANE, project, [QueueEntry(task, 1) for task in gone])
    for run in await queue.stale_runs(LANE, 0.5):
        if rows.state[run.task_id] != "running":  # taken but not claimed, or ended during the outage
            await queue.done(LANE, run.project_id, run.task_id)
    if refill:
        await queue.start_generation()


@pytest.mark.parametrize("disk_lost", [False, True])
async def test_every_task_ends_once_despite_a_killed_server(own_valkey: ValkeyServer, disk_lost: bool):
    client, rows = connect(own_valkey.url), Rows(projects=3, tasks=2000)
    queue = FairQueue(client)
    await sweep_once(queue, rows)
    workers = [asyncio.create_task(work(queue, rows)) for _ in range(6)]
    workers.append(asyncio.create_task(sweep(queue, rows)))
    await rows.half.wait()
    own_valkey.kill()
    assert len(rows.ended) < len(rows.owner)  # the server was killed before all tasks had ended
    if disk_lost:
        own_valkey.wipe()
    await asyncio.to_thread(own_valkey.start)
    await rows.all.wait()

    async def freed() -> bool:
        return not any(depth.running for depth in (await queue.depth(LANE)).values())

    await eventually(freed, why="the sweeper frees tasks that were taken but not claimed")
    for worker in workers:
        worker.cancel()
    assert set(rows.ended.values()) == {1}
    assert len(rows.ended) == len(rows.owner)
    await client.aclose()
