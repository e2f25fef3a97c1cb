"""The HTTP client: requests, responses and every limit, tested with real local servers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
import pytest_asyncio

from kairos.http import (
    CallPhase,
    HttpClient,
    HttpCut,
    HttpError,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
)

KEY = "sk-very-secret"
FAR_FUTURE = 4_000_000_000
"""A day in the year 2096."""
Script = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Answers every request as scripted, and records requests and connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[bytes] = []
        self.requested = asyncio.Event()
        self.connections = 0
        self.gone = asyncio.Event()
        """Set when a client closes its connection."""


@asynccontextmanager
async def serving(script: Script | bytes) -> AsyncIterator[RawServer]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                server.requests.append(head + await reader.readexactly(length))
                server.requested.set()
                if isinstance(script, bytes):
                    writer.write(script)
                else:
                    await script(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            server.gone.set()
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server = RawServer(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield server
    finally:
        listener.close()


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


async def test_json_is_sent_and_received(http: HttpClient):
    async with serving(answer("200 OK", b'{"a": [1, "\xc3\xbc"]}')) as server:
        assert await http.get_json(server.url + "/x") == {"a": [1, "ü"]}
        assert await http.post_json(server.url + "/x", {"q": 1}, token=KEY) == {"a": [1, "ü"]}
    got, posted = (request.decode() for request in server.requests)
    assert got.startswith("GET /x HTTP/1.1")
    assert "Authorization" not in got
    assert f"Authorization: Bearer {KEY}" in posted
    assert posted.endswith('{"q":1}')


async def test_connection_is_reused(http: HttpClient):
    async with serving(answer("200 OK", b"1")) as server:
        for _ in range(5):
            await http.get_json(server.url)
    assert server.connections == 1


def once_each(writers: list[asyncio.StreamWriter]) -> Script:
    """Return a script that answers the first request of a connection and closes the connection at the second."""

    async def script(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer in writers:
            raise ConnectionError
        writers.append(writer)
        writer.write(answer("200 OK", b"1"))

    return script


async def test_used_connection_that_was_closed_is_replaced(http: HttpClient):
    """llama.cpp closes the connection after each streamed answer without announcing it."""
    async with serving(once_each([])) as server:
        for _ in range(3):
            assert await http.post_json(server.url, {"a": 1}) == 1
    assert server.connections >= 3
    assert server.requests[-1].endswith(b'{"a":1}')


async def test_request_that_may_have_been_read_is_not_sent_again(http: HttpClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kairos.http.STALE_S", 0.0)
    async with serving(once_each([])) as server:
        await http.post_json(server.url, 1)
        with pytest.raises(HttpUnreachable, match="Server disconnected"):
            await http.post_json(server.url, 2)
    assert len(server.requests) == 2


async def test_new_connection_that_is_closed_is_not_tried_twice(http: HttpClient):
    async def gone(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ConnectionError

    async with serving(gone) as server:
        with pytest.raises(HttpUnreachable):
            await http.post_json(server.url, 1)
    assert len(server.requests) == 1


async def test_trace_context_is_passed_on():
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving(answer("200 OK", b"1")) as server, HttpClient(traceparent=lambda: parent) as http:
        await http.get_json(server.url)
    assert f"traceparent: {parent}".encode() in server.requests[0]


async def test_closed_port_is_unreachable_and_the_message_has_no_query(http: HttpClient):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(HttpUnreachable) as caught:
        await http.get_json(f"http://user:pw@127.0.0.1:{port}/v1?key={KEY}")
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/v1 cannot be reached: Connection refused. "
        "Check the address, and that the server there is running."
    )


@pytest.mark.parametrize("url", ["http://nowhere.invalid/v1", "no-address", "http://[::1", "ftp://127.0.0.1/"])
async def test_invalid_address_is_unreachable(http: HttpClient, url: str):
    with pytest.raises(HttpUnreachable):
        await http.get_json(url)


async def test_connecting_has_a_limit(http: HttpClient):
    """Connections to a listener with a full queue wait."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        with pytest.raises(HttpTimeout) as caught:
            await http.get_json(f"http://127.0.0.1:{full.getsockname()[1]}", limits=HttpLimits(connect_s=0.1))
        for client in waiting:
            client.close()
    assert caught.value.phase is CallPhase.CONNECT


