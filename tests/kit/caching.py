"""Fixtures and helpers for tests of the response cache, and a second process that uses the cache.

A pytest plugin, for its fixtures, and a script: `python -m tests.kit.caching URL PROJECT MODE`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from kairos.llm.answers.answer import Usage
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_cache import Hit, Lease, Miss, ResponseCache
from kairos.llm.cache.response_key import CacheKey
from kairos.llm.cache.response_store import CacheSettings
from kairos.redis_client import connect
from kairos.tenancy import ProjectId
from tests.kit.conditions import eventually

PATIENT = CacheSettings(lookup_budget_s=5)
"""A slow lookup on a busy machine must not count as an outage. Tests of outages use other settings."""


@pytest.fixture
async def project(valkey: Redis) -> AsyncIterator[ProjectId]:
    yield (project := ProjectId(uuid4()))
    if names := [name async for name in valkey.scan_iter(match=f"{{{project}}}:*", count=1000)]:
        await valkey.delete(*names)


@pytest.fixture
async def cache(valkey: Redis, namespace: str) -> AsyncIterator[ResponseCache]:
    async with opened(valkey, namespace) as cache:
        yield cache


@asynccontextmanager
async def opened(valkey: Redis, namespace: str, given: CacheSettings = PATIENT) -> AsyncIterator[ResponseCache]:
    """Open a cache as a separate daemon would."""
    cache = ResponseCache(valkey, given, namespace=namespace)
    yield cache
    await cache.aclose()


def key(project: ProjectId, name: str = "q", *, auto: bool = True) -> CacheKey:
    return CacheKey(project, sha256(name.encode()).digest(), auto)


def answer(text: str = "42") -> CachedAnswer:
    return CachedAnswer(text, "stop", Usage(100, 10), "tiny", 0.25, 2.0, uuid4())


def lease_of(found: Hit | Miss) -> Lease:
    """Return the lease of a miss; fail on a hit."""
    assert isinstance(found, Miss), f"expected a miss, but {found} was served"
    return found.lease


def text_of(found: Hit | Miss) -> str:
    """Return the text of a hit; fail on a miss."""
    assert isinstance(found, Hit), "expected a hit"
    return found.answer.text


async def keep(cache: ResponseCache, at: CacheKey, text: str = "42") -> CachedAnswer:
    """Store an answer under this key."""
    kept = answer(text)
    assert await cache.store(lease_of(await cache.lookup(at, refresh=True)), kept)
    return kept


async def served(cache: ResponseCache, at: CacheKey) -> bool:
    """Return whether the cache has an answer. Releases the lease of a miss."""
    found = await cache.lookup(at, wait_s=0)
    if isinstance(found, Miss):
        cache.release(found.lease)
        await eventually(lambda: not cache._flights)
    return isinstance(found, Hit)


class Model:
    """Answers once `may_answer` is set, and counts its calls."""

    def __init__(self, cache: ResponseCache, approved: bool = True) -> None:
        self.cache, self.approved, self.calls = cache, approved, 0
        self.may_answer = asyncio.Event()

    async def ask(self, at: CacheKey) -> str:
        """Do what a task does: look in the cache, else call the model, then store the answer if it is approved."""
        found = await self.cache.lookup(at)
        if isinstance(found, Hit):
            return found.answer.text
        self.calls += 1
        await self.may_answer.wait()
        if self.approved:
            await self.cache.store(found.lease, answer(f"answer {self.calls}"))
        else:
            self.cache.release(found.lease)
        return "own"


# The second process


class Caller:
    """A process that uses the cache, controlled by lines on its stdin and stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, project: ProjectId, mode: str) -> "Caller":
        """Start the process and wait until it has connected."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "tests.kit.caching", url, str(project), mode]
        caller = cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
        assert await caller.read_line() == "ready"
        return caller

    async def read_line(self) -> str:
        assert self._process.stdout
        return (await asyncio.wait_for(self._process.stdout.readline(), 20)).decode().strip()

    async def write_line(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Wait for the process to exit; kill it after 10 seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)
        if self._process.returncode is None:
            await self.kill()


async def crowd(cache: ResponseCache, project: ProjectId) -> None:
    """Make fifty requests once a line arrives on stdin, with a model that takes 0.3 s. Prints the number of calls."""
    await asyncio.to_thread(sys.stdin.readline)
    model = Model(cache)
    asyncio.get_running_loop().call_later(0.3, model.may_answer.set)
    await asyncio.gather(*(model.ask(key(project)) for _ in range(50)))
    print(model.calls, flush=True)


async def hold(cache: ResponseCache, project: ProjectId) -> None:
    """Take the lease and keep it until the process is killed."""
    lease_of(await cache.lookup(key(project)))
    print("held", flush=True)
    await asyncio.Event().wait()


async def _main(url: str, project: str, mode: str) -> None:
    client = connect(url)
    await client.ping()
    cache = ResponseCache(client, replace(PATIENT, lease_s=0.5 if mode == "hold" else 10), namespace="test-caller")
    print("ready", flush=True)
    await {"crowd": crowd, "hold": hold}[mode](cache, ProjectId(UUID(project)))
    await cache.aclose()
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
