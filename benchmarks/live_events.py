"""Latency of an event from its commit to 1,000 WebSocket clients of one daemon, at the rate of a busy project.

Run: python -m benchmarks.live_events [--clients N] [--rate N] [--seconds N]

The reference in the same run is a bare fan-out: the same server library and message, one queue per socket, fed by one
Redis channel, without database, ordering, access control or cursor. Clients, writer, daemon and PostgreSQL share the
machine; the clients read raw frames to use as little of it as possible.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import uvloop
from sqlalchemy import insert

from kairos.api.access.tokens import digest, new_secret
from kairos.background_tasks import end
from kairos.cli.client import runtime
from kairos.config import Settings
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.models import EventKind, SessionRow, TaskRow
from kairos.db.repositories.live import events
from kairos.db.repositories.tasks import history
from kairos.embedded import Addresses
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.pubsub import Notice, PubSub
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, Scope, UserId, new_id
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, on_engines
from tests.kit.engines import engines_for_tests
from tests.kit.people import new_project_in

CHANNEL = "bench:fan-out"
HEAD = ("", "clients", "events/s", "received", "p50 ms", "p99 ms", "max ms", "server CPU")
MARK = b'"bench_mark":'
PADDING = "x" * 300
"""An event with its task has about 600 bytes."""


class Client(asyncio.Protocol):
    """A WebSocket client that records when each marked message arrives."""

    def __init__(self, path: str, host: str, received: list[tuple[int, float]]) -> None:
        self._path, self._host, self._received = path, host, received
        self._rest, self._upgraded = b"", False
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [f"GET {self._path} HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        transport.write("\r\n".join(lines).encode())  # type: ignore[attr-defined]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.time()
        data = self._rest + data
        if not self._upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._upgraded = True
        while len(data) >= 4:
            size, begins = data[1], 2
            if size == 126:
                size, begins = int.from_bytes(data[2:4]), 4
            if len(data) < begins + size:
                break
            self._take(data[begins : begins + size], now)
            data = data[begins + size :]
        self._rest = data

    def _take(self, message: bytes, now: float) -> None:
        if not self.open.done():
            self.open.set_result(None)  # the greeting: from here on it receives everything
        at = message.find(MARK)
        if at >= 0:
            self._received.append((int(message[at + len(MARK) :].split(b"}", 1)[0].split(b",", 1)[0]), now))


async def measured(
    name: str, address: str, paths: list[str], server: int, write: Callable[[int], Awaitable[float]], given: Any
) -> tuple[str, ...]:
    """Connect all clients, write events at the given rate, and return the row of results."""
    host, port = address.removeprefix("http://").split(":")
    received: list[tuple[int, float]] = []
    clients = []
    for begin in range(0, len(paths), 50):
        made = [_client(path, host, int(port), received) for path in paths[begin : begin + 50]]
        clients += await asyncio.gather(*made)
    count, before, began = int(given.rate * given.seconds), psutil.Process(server).cpu_times(), time.monotonic()
    committed = {}
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / given.rate - time.monotonic()))
        committed[number] = await write(number)
    took = time.monotonic() - began
    await eventually(lambda: len(received) == count * len(clients), 60, f"all receipts; {len(received)} came")
    after = psutil.Process(server).cpu_times()
    for client in clients:
        client.transport.close()
    times = sorted((at - committed[number]) * 1000 for number, at in received)
    cpu = (after.user + after.system - before.user - before.system) / took
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    figures = (f"{len(clients):,}", f"{count / took:.1f}", f"{len(times):,}")
    return name, *figures, f"{p50:.1f}", f"{p99:.1f}", f"{times[-1]:.1f}", f"{cpu:.0%}"


async def _client(path: str, host: str, port: int, received: list[tuple[int, float]]) -> Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(path, host, received), host, port)
    await client.open
    return client


@asynccontextmanager
async def database_of(addresses: Addresses) -> AsyncIterator[Database]:
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    schema.migrate(at)
    database = Database(at, Settings().database)
    yield database
    await database.close()


async def kairos(addresses: Addresses, folder: Path, given: Any) -> tuple[str, ...]:
    """Measure the real daemon, with the API role only."""
    daemon = DaemonProcess(
        folder / "daemon", on_engines(addresses, log_level="warning", auth={"sockets_per_user": given.clients})
    )
    redis = connect(addresses.redis_url)
    notices = EventNotices(PubSub(redis))
    notifier = asyncio.create_task(notices.run())
    await daemon.start("--role", "api")
    try:
        async with database_of(addresses) as database:
            project_id, user_id = await new_project_in(database)
            task_id = await _task(database, project_id)
            session_id = await _session(database, user_id)
            paths = [
                f"/api/events?ticket={await _ticket(database, project_id, user_id, session_id)}"
                for _ in range(given.clients)
            ]

            async def write(number: int) -> float:
                async with database.project(project_id) as session:
                    data = {"padding": PADDING, "bench_mark": number}
                    await history.add_event(session, project_id, task_id, 1, EventKind.DRAFTING, data)
                at = time.time()
                notices.notify(project_id)
                return at

            address = runtime(daemon.folder / "data")["address"]
            return await measured("Kairos", address, paths, daemon.process.pid, write, given)
    finally:
        await daemon.stop()
        await end(notifier)
        await redis.aclose()


async def _task(database: Database, project_id: ProjectId) -> Any:
    values = {"id": new_id(), "prompt": "benchmark", "agent": "x", "lane": "batch", "timeout_s": 1, "max_attempts": 1}
    async with database.project(project_id) as session:
        await session.execute(insert(TaskRow).values(project_id=project_id, state="succeeded", **values))
    return values["id"]


async def _session(database: Database, user_id: UserId) -> Any:
    session_id = new_id()
    values = {"id": session_id, "user_id": user_id, "client": "bench", "expires_at": datetime.now(UTC) + timedelta(1)}
    async with database.scope(Scope(user_id=user_id)) as session:
        await session.execute(insert(SessionRow).values(values))
    return session_id


async def _ticket(database: Database, project_id: ProjectId, user_id: UserId, session_id: Any = None) -> str:
    secret = new_secret()
    async with database.scope(Scope(project_id, user_id)) as session:
        ticket = events.Ticket(user_id, session_id, project_id)
        await events.add_ticket(session, digest(secret), ticket, timedelta(minutes=10))
    return f"{user_id}.{secret}"


async def bare(addresses: Addresses, given: Any) -> tuple[str, ...]:
    """Measure the reference, in its own process."""
    command = [sys.executable, "-m", "benchmarks.live_events", "--bare", addresses.redis_url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    address = (await process.stdout.readline()).decode().strip()
    redis = connect(addresses.redis_url)

    async def write(number: int) -> float:
        at = time.time()
        text = f'{{"padding":"{PADDING}{PADDING}","bench_mark":{number}}}'
        await redis.publish(CHANNEL, text)
        return at

    try:
        return await measured("bare fan-out", address, ["/"] * given.clients, process.pid, write, given)
    finally:
        process.kill()
        await process.wait()
        await redis.aclose()


async def serve_bare(redis_url: str) -> None:
    queues: set[asyncio.Queue[str]] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.add(queue)
        await send({"type": "websocket.send", "text": "{}"})
        while True:
            await send({"type": "websocket.send", "text": await queue.get()})

    async def fan_out() -> None:
        async for notice in PubSub(connect(redis_url)).listen([CHANNEL]):
            if isinstance(notice, Notice):
                text = notice.payload.decode()
                for queue in queues:
                    queue.put_nowait(text)

    options: dict[str, Any] = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, **options))
    fanning = asyncio.create_task(fan_out())
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, why="it serves")
    port = server.servers[0].sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await asyncio.gather(fanning, serving)


async def compare(given: Any) -> None:
    print(f"load average before: {', '.join(f'{load:.2f}' for load in os.getloadavg())} on {os.cpu_count()} CPUs")
    print("  ".join(f"{name:>12}" for name in HEAD), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        async with engines_for_tests(folder / "engines") as addresses:
            for row in (bare(addresses, given), kairos(addresses, folder, given)):
                print("  ".join(f"{value:>12}" for value in await row), flush=True)
    print(f"load average after:  {', '.join(f'{load:.2f}' for load in os.getloadavg())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--bare", metavar="REDIS_URL", help="be the reference's server (used by itself)")
    given = parser.parse_args()
    uvloop.run(serve_bare(given.bare) if given.bare else compare(given))


if __name__ == "__main__":
    main()
