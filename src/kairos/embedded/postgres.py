"""The embedded PostgreSQL: its cluster, its settings, its health, and the first database with its three roles."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from kairos.background_tasks import run_in_thread
from kairos.db.libpq import session_options
from kairos.db.roles import RolePasswords, create_roles, roles_statements
from kairos.embedded.engine import REMEDY, EngineNotStarted, NoAnswer, StillStarting
from kairos.embedded.folder import DataFolder
from kairos.embedded.folder_rights import close_secret
from kairos.embedded.ports import HOST
from kairos.embedded.postgres_files import PostgresPaths, find_paths, remove_unfinished
from kairos.embedded.process import Command, OwnedProcess
from kairos.embedded.user_name import environment_with_name

DATABASE = "kairos"
SUPERUSER = "postgres"
INITDB_LIMIT_S = 120.0
PREPARE_LIMIT_S = 120.0
CONNECT_LIMIT_S = 10
CANNOT_CONNECT_NOW, TOO_MANY_CONNECTIONS = "57P03", "53300"
STOPS = (signal.SIGINT, signal.SIGQUIT)
"""Fast shutdown (transactions are rolled back), then immediate shutdown (recovery at the next start)."""

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # Small, so that all idle engines fit on a laptop; the operating system's cache does the rest.
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    # JIT compilation takes longer than Kairos' queries, and needs memory in each connection.
    "jit": "off",
    # The default runs three more I/O processes, which are not needed at this size.
    "io_method": "sync",
    "max_worker_processes": "4",
    "autovacuum_max_workers": "2",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %u ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """SQLAlchemy URLs of the database for the three roles."""

    app: str
    owner: str
    system: str


class PostgresEngine:
    """PostgreSQL 18 with pgvector, from the wheel."""

    name = "postgres"
    program = "postgres"
    ready_limit_s = 30.0

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._paths: PostgresPaths | None = None
        self._connection: psycopg.AsyncConnection | None = None

    @property
    def paths(self) -> PostgresPaths:
        assert self._paths, "prepare() comes first"
        return self._paths

    @property
    def folder(self) -> Path:
        return self.paths.data

    def urls(self, port: int) -> DatabaseUrls:
        secrets = self._folder.secrets
        return DatabaseUrls(
            app=f"postgresql+psycopg://kairos_app:{secrets.app}@{HOST}:{port}/{DATABASE}",
            owner=f"postgresql+psycopg://kairos_owner:{secrets.owner}@{HOST}:{port}/{DATABASE}",
            system=f"postgresql+psycopg://kairos_system:{secrets.system}@{HOST}:{port}/{DATABASE}",
        )

    async def prepare(self) -> None:
        """Find its paths, and create the cluster if there is none. Safe to repeat after an interruption."""
        secrets = self._folder.secrets
        self._paths = await run_in_thread(partial(find_paths, self._folder.path), PREPARE_LIMIT_S)
        if not (self.paths.data / "PG_VERSION").exists():
            await self._make_cluster(secrets.superuser)

    def command(self, port: int) -> Command:
        # A killed postmaster leaves its pid file. Its process has ended (`orphans.py`), but if its id is reused by
        # another
        # program, PostgreSQL would refuse to start.
        (self.paths.data / "postmaster.pid").unlink(missing_ok=True)
        settings = {**SETTINGS, "port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = (str(self.paths.programs / "postgres"), "-D", str(self.paths.data), *options)
        return Command(program, self.paths.data, self._log, STOPS, self.paths.user)

    async def ping(self, port: int) -> None:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    host=HOST,
                    port=port,
                    # Uses a connection reserved for superusers, so that the check works if all others are in use.
                    user=SUPERUSER,
                    password=self._folder.secrets.superuser,
                    dbname="postgres",
                    application_name="kairos health",
                    autocommit=True,
                    connect_timeout=2,
                    options=session_options(),
                )
            await self._connection.execute("select 1")
        except psycopg.Error as error:
            await self.close()
            _raise_ping_error(error)

    async def after_start(self, port: int) -> None:
        """Create the database and its roles, after each change of their statements or passwords. Safe to repeat."""
        secrets = self._folder.secrets
        passwords = RolePasswords(owner=secrets.owner, app=secrets.app, system=secrets.system)
        mark = hashlib.sha256(f"{roles_statements()}{passwords}".encode()).hexdigest()
        done = self._folder.path / "roles.sha256"
        if done.exists() and done.read_text() == mark and (self.paths.home / "settled").exists():
            return
        try:
            await run_in_thread(partial(self._make_database, port, passwords), PREPARE_LIMIT_S)
        except psycopg.Error as error:
            reason = f"its roles could not be created: {str(error).strip()}"
            raise EngineNotStarted(engine=self.name, reason=reason, remedy=REMEDY, log="") from error
        (self.paths.home / "settled").touch()
        done.write_text(mark)
        close_secret(done)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    @property
    def _log(self) -> Path:
        return self._folder.logs / f"{self.name}.log"

    async def _make_cluster(self, superuser_password: str) -> None:
        """Create the cluster in a temporary folder and rename it, so that an incomplete cluster is never used."""
        home = self.paths.home
        for unfinished in home.glob("new-data-*"):
            await run_in_thread(partial(remove_unfinished, unfinished), PREPARE_LIMIT_S)
        made = Path(tempfile.mkdtemp(prefix="new-data-", dir=home))
        self.paths.chown(made)
        password = home / "initdb.password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(superuser_password)
        self.paths.chown(password)
        try:
            await self._run_initdb(made, password)
        finally:
            password.unlink()
        _move_into_place(made, self.paths.data)

    async def _run_initdb(self, made: Path, password: Path) -> None:
        program = (
            *(str(self.paths.programs / "initdb"), "-D", str(made), "-U", SUPERUSER, f"--pwfile={password}"),
            *("-A", "scram-sha-256", "--data-checksums", "--no-instructions", "-E", "UTF8"),
            # The built-in C.UTF-8 locale: sort order, and thus indexes, do not depend on the system's libc.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        )
        user = self.paths.user
        environment = environment_with_name(user.uid if user else os.geteuid(), self.paths.home)
        process = OwnedProcess(Command(program, self.paths.home, self._log, (signal.SIGTERM,), user, environment))
        try:
            ended = await process.ends_within(INITDB_LIMIT_S)
        finally:
            await process.stop()
        if not ended or process.exit_status != 0:
            reason = (
                f"initdb exited with status {process.exit_status}"
                if ended
                else f"initdb took over {INITDB_LIMIT_S:g} s"
            )
            raise EngineNotStarted(
                engine=self.name,
                reason=reason,
                remedy=REMEDY,
                log=f" Its log ({self._log}) ends with:\n{process.log_tail()}",
            )

    def _make_database(self, port: int, passwords: RolePasswords) -> None:
        secret = self._folder.secrets.superuser
        address = f"host={HOST} port={port} user={SUPERUSER} password={secret} connect_timeout={CONNECT_LIMIT_S}"
        options = session_options()
        with psycopg.connect(f"{address} dbname=postgres", autocommit=True, options=options) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
                connection.execute("create database kairos")
        with psycopg.connect(f"{address} dbname={DATABASE}", autocommit=True, options=options) as connection:
            create_roles(connection, passwords)


def _raise_ping_error(error: psycopg.Error) -> None:
    """Raise `StillStarting` or `NoAnswer` for a failed ping. A server without free connections counts as healthy."""
    text, state = str(error).strip(), error.sqlstate
    if state == TOO_MANY_CONNECTIONS:
        return
    # libpq has no SQLSTATE for errors before a session begins.
    if state == CANNOT_CONNECT_NOW or "the database system is starting up" in text or "not yet accepting" in text:
        raise StillStarting(text) from error
    if "too many clients" not in text:
        raise NoAnswer(text) from error


def _move_into_place(made: Path, data: Path) -> None:
    made.rename(data)
    descriptor = os.open(data.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
