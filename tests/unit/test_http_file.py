"""A request with a file as its body is sent completely, in parts, and never held in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kairos.http import HttpClient, HttpStatus, HttpUnreachable

MB = 1024 * 1024
SIZE = 32 * MB


class Sink:
    """A server that reads and hashes each body and answers 201, or answers 400 at once if `refuses` is set."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.hashes: list[str] = []
        self.refuses = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        left = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        digest = hashlib.sha256()
        while left and not self.refuses:
            chunk = await reader.read(MB)
            digest.update(chunk)
            left -= len(chunk)
        self.hashes.append(digest.hexdigest())
        status = "400 Bad Request" if self.refuses else "201 Created"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    listener = await asyncio.start_server(sink.handle, "127.0.0.1", 0)
    sink.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield sink
    listener.close()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"GGUF")
    with path.open("r+b") as content:
        content.truncate(SIZE)
    return path


async def send(http: HttpClient, sink: Sink, file: Path) -> None:
    async with http.stream("POST", sink.url, body=file):
        pass


async def test_file_is_sent_completely_without_reading_it_into_memory(http: HttpClient, sink: Sink, file: Path) -> None:
    tracemalloc.start()
    try:
        await send(http, sink, file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.hashes == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert b"application/octet-stream" in sink.heads[0]
    assert peak < SIZE / 4


async def test_file_can_be_sent_again(http: HttpClient, sink: Sink, file: Path) -> None:
    for _ in range(2):
        await send(http, sink, file)
    assert len(set(sink.hashes)) == 1
    assert len(sink.hashes) == 2


async def test_answer_before_the_file_was_read_is_an_http_error(http: HttpClient, sink: Sink, file: Path) -> None:
    """The client sees the answer or a broken pipe; both are errors of this module."""
    sink.refuses = True
    with pytest.raises((HttpStatus, HttpUnreachable)):
        await send(http, sink, file)


async def test_missing_file_is_not_an_http_error(http: HttpClient, sink: Sink, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await send(http, sink, tmp_path / "missing")
    assert sink.heads == []
