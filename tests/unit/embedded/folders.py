"""Data folders for tests, and a process that runs the engines in one."""

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
    """Create a folder that PostgreSQL's user can access, unlike those of pytest, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kairos-"))
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove the folder, and PostgreSQL's data if it is stored elsewhere."""
    postgres = folder / "postgres"
    if postgres.is_symlink():
        shutil.rmtree(postgres.resolve(), ignore_errors=True)
    shutil.rmtree(folder)


def daemon(folder: Path, engines: Sequence[str], **options: object) -> subprocess.Popen[str]:
    """Start a process that runs these engines until it is killed. It prints `ready` and the app role's address."""
    python = options.pop("python", sys.executable)
    command = [str(python), "-c", DAEMON, str(folder), ",".join(engines)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return all processes whose working directory is the folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            where = Path(process.cwd())
        except (psutil.Error, OSError):
            continue
        if where.is_relative_to(folder) and process.pid != os.getpid():
            found.append(process)
    return found
