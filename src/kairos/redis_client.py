"""Connect to Redis: a client without automatic retries, and one error for a server that is temporarily unavailable.

By default redis-py repeats any command up to ten times after a lost connection. Claiming a task must not be repeated:
the lost reply may already have claimed one. So retries are off, and callers repeat only commands that are safe.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as faults
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kairos import redis_keys
from kairos.errors import EngineUnavailable

# Connection failures, after which another attempt may succeed; the builtin TimeoutError is an OSError.
CONNECTION_ERRORS = (
    faults.ConnectionError,
    faults.TimeoutError,
    faults.RedisClusterException,
    faults.InvalidResponse,
    OSError,
)
PING_S = 3.0
PROBE_MS = 10_000

_BUGS = ("ERR", "WRONGTYPE")
"""Error codes that concern the command. Every other code concerns the server's state."""
_STATE_IN_TEXT = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|CLUSTERDOWN|BUSY)\b"
    r"|max number of clients|operation not permitted|failover|role change",
)
"""State errors in the text of an ERR: older servers wrap errors of commands in a script that way."""


def connect(url: str, *, connections: int = 64) -> Redis:
    """A client for the Redis at this address (redis://, rediss://, unix://). It connects at the first command.

    If all connections are in use, a call waits for a free one.
    """
    pool = BlockingConnectionPool.from_url(
        url, max_connections=connections, timeout=5, retry=Retry(NoBackoff(), 0), socket_connect_timeout=3
    )
    return Redis.from_pool(pool)


def address(redis: Redis) -> str:
    """The server's address, without its password."""
    pool = getattr(redis, "connection_pool", None)
    if pool is None:
        return "the configured cluster"
    where = pool.connection_kwargs
    return where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"


async def wait_until_reachable(redis: Redis, within_s: float) -> None:
    """Wait until the server answers. Raises `EngineUnavailable` with the last reason after `within_s` seconds."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            with redis_errors(redis):
                async with asyncio.timeout(PING_S):
                    await redis.ping()
            return
        except EngineUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


@contextmanager
def redis_errors(redis: Redis) -> Iterator[None]:
    """Translate redis-py's errors of an unavailable server to `EngineUnavailable`; errors in commands are re-raised."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise _unavailable(redis, error) from error
    except faults.ResponseError as error:
        if _is_bug(error):
            raise
        raise _unavailable(redis, error) from error


@contextmanager
def blocking_redis_errors(redis: Redis) -> Iterator[None]:
    """Translate every error reply to `EngineUnavailable`, for blocking commands and subscriptions: the server ends such
    waits with various errors, and CLIENT UNBLOCK with any text."""
    try:
        with redis_errors(redis):
            yield
    except faults.ResponseError as error:
        raise _unavailable(redis, error) from error


async def check_writable(redis: Redis) -> None:
    """Raise `EngineUnavailable` if the server refuses writes: it is out of memory, cannot save, or is a replica."""
    with redis_errors(redis):
        async with asyncio.timeout(PING_S):
            await redis.set(redis_keys.write_probe(), 1, px=PROBE_MS)


def _is_bug(error: faults.ResponseError) -> bool:
    """Whether an error reply concerns the command. redis-py maps codes to classes and removes ERR from the text."""
    if _STATE_IN_TEXT.search(str(error)):
        return False
    if type(error) is not faults.ResponseError:
        return isinstance(error, faults.ModuleError | faults.ExecAbortError | faults.ClusterCrossSlotError)
    code = str(error).partition(" ")[0]
    return code in _BUGS or not (code.isupper() and code.isalpha())


def _unavailable(redis: Redis, error: BaseException) -> EngineUnavailable:
    full = isinstance(error, faults.OutOfMemoryError) or str(error).startswith("OOM")
    remedy = (
        "Raise its maxmemory and keep the policy 'noeviction': eviction would lose queue entries."
        if full
        else "Nothing is lost: tasks are in PostgreSQL and continue once it answers. See `kairos doctor`."
    )
    reason = " ".join(str(error).split()).rstrip(".") or "no answer in time"
    return EngineUnavailable(engine="Redis", address=address(redis), reason=reason, remedy=remedy)
