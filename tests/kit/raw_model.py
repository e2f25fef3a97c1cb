"""A model server on a raw socket: it sends given bytes and ends the connection in a given way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

from kairos.http import HttpClient
from kairos.llm.answers.answer import Completion
from kairos.llm.calls.providers import CallLimits, Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.conditions import eventually
from tests.kit.model_calls import HELLO

UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class Then(StrEnum):
    """What to do with the connection after the bytes."""

    CLOSE = "close"
    RESET = "reset"
    HOLD = "hold"


def chunked(body: bytes, *, ended: bool = True) -> bytes:
    """Return a response of one chunk, with or without the chunk that marks the end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if ended else b"")


def sized(body: bytes, *, missing: int = 0, headers: bytes = b"") -> bytes:
    """Return a response with a Content-Length that is `missing` bytes too large."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body) + missing, headers) + body


def unread_bytes(writer: asyncio.StreamWriter) -> int:
    """Return the number of bytes that the client has received but not read, from `/proc/net/tcp`."""
    own, theirs = (f":{writer.get_extra_info(name)[1]:04X}" for name in ("sockname", "peername"))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if local.endswith(theirs) and remote.endswith(own):
            return int(queues.partition(":")[2], 16)
    return 0


@asynccontextmanager
async def raw_server(*pieces: bytes, then: Then = Then.CLOSE) -> AsyncIterator[str]:
    """Yield the base URL of a server that answers each request with these pieces."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if then is Then.HOLD:
            await ended.wait()
        if then is Then.RESET:
            await eventually(lambda: not unread_bytes(writer), 5)  # a reset drops unread bytes
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        ended.set()
        listener.close()
        await listener.wait_closed()


async def ask(*pieces: bytes, then: Then = Then.CLOSE, deltas: list[str] | None = None) -> Completion:
    """Return the completion of one call that is answered with these pieces. Raises the error of the call."""
    shown = [] if deltas is None else deltas

    async def on_delta(text: str) -> None:
        shown.append(text)

    limits = CallLimits(usage_s=0.1, idle_s=0.4, first_token_s=2, answer_bytes=20_000)
    async with raw_server(*pieces, then=then) as base_url, HttpClient() as http:
        called = Model(name="mine", upstream="up", base_url=base_url)
        return await Providers(http, limits).chat(called, HELLO, timeout_s=5, on_delta=on_delta, on_restart=shown.clear)
