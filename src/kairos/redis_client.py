"""How Kairos reaches Redis: a client that never repeats a command by itself, and one error for 'cannot serve now'.

redis-py repeats any command after a lost connection, up to ten times. Handing out a task is not a thing to repeat: the
first answer, lost on the way, has taken one already. So the client here does not, and callers repeat what they may.
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

# The connection failed, which another attempt may mend; the builtin TimeoutError is an OSError.
LOST = (faults.ConnectionError, faults.TimeoutError, faults.RedisClusterException, faults.InvalidResponse, OSError)
PING_S = 3.0
PROBE_MS = 10_000

_BUGS = ("ERR", "WRONGTYPE")
"""Codes of errors that say something of the command. Every other code says something of the server's state."""
_STATE_IN_WORDS = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|LOADING|CLUSTERDOWN|BUSY)\b"
    r"|max number of clients|operation not permitted|failover|role change",
)
"""Older servers wrap such an error of a command inside a script in one of the code ERR."""


def connect(url: str, *, connections: int = 64) -> Redis:
    """A client of the Redis at this address (redis://, rediss://, unix://); nothing is sent yet.

    With all connections in use a call waits for one: a burst of submissions is no outage.
    """
    pool = BlockingConnectionPool.from_url(
        url, max_connections=connections, timeout=5, retry=Retry(NoBackoff(), 0), socket_connect_timeout=3
    )
    return Redis.from_pool(pool)


def address(redis: Redis) -> str:
    """Where the server is, without its password."""
    pool = getattr(redis, "connection_pool", None)
    if pool is None:
        return "the configured cluster"
    where = pool.connection_kwargs
    return where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"


async def answers(redis: Redis, within_s: float) -> None:
    """Wait until the server answers. Raises `EngineUnavailable` with the last reason when it does not in that time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            with reached(redis):
                async with asyncio.timeout(PING_S):
                    await redis.ping()
            return
        except EngineUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


@contextmanager
def reached(redis: Redis) -> Iterator[None]:
    """Turns what redis-py raises when the server cannot serve into EngineUnavailable; bugs stay what they are."""
    try:
        yield
    except LOST as error:
        raise _unavailable(redis, error) from error
    except faults.ResponseError as error:
        if _is_bug(error):
            raise
        raise _unavailable(redis, error) from error


@contextmanager
def waited_for(redis: Redis) -> Iterator[None]:
    """The same around a command that blocks, or a subscription: the server ends such a wait with whatever error it has,
    and CLIENT UNBLOCK with any text, so none of them is a bug."""
    try:
        with reached(redis):
            yield
    except faults.ResponseError as error:
        raise _unavailable(redis, error) from error


async def check_writable(redis: Redis) -> None:
    """Raises `EngineUnavailable` where the server answers and takes no data: it is out of memory, cannot save, or is a
    replica."""
    with reached(redis):
        async with asyncio.timeout(PING_S):
            await redis.set(redis_keys.write_probe(), 1, px=PROBE_MS)


def _is_bug(error: faults.ResponseError) -> bool:
    """Whether an error reply is about the command. redis-py has classes for codes, and takes ERR off the text."""
    if _STATE_IN_WORDS.search(str(error)):
        return False
    if type(error) is not faults.ResponseError:
        return isinstance(error, faults.ModuleError | faults.ExecAbortError | faults.ClusterCrossSlotError)
    code = str(error).partition(" ")[0]
    return code in _BUGS or not (code.isupper() and code.isalpha())


def _unavailable(redis: Redis, error: BaseException) -> EngineUnavailable:
    full = isinstance(error, faults.OutOfMemoryError) or str(error).startswith("OOM")
    remedy = (
        "Raise its maxmemory, and keep the policy 'noeviction': an evicting one drops waiting tasks."
        if full
        else "Nothing is lost: tasks are in PostgreSQL and are handed out again once it answers. See `kairos doctor`."
    )
    reason = " ".join(str(error).split()).rstrip(".") or "no answer in time"
    return EngineUnavailable(engine="Redis", address=address(redis), reason=reason, remedy=remedy)
