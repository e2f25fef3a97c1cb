"""Fills queues with tasks of projects."""

from __future__ import annotations

from uuid import uuid4

from kairos.lanes import Lane
from kairos.orchestration.queue.queue import FairQueue, QueueEntry
from kairos.tenancy import ProjectId, TaskId

LANE = Lane.BATCH


def project() -> ProjectId:
    return ProjectId(uuid4())


def tasks(amount: int) -> list[TaskId]:
    return [TaskId(uuid4()) for _ in range(amount)]


async def fill(queue: FairQueue, owner: ProjectId, amount: int) -> list[TaskId]:
    ids = tasks(amount)
    await queue.put_many(LANE, owner, [QueueEntry(task, order) for order, task in enumerate(ids)])
    return ids


async def take_ids(queue: FairQueue, k: int) -> list[TaskId]:
    return [taken.task_id for taken in await queue.take(LANE, k)]
