"""The data folder: one daemon, its secrets, its ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kairos.cli.client import runtime
from kairos.embedded import DataFolder, DataFolderInUse, DataFolderUnusable
from kairos.embedded.ports import HOST

HOLDER = """
import sys
from pathlib import Path
from kairos.embedded import DataFolder
with DataFolder(Path(sys.argv[1])) as folder:
    folder.write_runtime({"address": "http://here"})
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_folder_in_use_is_refused_with_the_pid_of_its_daemon(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(DataFolderInUse) as refused:
        DataFolder(tmp_path).take()
    assert refused.value.exit_code == 6
    assert f"process id {os.getpid()}" in str(refused.value)
    assert "data_dir" in str(refused.value)
    with DataFolder(tmp_path):
        """The folder is free again."""


def test_another_process_sees_the_daemon_and_its_runtime_file_until_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdin
    try:
        assert holder.stdout.readline() == "taken\n"
        seen = DataFolder(tmp_path)
        assert seen.daemon_pid() == holder.pid
        assert runtime(tmp_path) == {"address": "http://here"}
        assert seen.processes() == {"daemon": holder.pid}
        with pytest.raises(DataFolderInUse, match=str(holder.pid)):
            seen.take()
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    assert (tmp_path / "runtime.json").exists()  # the killed process could not remove it
    assert seen.daemon_pid() is None
    assert seen.processes() == {}


def test_files_are_closed_to_other_users(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with DataFolder(path) as folder:
        folder.write_runtime({"pid": 1})
        folder.write_engines({"valkey": 1})
        assert folder.secrets
        folder.port("valkey")
        files = [file for file in path.iterdir() if file.is_file()]
        assert {file.name for file in files} == {
            "kairos.lock", "secrets.json", "ports.json", "runtime.json", "engines.json"
        }  # fmt: skip
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert path.stat().st_mode & 0o777 == 0o700
    assert not (path / "runtime.json").exists()


def test_secrets_are_created_once_and_differ(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        first = folder.secrets
    values = [getattr(first, name) for name in ("superuser", "owner", "app", "system", "valkey", "model")]
    assert len(set(values)) == 6
    assert min(map(len, values)) >= 32
    with DataFolder(tmp_path) as folder:
        assert folder.secrets == first


def test_port_is_kept_until_another_program_uses_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with DataFolder(tmp_path) as folder:
        port = folder.port("valkey")
        assert folder.port("valkey") == port
        assert folder.port("model") != port
        assert 15_000 <= port < 30_000
        with socket.create_server((HOST, port)):
            moved = folder.port("valkey")
            assert moved != port
        assert folder.port("valkey") == moved
    assert f"port {port} of the embedded valkey is in use: using port {moved}" in caplog.text


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with DataFolder(tmp_path) as folder, pytest.raises(DataFolderUnusable, match=r"secrets\.json"):
        _ = folder.secrets


def test_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderUnusable, match="file"):
        DataFolder(tmp_path / "file" / "data").take()
