"""A start that cannot succeed ends with an exit code and an error that names the cause and the remedy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from kairos.embedded import Addresses
from tests.kit.daemon_process import DaemonProcess, command, on_engines


def start(folder: Path, settings: dict | str, **environment: str):
    """Run `kairos start` with these settings, which must end without a signal."""
    folder.mkdir(exist_ok=True)
    if isinstance(settings, str):
        # The default port may be in use, for example by `make run`.
        free_port = "" if "[server" in settings else "\n[server]\nport = 0\n"
        (folder / "kairos.toml").write_text(settings + free_port)
    else:
        DaemonProcess(folder, settings)
    return command(folder, "start", KAIROS_CONFIG=str(folder / "kairos.toml"), **environment)


@pytest.mark.parametrize(
    ("toml", "messages"),
    [
        ("max_concurent_tasks = 3", [":1", "max_concurent_tasks", "Did you mean 'max_concurrent_tasks'?"]),
        ('[server]\nport = "x"', [":2", "server.port", "integer", "'x'"]),
        ("[server]\nport = 70000", [":2", "65535"]),
        ("[server\n", ["not valid TOML", "line 1"]),
        ("[server]\n[server]\n", ["not valid TOML", "line 2"]),
        ('[[models]]\nname = "a"\nbase_url = "ftp://x"', ["models.0.base_url"]),
        ('[[models]]\nname = "a"\nbase_url = "http://x/v1"\napi_key_env = "NO_SUCH_KEY"', [":4", "NO_SUCH_KEY"]),
        ('[database]\nurl = "postgresql+psycopg://a@h/d"', ["migration_url"]),
    ],
)
def test_error_in_the_configuration_names_line_and_cause(tmp_path: Path, toml: str, messages: list[str]):
    done = start(tmp_path, toml)
    assert done.returncode == 2, done.stderr
    for message in messages:
        assert message in done.stderr, done.stderr


def test_unknown_default_model_is_named(tmp_path: Path, addresses: Addresses):
    """The check needs running engines, because the embedded model belongs to the catalog."""
    done = start(tmp_path, on_engines(addresses, default_llm_model="gone"))
    assert done.returncode == 2, done.stderr
    assert "default_llm_model" in done.stderr
    assert "gone" in done.stderr


def test_invalid_environment_variable_is_named(tmp_path: Path):
    done = start(tmp_path, "", KAIROS_SERVER__PORT="many")
    assert done.returncode == 2
    assert "KAIROS_SERVER__PORT" in done.stderr


def test_port_in_use_is_named(tmp_path: Path, addresses: Addresses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start(tmp_path, on_engines(addresses, server={"port": port}))
    assert done.returncode == 3
    assert f"127.0.0.1:{port} is in use" in done.stderr


def test_unreachable_postgresql_is_named_without_its_password(tmp_path: Path, addresses: Addresses):
    gone = dict.fromkeys(("url", "migration_url", "system_url"), "postgresql+psycopg://u:secret@127.0.0.1:1/x")
    done = start(tmp_path, {**on_engines(addresses), "database": gone})
    assert done.returncode == 3
    assert "PostgreSQL at postgresql+psycopg://u:***@127.0.0.1:1/x cannot be reached" in done.stderr
    assert "secret" not in done.stderr


def test_unreachable_redis_is_named_without_its_password(tmp_path: Path, addresses: Addresses):
    done = start(tmp_path, {**on_engines(addresses), "redis": {"url": "redis://:secret@127.0.0.1:1/0"}})
    assert done.returncode == 3
    assert "Redis at 127.0.0.1:1 cannot be reached" in done.stderr
    assert "secret" not in done.stderr


def test_database_role_that_bypasses_row_level_security_is_refused(tmp_path: Path, addresses: Addresses):
    settings = on_engines(addresses)
    settings["database"]["url"] = addresses.migration_url
    done = start(tmp_path, settings)
    assert done.returncode == 3
    owner = make_url(addresses.migration_url).username
    assert f"'{owner}'" in done.stderr
    assert "row-level security" in done.stderr
