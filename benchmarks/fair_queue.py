"""Cost of the fair queue, compared with the minimum that any queue on the same server needs: pop and increment.

Run: python benchmarks/fair_queue.py [URL] (without a URL, a Valkey server is started)

Both are measured alternately, seven rounds each per row, in the same process and with the same number of workers, so
that a busy machine slows down both. The ratio is the median of the rounds. Only ratios are comparable between runs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

import uvloop
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from kairos.lanes import Lane
from kairos.orchestration.queue.queue import FairQueue, QueueEntry
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, TaskId
from tests.kit.valkey import ValkeyServer, delete_namespace

LANE, WORKERS, ROUNDS, STEPS = Lane.BATCH, 10, 7, 1000
SHAPES = ((1_000, 1), (1_000, 100), (20_000, 100), (200_000, 50), (200_000, 1_000))
HEAD = ("waiting", "projects", "bare/s", "put/s", "take+done/s", "ratio", "p50 ms", "p99 ms", "takes by 16/s", "ratio")


async def at_once(step: Callable[[], Awaitable[object]]) -> list[float]:
    """Return the duration of each of STEPS steps in ms, run by ten workers. The last value is the whole round's."""
    times: list[float] = []

    async def worker() -> None:
        for _ in range(STEPS // WORKERS):
            start = time.perf_counter()
            await step()
            times.append((time.perf_counter() - start) * 1e3)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return [*times, (time.perf_counter() - start) * 1e3]


async def bare(client: Redis, namespace: str) -> float:
    """Return steps per second of popping a task and counting it, the minimum of a queue, also in two round trips."""
    key, count = f"{namespace}:bare", f"{namespace}:count"
    await client.zadd(key, {str(uuid4()): i for i in range(STEPS)})

    async def step() -> None:
        await client.zpopmin(key)
        await client.hincrby(count, "p", -1)

    return STEPS * 1e3 / (await at_once(step))[-1]


async def fair(queue: FairQueue) -> tuple[float, list[float]]:
    """Return steps per second of take + done, and the duration of each step in ms."""

    async def step() -> None:
        [taken] = await queue.take(LANE)
        await queue.done(LANE, taken.project_id, taken.task_id)

    *times, whole = await at_once(step)
    return STEPS * 1e3 / whole, times


async def sixteens(queue: FairQueue) -> float:
    """Return tasks per second, taken 16 at a time by a single caller."""
    start, taken = time.perf_counter(), []
    while len(taken) + 16 <= STEPS:
        taken += await queue.take(LANE, 16)
    spent = time.perf_counter() - start
    await asyncio.gather(*(queue.done(LANE, one.project_id, one.task_id) for one in taken))
    return len(taken) / spent


async def fill(queue: FairQueue, amount: int, owners: list[ProjectId]) -> float:
    start = time.perf_counter()
    for i, owner in enumerate(owners):
        share = range(i, amount, len(owners))
        await queue.put_many(LANE, owner, [QueueEntry(TaskId(uuid4()), order) for order in share])
    return amount / (time.perf_counter() - start)


async def row(client: Redis, amount: int, projects: int) -> tuple[str, ...]:
    namespace = f"bench-{uuid4().hex[:8]}"
    queue, owners = FairQueue(client, namespace=namespace), [ProjectId(uuid4()) for _ in range(projects)]
    put = await fill(queue, amount, owners)
    rounds: list[tuple[float, float, float]] = []
    times: list[float] = []
    for _ in range(ROUNDS):
        least = await bare(client, namespace)
        single, steps = await fair(queue)
        await fill(queue, STEPS, owners)
        rounds.append((least, single, await sixteens(queue)))
        await fill(queue, STEPS, owners)
        times += steps
    await delete_namespace(client, namespace)
    least, single, many = (median(column) for column in zip(*rounds, strict=True))
    ratios = median(one[1] / one[0] for one in rounds), median(one[2] / one[0] for one in rounds)
    p50, p99 = quantiles(times, n=100)[49], quantiles(times, n=100)[98]
    figures = (f"{amount:,}", f"{projects:,}", f"{least:,.0f}", f"{put:,.0f}", f"{single:,.0f}", f"{ratios[0]:.2f}")
    return (*figures, f"{p50:.2f}", f"{p99:.2f}", f"{many:,.0f}", f"{ratios[1]:.2f}")


async def latency(client: Redis) -> None:
    """Print the latency with a single caller, without queueing: take + done against pop + increment."""
    namespace = f"bench-{uuid4().hex[:8]}"
    queue, times = FairQueue(client, namespace=namespace), ([], [])
    await fill(queue, 2000, [ProjectId(uuid4()) for _ in range(100)])
    await client.zadd(f"{namespace}:bare", {str(uuid4()): i for i in range(2000)})
    for _ in range(2000):
        start = time.perf_counter()
        [taken] = await queue.take(LANE)
        await queue.done(LANE, taken.project_id, taken.task_id)
        middle = time.perf_counter()
        await client.zpopmin(f"{namespace}:bare")
        await client.hincrby(f"{namespace}:count", "p", -1)
        times[0].append(middle - start)
        times[1].append(time.perf_counter() - middle)
    ours, theirs = (sorted(values)[1000] * 1e6 for values in times)
    await delete_namespace(client, namespace)
    print(f"one caller, interleaved: take+done {ours:.0f} µs, pop+increment {theirs:.0f} µs, {ours / theirs:.2f} times")


async def measure(url: str) -> None:
    client = connect(url)
    print("  ".join(f"{name:>13}" for name in HEAD))
    for amount, projects in SHAPES:
        print("  ".join(f"{value:>13}" for value in await row(client, amount, projects)), flush=True)
    await latency(client)
    await client.aclose()


def main() -> None:
    if len(sys.argv) > 1:
        return uvloop.run(measure(sys.argv[1]))
    server = ValkeyServer()
    server.start()
    try:
        uvloop.run(measure(server.url))
    finally:
        server.close()


if __name__ == "__main__":
    main()