async def silence(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    raise ConnectionError


async def half(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,")
    await silence(head, reader, writer)


async def endless(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)
    raise ConnectionError


@pytest.mark.parametrize(
    ("script", "limits", "phase"),
    [
        (silence, HttpLimits(first_byte_s=0.05), CallPhase.FIRST_BYTE),
        (half, HttpLimits(idle_s=0.05), CallPhase.IDLE),
        (endless, HttpLimits(idle_s=5, total_s=0.1), CallPhase.TOTAL),
        (silence, HttpLimits(first_byte_s=5, total_s=0.05), CallPhase.TOTAL),
    ],
)
async def test_every_wait_has_a_limit_that_closes_the_connection(
    http: HttpClient, script: Script, limits: HttpLimits, phase: CallPhase
):
    async with serving(script) as server:
        with pytest.raises(HttpTimeout) as caught:
            await http.get_json(server.url, limits=limits)
        await asyncio.wait_for(server.gone.wait(), 5)
    assert caught.value.phase is phase
    assert 0.04 < caught.value.seconds < 4
    assert f"waiting for {phase}" in str(caught.value)


async def test_time_of_the_caller_does_not_count_as_server_time(http: HttpClient):
    limits = HttpLimits(first_byte_s=0.5, idle_s=0.05)
    async with serving(half) as server, http.stream("GET", server.url, limits=limits) as got:
        assert await got.read(begun=False) == b"[1,"
        await asyncio.sleep(0.6)  # a slow caller beyond both limits raises nothing


async def test_timeout_of_the_caller_is_not_converted(http: HttpClient):
    async with serving(half) as server:
        with pytest.raises(TimeoutError) as caught:
            async with http.stream("GET", server.url):
                raise TimeoutError("mine")
    assert str(caught.value) == "mine"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"message": "No such thing.", "type": "x"}}', "No such thing"),
        (b'{"error": "model \'x\' not found"}', "model 'x' not found"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b'{"detail": [{"loc": ["body"]}]}', '{"detail": [{"loc": ["body"]}]}'),
        (b"<html>\n  <b>Bad\x00 Gateway</b>", "<html> <b>Bad Gateway</b>"),
        (b"", "Teapot"),
        (f"wrong key {KEY}!".encode(), "wrong key ***!"),
        (b"x" * 5000, "x" * 300 + " …"),
    ],
)
async def test_error_status_contains_the_servers_message(http: HttpClient, body: bytes, reason: str):
    async with serving(answer("418 Teapot", body)) as server:
        with pytest.raises(HttpStatus) as caught:
            await http.get_json(server.url, token=KEY)
    assert (caught.value.http_status, caught.value.reason) == (418, reason)
    assert str(caught.value) == f"{server.url} answered 418: {reason}."


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7),
        ("Retry-After: 1.5", 1.5),
        ("Retry-After: -3", 0),
        (f"Retry-After: {formatdate(FAR_FUTURE, usegmt=True)}", FAR_FUTURE),
        ("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("retry-after-ms: 250", 0.25),
        ("Retry-After: soon", None),
        ("Retry-After: inf", None),
        ("X-Nothing: 1", None),
    ],
)
async def test_retry_after_is_parsed(http: HttpClient, header: str, seconds: float | None):
    async with serving(answer("429 Too Many Requests", b"", header)) as server:
        with pytest.raises(HttpStatus) as caught:
            await http.get_json(server.url)
    got = caught.value.retry_after_s
    if seconds == FAR_FUTURE:
        assert got == pytest.approx(FAR_FUTURE - time.time(), abs=5)
    else:
        assert got == seconds


async def test_redirect_is_not_followed_with_the_key(http: HttpClient):
    async with serving(b"") as attacker:
        moved = answer("307 Temporary Redirect", b"", f"Location: {attacker.url}/v1?x={KEY}")
        async with serving(moved) as server:
            with pytest.raises(HttpStatus, match="redirects to") as caught:
                await http.post_json(server.url, {}, token=KEY)
    assert attacker.requests == []
    assert attacker.url in str(caught.value)
    assert KEY not in str(caught.value)


async def test_body_over_the_limit_is_refused(http: HttpClient):
    async with serving(answer("200 OK", b"1" * 1001)) as server:
        with pytest.raises(HttpTooLarge, match="more than 1000 bytes"):
            await http.get_json(server.url, limits=HttpLimits(body_bytes=1000))


async def test_body_that_is_not_json_is_garbled(http: HttpClient):
    async with serving(answer("200 OK", b"<html>")) as server:
        with pytest.raises(HttpGarbled, match="not JSON: <html>"):
            await http.get_json(server.url)


async def test_connection_lost_in_the_body_is_a_cut(http: HttpClient):
    async def lost(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,")
        raise ConnectionError

    async with serving(lost) as server:
        with pytest.raises(HttpCut, match="the connection closed before the end"):
            await http.get_json(server.url)


async def test_leaving_a_stream_early_closes_the_connection(http: HttpClient):
    async with serving(half) as server:
        async with http.stream("GET", server.url) as got:
            assert got.content_type == "application/octet-stream"
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_cancelled_call_closes_the_connection(http: HttpClient):
    async with serving(silence) as server:
        call = asyncio.create_task(http.get_json(server.url))
        await server.requested.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_client_that_is_not_open_raises_an_error():
    with pytest.raises(RuntimeError, match="not open"):
        await HttpClient().get_json("http://127.0.0.1:1")


def test_all_errors_have_a_common_base_class():
    kinds = (HttpUnreachable, HttpTimeout, HttpStatus, HttpTooLarge, HttpGarbled, HttpCut)
    assert all(issubclass(kind, HttpError) for kind in kinds)
