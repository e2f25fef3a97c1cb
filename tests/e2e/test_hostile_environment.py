"""Environment variables of libpq and Redis do not affect the embedded engines or the connections to them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from kairos.db.libpq import VARIABLES, clear_environment, session_options
from kairos.embedded import Addresses
from tests.kit.daemon_process import DaemonProcess, command, parsed

OTHERS = {
    "REDIS_URL": "redis://nowhere:1/0",
    "REDIS_HOST": "nowhere",
    "REDISCLI_AUTH": "wrong",
    "VALKEYCLI_AUTH": "wrong",
    "VALKEY_URL": "redis://nowhere:1/0",
    "PGDATA": "/nowhere",
    "PG_COLOR": "always",
    "PGX": "1",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Kathmandu",
}
HOSTILE = {
    **dict.fromkeys(sorted(VARIABLES), "nonsense"),
    **OTHERS,
    "PGSSLMODE": "verify-full",
    "PGSERVICE": "nowhere",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGDATESTYLE": "SQL, DMY",
    "PGTZ": "Asia/Kathmandu",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREAUTH": "none",
    "PGSYSCONFDIR": "/nowhere",
    "PGPASSFILE": "/dev/zero",
}


async def test_daemon_starts_and_works_with_variables_of_other_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    daemon = await DaemonProcess(tmp_path, {"embedded": {"model": False}}).start(within_s=90)
    done = command(tmp_path, "task", "list", "--json", KAIROS_CONFIG=str(daemon.config))
    assert parsed(done) == {"items": [], "next": None}
    assert command(tmp_path, "doctor", KAIROS_CONFIG=str(daemon.config)).returncode in (0, 1)
    assert await daemon.stop() == 0


def test_every_variable_of_the_installed_libpq_is_listed():
    known = {option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar}
    assert known <= VARIABLES


def test_only_libpq_variables_are_removed_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PGVECTOR_TOKEN", "of somebody else")
    clear_environment()
    assert VARIABLES.isdisjoint(os.environ)
    assert os.environ["PGVECTOR_TOKEN"] == "of somebody else"


async def test_session_options_override_other_options(addresses: Addresses, database, monkeypatch: pytest.MonkeyPatch):
    url = addresses.migration_url.replace("+psycopg", "")
    names = ("datestyle", "timezone", "row_security")
    other_options = "-c datestyle=SQL,DMY -c timezone=Asia/Kathmandu"
    with psycopg.connect(url, options=session_options(other_options)) as session:
        shown = {name: session.execute("select current_setting(%s)", [name]).fetchone() for name in names}
    assert shown == {"datestyle": ("ISO, MDY",), "timezone": ("UTC",), "row_security": ("on",)}
    await database.ping()
