"""A project as one file: a .tar.gz with one file of JSON lines for each table, and a manifest.

Read in one snapshot, page by page, into files that have no name: what a killed daemon or a lost connection leaves
behind is nothing, and no more than a page is in memory. It is sent while it is made, and made at the pace of the
database: a client that reads slowly holds no connection.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import datetime
from io import BytesIO
from typing import IO, Any, Self, cast

import orjson

from kairos import __version__
from kairos.background_tasks import end
from kairos.db.engine import Database, Session
from kairos.db.repositories import export
from kairos.errors import KairosError
from kairos.tenancy import ProjectId, Scope

AT_ONCE = 2
"""Exports that one daemon makes at once. Each of them holds a connection."""
WAIT_S = 20
CHUNK = 256 * 1024
FORMAT = 2
"""2: the manifest is the last file, as it counts the rows of the others."""


class ExportsBusy(KairosError):
    """This daemon makes {most} exports already. Try again in a few minutes."""

    status, code, exit_code = 503, "exports_busy", 7


class Exports:
    """Makes the files."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def ready(self) -> None:
        """Until another export may be made. Raises `ExportsBusy`."""
        try:
            async with asyncio.timeout(WAIT_S), self._slots:
                pass
        except TimeoutError:
            raise ExportsBusy(most=AT_ONCE) from None

    async def stream(self, project_id: ProjectId) -> AsyncIterator[bytes]:
        """The archive, piece by piece. Whatever interrupts it ends the iteration with an error, so that no client takes
        a part for the whole."""
        with GrowingFile() as archive:
            making = asyncio.create_task(self._make(project_id, archive), name="project export")
            try:
                async for piece in archive.pieces(making):
                    yield piece
                await making
            finally:
                await end(making)

    async def _make(self, project_id: ProjectId, archive: GrowingFile) -> None:
        async with self._slots:
            with ExitStack() as stack:
                packed = stack.enter_context(
                    gzip.GzipFile(fileobj=cast(IO[bytes], archive), mode="wb", compresslevel=6)
                )
                tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w|"))
                async with self._database.scope(Scope(project_id), snapshot=True) as session:
                    manifest = await self._add_tables(session, project_id, tar)
                text = orjson.dumps(manifest, default=_plain, option=orjson.OPT_INDENT_2)
                _add(tar, "manifest.json", BytesIO(text), len(text), manifest["exported_at"])

    async def _add_tables(self, session: Session, project_id: ProjectId, tar: tarfile.TarFile) -> dict[str, Any]:
        project = await export.project(session, project_id)
        exported_at = project.pop("exported_at")
        people = await export.people_of(session, project_id)
        counts = {"people": await _add_table(tar, "people", _one(people), exported_at)}
        for table in export.TABLES:
            pages = export.pages(session, table, project_id)
            counts[str(table.name)] = await _add_table(tar, str(table.name), pages, exported_at)
        return {
            "format": FORMAT,
            "kairos": __version__,
            "exported_at": exported_at,
            "project": project,
            "counts": counts,
        }


class GrowingFile:
    """A file without a name that one task writes and another reads as it grows."""

    def __init__(self) -> None:
        self._file = _file()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: bytes) -> int:
        """Called in threads. A write after the reader's end fails."""
        self._file.write(piece)
        self._loop.call_soon_threadsafe(self._more.set)
        return len(piece)

    def flush(self) -> None:
        """Nothing is buffered."""

    async def pieces(self, writing: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """What is written, until the task has ended and all of it was read."""
        offset, ended = 0, False
        while not ended:
            self._more.clear()
            ended = writing.done()
            while piece := await asyncio.to_thread(os.pread, self._file.fileno(), CHUNK, offset):
                offset += len(piece)
                yield piece
            if not ended:
                await _first(writing, asyncio.create_task(self._more.wait()))


async def _first(writing: asyncio.Task[None], more: asyncio.Task[Any]) -> None:
    try:
        await asyncio.wait([writing, more], return_when=asyncio.FIRST_COMPLETED)
    finally:
        more.cancel()


async def _one(page: list[dict[str, Any]]) -> AsyncIterator[list[dict[str, Any]]]:
    yield page


async def _add_table(
    tar: tarfile.TarFile, name: str, pages: AsyncIterator[list[dict[str, Any]]], exported_at: datetime
) -> int:
    """Its rows; an entry begins with its size, so they are gathered in a file first."""
    count = 0
    with _file() as file:
        async for page in pages:
            await asyncio.to_thread(_write, file, page)
            count += len(page)
        await asyncio.to_thread(_add, tar, f"{name}.jsonl", file, size(file), exported_at)
    return count


def size(file: IO[bytes]) -> int:
    end = file.seek(0, 2)
    file.seek(0)
    return end


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="kairos-export-", buffering=0)


def _write(file: IO[bytes], rows: list[dict[str, Any]]) -> None:
    file.write(b"".join(orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def _plain(value: object) -> str:
    """What JSON has no form for: bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], length: int, exported_at: datetime) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = length, 0o600, int(exported_at.timestamp())
    tar.addfile(entry, file)
