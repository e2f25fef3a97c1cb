"""Cost of a lookup in the response cache, compared with a bare GET of as many bytes from the same server.

Run: python -m benchmarks.response_cache [URL] (without a URL, a Valkey server is started)

Rows are measured alternately in one process, so that a busy machine slows down all of them. Only ratios are comparable
between runs. At the end: the number of model calls for 200 identical requests, from one process and from two daemons'
caches.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import uvloop
from redis.asyncio import Redis

from kairos.llm.answers.answer import Usage
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_cache import Hit, ResponseCache
from kairos.llm.cache.response_key import CacheKey, cache_key
from kairos.llm.cache.response_store import CacheSettings
from kairos.llm.calls.providers import ChatRequest
from kairos.redis_client import connect
from kairos.tenancy import ProjectId
from tests.kit.valkey import ValkeyServer

ROUNDS, STEPS, ASKERS = 20, 100, 200
TEXTS = {"300 B": "A lease ends. " * 21, "4 KB": "".join(f"{i}: a promise with an end. " for i in range(140))}
HEAD = ("answer", "step", "p50 us", "p99 us", "ratio p50", "ratio p99")

Step = Callable[[], Awaitable[object]]


async def measured(steps: dict[str, Step]) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 of each step in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            for _ in range(STEPS):
                began = time.perf_counter()
                await step()
                times[name].append((time.perf_counter() - began) * 1e6)
    return {name: _percentiles(values) for name, values in times.items()}


def _percentiles(values: list[float]) -> tuple[float, float]:
    values.sort()
    return values[len(values) // 2], values[int(len(values) * 0.99)]


def answer(text: str) -> CachedAnswer:
    return CachedAnswer(text, "stop", Usage(100, 100), "tiny", 0.01, 2.0, uuid4())


def fresh(project: ProjectId) -> CacheKey:
    return CacheKey(project, os.urandom(32), follows_routing=True)


def request_key(project: ProjectId) -> CacheKey:
    request = ChatRequest(({"role": "user", "content": "Give the project summary. " * 80},), temperature=0)
    found = cache_key(project, request, model=None, version="1", rules="1")
    assert found
    return found


async def lookups(client: Redis, cache: ResponseCache, text: str) -> dict[str, tuple[float, float]]:
    project = ProjectId(uuid4())
    stored = answer(text)
    key = request_key(project)
    await store(cache, key, stored)
    plain = f"{{{project}}}:plain"
    await client.set(plain, stored.pack(), ex=600)

    async def miss() -> None:
        found = await cache.lookup(fresh(project))
        assert not isinstance(found, Hit)
        cache.release(found.lease)

    steps: dict[str, Step] = {
        "bare GET": lambda: client.get(plain),
        "hit": lambda: cache.lookup(key),
        "hit with its key": lambda: cache.lookup(request_key(project)),
        "miss, released": miss,
        "miss, stored": lambda: store(cache, fresh(project), stored),
    }
    figures = await measured(steps)
    await cache.flush(project)
    return figures


async def store(cache: ResponseCache, key: CacheKey, stored: CachedAnswer) -> None:
    found = await cache.lookup(key)
    assert not isinstance(found, Hit)
    await cache.store(found.lease, replace(stored, decision_id=uuid4()))


async def stampede(*caches: ResponseCache) -> int:
    """Return the number of model calls of all callers together; a call takes a fifth of a second."""
    calls = 0
    key = fresh(ProjectId(uuid4()))

    async def ask(cache: ResponseCache) -> None:
        nonlocal calls
        found = await cache.lookup(key)
        if isinstance(found, Hit):
            return
        calls += 1
        await asyncio.sleep(0.2)
        await cache.store(found.lease, answer("42"))

    await asyncio.gather(*(ask(caches[i % len(caches)]) for i in range(ASKERS)))
    await caches[0].flush(key.project_id)
    return calls


def print_rows(name: str, figures: dict[str, tuple[float, float]]) -> None:
    p50, p99 = figures["bare GET"]
    for step, (mid, high) in figures.items():
        row = (name, step, f"{mid:.0f}", f"{high:.0f}", f"{mid / p50:.2f}", f"{high / p99:.2f}")
        print("".join(f"{cell:>18}" for cell in row), flush=True)


async def run(url: str) -> None:
    client = connect(url)
    settings = CacheSettings(lookup_budget_s=1)
    caches = [ResponseCache(client, settings, namespace=f"bench-{uuid4().hex[:8]}") for _ in range(2)]
    print("".join(f"{cell:>18}" for cell in HEAD))
    for name, text in TEXTS.items():
        print_rows(name, await lookups(client, caches[0], text))
    print(f"model calls of {ASKERS} identical requests: {await stampede(caches[0])} from one daemon", end=", ")
    print(f"{await stampede(*caches)} from two")
    for cache in caches:
        await cache.aclose()
    await client.aclose()


def main() -> None:
    if len(sys.argv) > 1:
        return uvloop.run(run(sys.argv[1]))
    server = ValkeyServer()
    server.start()
    try:
        return uvloop.run(run(server.url))
    finally:
        server.close()


if __name__ == "__main__":
    main()
