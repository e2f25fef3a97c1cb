"""The three running engines: permissions, authentication and files on disk."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psutil
import psycopg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from kairos.cli.memory import memory
from kairos.embedded import Addresses, DataFolder, DataFolderInUse, EmbeddedEngines
from tests.unit.embedded.folders import data_folder


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[tuple[DataFolder, EmbeddedEngines, Addresses]]:
    """Start all three engines on a folder of their own."""
    with data_folder() as path, DataFolder(path) as folder:
        engines = EmbeddedEngines(folder)
        try:
            yield folder, engines, await engines.start()
        finally:
            await engines.stop()


@pytest.fixture(scope="module")
def folder(running: tuple[DataFolder, EmbeddedEngines, Addresses]) -> DataFolder:
    return running[0]


@pytest.fixture(scope="module")
def engines(running: tuple[DataFolder, EmbeddedEngines, Addresses]) -> EmbeddedEngines:
    return running[1]


@pytest.fixture(scope="module")
def at(running: tuple[DataFolder, EmbeddedEngines, Addresses]) -> Addresses:
    return running[2]


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def test_every_role_can_connect_and_none_bypasses_row_level_security(at: Addresses) -> None:
    for url, name in (
        (at.database_url, "kairos_app"),
        (at.migration_url, "kairos_owner"),
        (at.system_url, "kairos_system"),
    ):
        with connect(url) as connection:
            row = connection.execute(
                "select rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication "
                "from pg_roles where rolname = current_user"
            ).fetchone()
            assert row == (name, False, False, False, False, False)


def test_only_the_owner_creates_tables_and_owns_the_database(at: Addresses) -> None:
    with connect(at.migration_url) as owner:
        assert owner.execute(
            "select pg_get_userbyid(datdba) from pg_database where datname = current_database()"
        ).fetchone() == ("kairos_owner",)
        owner.execute("create table made_by_owner (id int, place vector(3))")
        owner.execute("drop table made_by_owner")
    for url in (at.database_url, at.system_url):
        for statement in ("create table t (id int)", "create temporary table t (id int)", "create schema s"):
            with connect(url) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)


def test_wrong_password_is_refused(at: Addresses) -> None:
    for url in (at.database_url, at.database_url.replace("kairos_app", "postgres")):
        parts = urlsplit(url)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(url.replace(str(parts.password), "wrong"))


def test_cluster_has_durable_settings(at: Addresses) -> None:
    with connect(at.database_url) as connection:
        names = ["data_checksums", "fsync", "jit", "listen_addresses", "password_encryption", "server_encoding"]
        shown = connection.execute(
            "select name, setting from pg_settings where name = any(%s) order by name", [names]
        ).fetchall()
        sorting = connection.execute(
            "select datlocprovider, datlocale from pg_database where datname = current_database()"
        ).fetchone()
    assert dict(shown) == dict(zip(names, ["on", "on", "off", "127.0.0.1", "scram-sha-256", "UTF8"], strict=True))
    assert sorting == ("b", "C.UTF-8")


async def test_valkey_requires_its_password_and_never_evicts(at: Addresses) -> None:
    async with Redis.from_url(at.redis_url, decode_responses=True) as client:
        assert await client.ping()
        options = ("appendonly", "appendfsync", "save", "maxmemory-policy")
        assert [(await client.config_get(name))[name] for name in options] == ["yes", "everysec", "", "noeviction"]
    parts = urlsplit(at.redis_url)
    async with Redis(host=str(parts.hostname), port=parts.port or 0) as unauthenticated:
        with pytest.raises(AuthenticationError):
            await unauthenticated.ping()


def test_model_reports_usage(at: Addresses) -> None:
    status, body = chat(at, {"max_tokens": 24})
    answer = json.loads(body)
    assert status == 200
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] > 0
    assert answer["usage"]["completion_tokens"] > 0


def test_model_streams_its_answer(at: Addresses) -> None:
    status, body = chat(at, {"max_tokens": 24, "stream": True, "stream_options": {"include_usage": True}})
    events = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    assert (status, events[-1]) == (200, "[DONE]")
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert "Paris" in text
    assert len(chunks) > 4
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_model_requires_its_api_key(at: Addresses) -> None:
    assert chat(at, {"max_tokens": 1}, key="wrong")[0] == 401


def test_prompt_beyond_the_context_is_refused_and_not_cut(at: Addresses) -> None:
    """The server has two slots of 2048 tokens each."""
    with_key = {"Authorization": f"Bearer {at.model_api_key}"}
    with urlopen(Request(str(at.model_url).removesuffix("/v1") + "/props", headers=with_key), timeout=20) as answer:
        properties = json.load(answer)
    assert (properties["total_slots"], properties["default_generation_settings"]["n_ctx"]) == (2, 2048)
    status, body = chat(at, {"max_tokens": 1, "messages": [{"role": "user", "content": "word " * 2100}]})
    assert status == 400
    assert "2048" in body


def chat(at: Addresses, parameters: dict[str, Any], key: str | None = None) -> tuple[int, str]:
    parts = urlsplit(str(at.model_url))
    body = {
        "model": "smollm2-135m",
        "temperature": 0,
        "messages": [{"role": "user", "content": "Which city is the capital of France?"}],
        **parameters,
    }
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=100)
    try:
        headers = {"Authorization": f"Bearer {key or at.model_api_key}", "Content-Type": "application/json"}
        connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_engines_listen_only_on_localhost(folder: DataFolder, engines: EmbeddedEngines) -> None:
    for state in engines.states().values():
        listening = [c.laddr for c in psutil.Process(state.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert [address.ip for address in listening] == ["127.0.0.1"], state.name


def test_states_and_memory_of_the_engines(folder: DataFolder, engines: EmbeddedEngines) -> None:
    states = engines.states()
    assert {name: (state.state, state.restarts) for name, state in states.items()} == {
        "postgres": ("running", 0),
        "valkey": ("running", 0),
        "model": ("running", 0),
    }
    processes = folder.processes()
    assert {name: processes[name] for name in states} == {name: state.pid for name, state in states.items()}
    used = [memory(pid) for name, pid in processes.items() if name != "daemon"]
    totals = [usage.sizes["total"] for usage in used if usage]
    assert len(totals) == len(states)
    assert all(size > 1 for size in totals)
    assert sum(totals) < 400  # the limit for a laptop is 600 MB with the daemon


def test_files_are_not_readable_by_others(folder: DataFolder) -> None:
    secret = [folder.path / "secrets.json", folder.path / "ports.json", folder.path / "engines.json"]
    for file in (*secret, folder.path / "valkey" / "valkey.conf", *folder.logs.iterdir()):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert folder.path.stat().st_mode & 0o007 == 0
    for inside in ("logs", "valkey", "model"):
        assert (folder.path / inside).stat().st_mode & 0o777 == 0o700, inside
    assert (folder.path / "postgres").stat().st_mode & 0o777 == 0o700


def test_passwords_are_not_in_logs_or_command_lines(folder: DataFolder, engines: EmbeddedEngines) -> None:
    output = "".join(log.read_text(errors="replace") for log in folder.logs.iterdir())
    output += "".join(" ".join(psutil.Process(state.pid).cmdline()) for state in engines.states().values())
    for name in ("superuser", "owner", "app", "system", "valkey", "model"):
        assert getattr(folder.secrets, name) not in output, name


async def test_second_start_on_the_same_folder_is_refused(folder: DataFolder, at: Addresses) -> None:
    with pytest.raises(DataFolderInUse):
        await EmbeddedEngines(Path(folder.path)).start()
    with connect(at.database_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
