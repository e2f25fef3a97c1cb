"""Data folders for tests, and a process of its own that runs the engines on one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = os.geteuid() == 0
NOBODY = 65534
DAEMON = """
import asyncio, sys
from pathlib import Path
from kairos.embedded import EmbeddedEngines

async def main():
    wanted = sys.argv[2].split(",")
    engines = EmbeddedEngines(Path(sys.argv[1]), **{name: name in wanted for name in ("postgres", "valkey", "model")})
    addresses = await engines.start()
    print("ready", addresses.database_url, flush=True)
    await engines.watch()

asyncio.run(main())
"""


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach (pytest's own are closed to others), gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kairos-"))
    try:
        yield folder
    finally:
        forget(folder)


def forget(folder: Path) -> None:
    """Remove it, and PostgreSQL's part where that lies elsewhere."""
    postgres = folder / "postgres"
    if postgres.is_symlink():
        shutil.rmtree(postgres.resolve(), ignore_errors=True)
    shutil.rmtree(folder)


def daemon(folder: Path, engines: Sequence[str], **options: object) -> subprocess.Popen[str]:
    """A process that runs these engines until it is killed; it prints `ready` and the app role's address."""
    python = options.pop("python", sys.executable)
    command = [str(python), "-c", DAEMON, str(folder), ",".join(engines)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def processes_in(folder: Path) -> list[psutil.Process]:
    """All that work in the folder or below it, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            where = Path(process.cwd())
        except (psutil.Error, OSError):
            continue
        if where.is_relative_to(folder) and process.pid != os.getpid():
            found.append(process)
    return found
