"""The data folder: its lock, secrets and ports, and information about the daemon that uses it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from kairos.embedded.folder_rights import (
    DataFolderUnusable,
    close_secret,
    private_folder,
    unusable,
    warn_if_replaceable,
)
from kairos.embedded.ports import free_port, is_free
from kairos.errors import KairosError

log = logging.getLogger(__name__)

LOCK, SECRETS, PORTS, RUNTIME, ENGINES = "kairos.lock", "secrets.json", "ports.json", "runtime.json", "engines.json"


class DataFolderInUse(KairosError):
    """{path} is in use by Kairos with process id {pid}. Stop that process, or set `data_dir` to another folder."""

    status, code, exit_code = 500, "data_folder_in_use", 6


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords of this folder's engines: random, created once."""

    superuser: str = field(default_factory=_password)
    owner: str = field(default_factory=_password)
    app: str = field(default_factory=_password)
    system: str = field(default_factory=_password)
    valkey: str = field(default_factory=_password)
    model: str = field(default_factory=_password)


class DataFolder:
    """A folder that one daemon at a time may use. Its lock is a file lock, which ends with the process.

    `with DataFolder(path) as folder:` locks it. `kairos status` reads it without the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None

    def __enter__(self) -> DataFolder:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.release()

    @property
    def taken(self) -> bool:
        """Whether this process holds the lock."""
        return self._lock is not None

    def take(self) -> None:
        """Create the folder if needed, and lock it. Raises `DataFolderInUse`, `DataFolderUnusable`."""
        try:
            private_folder(self.path)
            private_folder(self.logs)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DataFolderInUse(path=self.path, pid=_number_in(self.path / LOCK) or "unknown") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor
        warn_if_replaceable(self.path)

    def release(self) -> None:
        """Release the lock and delete the runtime files. Does nothing if the lock is not held."""
        if self._lock is None:
            return
        for name in (RUNTIME, ENGINES):
            (self.path / name).unlink(missing_ok=True)
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @cached_property
    def secrets(self) -> Secrets:
        """The folder's secrets, created on first use. Secrets of newer versions are added.

        Raises `DataFolderUnusable` if they are missing but a database exists that needs them.
        """
        if (self.path / SECRETS).exists():
            close_secret(self.path / SECRETS)
        stored = self._read(SECRETS)
        if not stored and (self.path / "postgres" / "data").exists():
            reason = f"it contains a database, but {SECRETS} with its passwords is missing"
            raise DataFolderUnusable(path=self.path, reason=reason, remedy=f"Restore {SECRETS} from a backup")
        known = {f.name for f in fields(Secrets)}
        made = Secrets(**{name: value for name, value in stored.items() if name in known})
        if set(stored) < known:
            self._write(SECRETS, asdict(made))
            close_secret(self.path / SECRETS)
        return made

    def write_secret(self, name: str, value: str) -> None:
        """Write a file that only this user can read. Raises `DataFolderUnusable` if the file system does not allow
        it."""
        path = self.path / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            close_secret(path)
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def port(self, engine: str) -> int:
        """The engine's port: the previous one if it is free, else a new one."""
        ports: dict[str, int] = self._read(PORTS)
        before = ports.get(engine)
        if before and is_free(before):
            return before
        ports[engine] = free_port(set(ports.values()))
        if before:
            log.warning("port %d of the embedded %s is in use: using port %d", before, engine, ports[engine])
        self._write(PORTS, ports)
        return ports[engine]

    def write_runtime(self, values: dict[str, Any]) -> None:
        """Store information about the running daemon for `kairos status`; deleted when it stops."""
        self._write(RUNTIME, values)

    def write_engines(self, pids: dict[str, int]) -> None:
        self._write(ENGINES, pids)

    def daemon_pid(self) -> int | None:
        """Id of the process that holds the folder's lock; None if it is not locked."""
        if self.taken:
            return os.getpid()
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _number_in(self.path / LOCK)
            finally:
                os.close(descriptor)
        return None

    def processes(self) -> dict[str, int]:
        """Process ids of the running daemon (`daemon`) and of each engine by name; empty if none is running."""
        daemon = self.daemon_pid()
        if daemon is None:
            return {}
        engines = {name: pid for name, pid in self._read(ENGINES).items() if _parent(pid) == daemon}
        return {"daemon": daemon, **engines}

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DataFolderUnusable(
                path=self.path,
                reason=f"{name}: {error}",
                remedy=f"Restore {name} from a backup, or check its permissions",
            ) from error

    def _write(self, name: str, values: dict[str, Any]) -> None:
        """Write a file atomically and durably, readable by this user only."""
        temporary = self.path / f".{name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _parent(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return None
