"""A project as one file: a .tar.gz with a manifest and one file of JSON lines for each table.

Read in one snapshot, page by page, into files that have no name: what a killed daemon or a lost connection leaves
behind is nothing, and no more than a page is in memory.
"""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from typing import IO, Any

import orjson

from kairos import __version__
from kairos.db.engine import Database, Session
from kairos.db.repositories import export
from kairos.tenancy import ProjectId, Scope

AT_ONCE = 2
"""Exports of one daemon. Each holds a connection and two copies on disk; the next one waits."""
CHUNK = 256 * 1024
FORMAT = 1

Files = dict[str, IO[bytes]]


class Exports:
    """Makes the files."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def make(self, project_id: ProjectId) -> IO[bytes]:
        """The finished archive, at its start. The caller closes it, and it is gone."""
        async with self._slots:
            with ExitStack() as stack:
                files: Files = {}
                async with self._database.scope(Scope(project_id), snapshot=True) as session:
                    manifest = await self._read(session, project_id, files, stack)
                return await asyncio.to_thread(_packed, manifest, files)

    async def _read(self, session: Session, project_id: ProjectId, files: Files, stack: ExitStack) -> dict[str, Any]:
        counts: dict[str, int] = {}
        project = await export.project(session, project_id)
        exported_at = project.pop("exported_at")
        people = await export.people_of(session, project_id)
        files["people.jsonl"], counts["people"] = stack.enter_context(_file()), len(people)
        _write(files["people.jsonl"], people)
        for table in export.TABLES:
            name = str(table.name)
            file = files[f"{name}.jsonl"] = stack.enter_context(_file())
            counts[name] = 0
            async for page in export.pages(session, table, project_id):
                await asyncio.to_thread(_write, file, page)
                counts[name] += len(page)
        return {
            "format": FORMAT,
            "kairos": __version__,
            "exported_at": exported_at,
            "project": project,
            "counts": counts,
        }


async def chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The archive as it is sent; closed at the end, and where the one who asked goes away."""
    try:
        while piece := await asyncio.to_thread(file.read, CHUNK):
            yield piece
    finally:
        file.close()


def size(file: IO[bytes]) -> int:
    end = file.seek(0, 2)
    file.seek(0)
    return end


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="kairos-export-")


def _write(file: IO[bytes], rows: list[dict[str, Any]]) -> None:
    for row in rows:
        file.write(orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE))


def _plain(value: object) -> str:
    """What JSON has no form for: bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _packed(manifest: Mapping[str, Any], files: Files) -> IO[bytes]:
    archive = _file()
    try:
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=6) as tar:
            text = orjson.dumps(manifest, default=_plain, option=orjson.OPT_INDENT_2)
            _add(tar, "manifest.json", BytesIO(text), len(text), manifest)
            for name, file in files.items():
                _add(tar, name, file, size(file), manifest)
        archive.seek(0)
        return archive
    except BaseException:
        archive.close()
        raise


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], length: int, manifest: Mapping[str, Any]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = length, 0o600, int(manifest["exported_at"].timestamp())
    tar.addfile(entry, file)
