"""Exports a project as a .tar.gz with a JSON Lines file for each table, and a manifest.

The tables are read page by page in one snapshot into unnamed temporary files, so memory holds one page at a time and a
crash leaves no files behind. The archive is sent while it is written, but written at the speed of the database: a slow
client does not keep a connection open.
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
from kairos.db.repositories.projects import export
from kairos.errors import KairosError
from kairos.tenancy import ProjectId, Scope

AT_ONCE = 2
"""Concurrent exports in one daemon. Each holds a database connection."""
WAIT_S = 20
CHUNK = 256 * 1024
FORMAT = 2
"""Version 2: the manifest is the last file, because it has the row counts of the others."""


class ExportsBusy(KairosError):
    """This daemon already runs {most} exports. Try again in a few minutes."""

    status, code, exit_code = 503, "exports_busy", 7


class Exports:
    """Creates export archives."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def ready(self) -> None:
        """Wait until another export may start. Raises `ExportsBusy`."""
        try:
            async with asyncio.timeout(WAIT_S), self._slots:
                pass
        except TimeoutError:
            raise ExportsBusy(most=AT_ONCE) from None

    async def stream(self, project_id: ProjectId) -> AsyncIterator[bytes]:
        """The archive in chunks. Any interruption raises an error, so that no client mistakes a part for the whole."""
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
    """An unnamed temporary file that one task writes while another reads it."""

    def __init__(self) -> None:
        self._file = _file()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: bytes) -> int:
        """Called from threads. Fails after the reader has closed the file."""
        self._file.write(piece)
        self._loop.call_soon_threadsafe(self._more.set)
        return len(piece)

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    async def pieces(self, writing: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """The written data in chunks, until the writing task has ended and everything was read."""
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
    """Add a table and return its number of rows. A tar entry begins with its size, so rows go to a file first."""
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
    """JSON form of other types: bytes as hexadecimal digits, everything else as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], length: int, exported_at: datetime) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = length, 0o600, int(exported_at.timestamp())
    tar.addfile(entry, file)
