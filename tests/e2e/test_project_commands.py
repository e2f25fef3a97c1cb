"""The commands of `kairos project` against a daemon: rename, archive, export, delete."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kairos.embedded import Addresses
from tests.kit.conditions import eventually
from tests.kit.daemon_process import DaemonProcess, command, on_engines, parsed
from tests.kit.filling import rows_of


@pytest.fixture(scope="module")
async def daemon(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    started = DaemonProcess(tmp_path_factory.mktemp("kairos"), on_engines(addresses))
    await started.start()
    yield started
    assert await started.stop() == 0


async def test_project_is_renamed_archived_exported_and_deleted(daemon: DaemonProcess, addresses: Addresses):
    def kairos(*arguments: str):
        return command(daemon.folder, *arguments, KAIROS_CONFIG=str(daemon.config))

    project = parsed(kairos("project", "create", "First name", "--json"))
    assert parsed(kairos("project", "rename", "First name", "Second name", "--json"))["id"] == project["id"]
    assert kairos("project", "archive", "Second name").returncode == 0
    refused = kairos("task", "submit", "x")
    assert refused.returncode == 5
    assert "kairos project restore" in refused.stderr
    assert "archived" in kairos("project", "list").stdout
    assert kairos("project", "restore", project["id"]).returncode == 0
    assert kairos("task", "submit", "x").returncode == 0

    written = parsed(kairos("project", "export", "Second name", "-o", "out.tar.gz", "--json"))
    file = daemon.folder / "out.tar.gz"
    assert file.stat().st_size == written["bytes"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as tar:
        assert {"manifest.json", "tasks.jsonl"} <= set(tar.getnames())
    assert list(daemon.folder.glob(".*.part")) == []

    assert kairos("project", "delete", "Second name", "--confirm", "First name").returncode == 2
    assert kairos("project", "export", "Second name").returncode == 0, "an unconfirmed deletion deleted the project"
    deleted = kairos("project", "delete", "Second name", "--confirm", "Second name")
    assert deleted.returncode == 0, deleted.stderr
    assert kairos("project", "use", "Second name").returncode == 4
    await eventually(lambda: not any(rows_of(addresses, project["id"]).values()), 60, "the daemon erases the project")
    assert (Path(daemon.folder) / "out.tar.gz").exists()
