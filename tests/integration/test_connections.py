"""Slow or excess connections are closed in time, without effect on others."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from websockets.frames import Frame

from kairos.api import connections
from kairos.api.connections import GuardedWebSocket, raise_file_limit
from kairos.config_server import ServerSettings
from kairos.embedded import Addresses
from tests.kit.api import Caller, serving, signed_in
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp, open_app
from tests.kit.model_server import ModelServer

HALF = b"GET /api/health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)
WHOLE = b"GET /api/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def limited(addresses: Addresses, models: ModelServer, **limits) -> AsyncIterator[tuple[KairosApp, Caller, int]]:
    """Open a Kairos with these limits, and return it with a caller and its port."""
    async with (
        open_app(addresses, models, server=ServerSettings(**limits)) as app,
        serving(app.parts) as anonymous,
    ):
        yield app, anonymous, int(anonymous.address.rsplit(":", 1)[1])


async def opened(port: int, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def ended(reader: asyncio.StreamReader, within_s: float = 10) -> bytes:
    """Return the bytes received until the server closed the connection."""
    async with asyncio.timeout(within_s):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def is_alive(anonymous: Caller, within_s: float = 5) -> bool:
    async with asyncio.timeout(within_s):
        return (await anonymous.get("/api/health/live")).status == 200


async def test_half_sent_requests_do_not_block_others(addresses, models, caplog):
    caplog.set_level(logging.WARNING, connections.__name__)
    async with limited(addresses, models, max_connections=50, header_timeout_s=60) as (_, anonymous, port):
        streams = [await opened(port, HALF) for _ in range(300)]
        for _ in range(20):
            assert await is_alive(anonymous)
        closed = await asyncio.gather(*(ended(reader) for reader, _ in streams[:200]))
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in closed), "the oldest connections were closed"
        for _, writer in streams:
            writer.close()
    lines = [record.getMessage() for record in caplog.records if "in favour of a new one" in record.getMessage()]
    assert 1 <= len(lines) <= 3, "logged a few times, not 250 times"
    assert "127.0.0.1" in lines[0]


async def test_headers_and_bodies_have_a_timeout(addresses, models, caplog):
    caplog.set_level(logging.WARNING, connections.__name__)
    limits = {"header_timeout_s": 0.6, "body_timeout_s": 0.6, "idle_timeout_s": 1}
    async with limited(addresses, models, **limits) as (_, anonymous, port):
        for sent in (b"", HALF, HALF_BODY):
            reader, writer = await opened(port, sent)
            assert (await ended(reader)).startswith(b"HTTP/1.1 408"), sent
            writer.close()
        assert await is_alive(anonymous)
    logged = "".join(record.getMessage() for record in caplog.records)
    assert "headers of a request were not complete" in logged
    assert "body of a request was not complete" in logged


@pytest.mark.parametrize("start", [HALF, HALF_BODY], ids=["headers", "body"])
async def test_trickled_bytes_do_not_extend_the_timeout(addresses, models, start: bytes):
    async with limited(addresses, models, header_timeout_s=1, body_timeout_s=1) as (_, _, port):
        reader, writer = await opened(port, start)

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert (await ended(reader)).startswith(b"HTTP/1.1 408")
        trickling.cancel()
        writer.close()


async def test_idle_connection_and_slow_second_request_are_closed(addresses, models):
    limits = {"header_timeout_s": 0.3, "idle_timeout_s": 3}
    async with limited(addresses, models, **limits) as (_, _, port):
        reader, writer = await opened(port, WHOLE)
        assert (await ended(reader)).count(b"HTTP/1.1") == 1
        writer.close()
        reader, writer = await opened(port, WHOLE + HALF)
        assert (await ended(reader)).count(b"HTTP/1.1 408") == 1
        writer.close()


async def test_client_that_does_not_read_is_disconnected(addresses, models, caplog):
    caplog.set_level(logging.WARNING, connections.__name__)
    async with limited(addresses, models, write_timeout_s=1, idle_timeout_s=2) as (_, anonymous, port):
        reader, writer = await opened(port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):  # more than the kernel's buffers hold
            writer.write(LARGE)
        await eventually(
            lambda: any("did not read" in record.getMessage() for record in caplog.records),
            15,
            "the connection is closed",
        )
        assert await is_alive(anonymous)
        writer.close()
        del reader


async def test_endless_headers_are_refused(addresses, models):
    async with limited(addresses, models) as (_, anonymous, port):
        reader, writer = await opened(port, HALF)
        with suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 16_384)
                await writer.drain()
        answer = await ended(reader)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
        assert await is_alive(anonymous)


async def test_each_address_has_its_own_limit(addresses, models):
    """Behind a trusted proxy, all callers share its address, so it has no limit."""
    async with limited(
        addresses, models, max_connections_per_address=5, trusted_proxies=["10.0.0.0/8"], header_timeout_s=60
    ) as (_, anonymous, port):
        streams = [await opened(port, HALF) for _ in range(10)]
        await asyncio.gather(*(ended(reader) for reader, _ in streams[:5]))
        assert await is_alive(anonymous)
        for _, writer in streams:
            writer.close()
    async with limited(addresses, models, max_connections_per_address=5) as (_, anonymous, port):
        streams = [await opened(port, WHOLE) for _ in range(10)]
        assert await is_alive(anonymous)
        for reader, writer in streams:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_websocket_is_exempt_from_timeouts_and_not_closed_for_others(addresses, models):
    limits = {"max_connections": 20, "header_timeout_s": 0.5, "body_timeout_s": 0.5, "idle_timeout_s": 0.5}
    async with limited(addresses, models, **limits) as (app, anonymous, port), aiohttp.ClientSession():
        owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        ticket = (await owner.post("/api/events/ticket"))["ticket"]
        async with app.working(), anonymous.connect(f"/api/events?ticket={ticket}") as socket:
            assert (await socket.receive_json())["type"] == "hello"
            for _ in range(3):
                streams = [await opened(port, HALF) for _ in range(40)]
                await asyncio.gather(*(ended(reader) for reader, _ in streams))
                for _, writer in streams:
                    writer.close()
            task = await app.submit("hello")
            message = await socket.receive_json(timeout=10)
            assert message["task_id"] == str(task)


async def test_server_shutdown_during_a_websocket_close_raises_no_error(addresses, models, monkeypatch):
    ended: list[GuardedWebSocket] = []
    handle_close = GuardedWebSocket.handle_close

    def handle_close_and_end(self: GuardedWebSocket, event: Frame) -> None:
        handle_close(self, event)
        self.shutdown()
        ended.append(self)

    monkeypatch.setattr(GuardedWebSocket, "handle_close", handle_close_and_end)
    async with limited(addresses, models) as (app, anonymous, _):
        owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        ticket = (await owner.post("/api/events/ticket"))["ticket"]
        async with anonymous.connect(f"/api/events?ticket={ticket}"):
            pass
        await eventually(lambda: ended, why="the server has handled the client's close")


async def test_error_replies_of_the_server_have_security_headers(addresses, models):
    async with limited(addresses, models, header_timeout_s=0.5) as (_, _, port):
        for sent in (b"nonsense\r\n\r\n", HALF):
            reader, writer = await opened(port, sent)
            answer = (await ended(reader)).lower()
            assert b"nosniff" in answer
            assert b"no-store" in answer
            writer.close()


def test_soft_limit_of_open_files_is_raised():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        raised = raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
        assert raised == min(hard if hard != resource.RLIM_INFINITY else connections.MOST_FILES, connections.MOST_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
