"""Permissions of the data folder: volumes of somebody else, modes that cannot be changed, secrets that stay open."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kairos.embedded import DataFolder, DataFolderUnusable
from kairos.embedded.folder_rights import private_folder
from tests.unit.embedded.folders import NOBODY, ROOT, data_folder

needs_root = pytest.mark.skipif(not ROOT, reason="only root can give folders to other users")
SOURCES = Path(__file__).parents[3] / "src"
USE = """
import os, sys
from pathlib import Path
from kairos.embedded import DataFolder
from kairos.errors import KairosError
import logging
logging.basicConfig(format="%(message)s")
try:
    with DataFolder(Path(sys.argv[1])) as folder:
        folder.secrets
        folder.write_secret("local-secret", "x")
        print("used")
except KairosError as error:
    print(error)
"""
GROUP = 54_321


@pytest.fixture
def volume() -> Iterator[Path]:
    with data_folder() as path:
        yield path


def use_as(user: int, path: Path, groups: tuple[int, ...] = ()) -> str:
    """What a process of this user prints that takes the folder."""
    paths = [str(SOURCES), *(entry for entry in sys.path if entry.endswith("site-packages"))]
    done = subprocess.run(
        [_python_for(user), "-c", USE, str(path)],
        user=user,
        group=user,
        extra_groups=groups,
        cwd="/",
        env={"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _python_for(user: int) -> str:
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", ""], user=user, cwd="/", check=False, env={}).returncode == 0:
                return python
    pytest.skip("no interpreter that another user can reach")


def modes(path: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_mode & 0o777 for entry in path.iterdir()}


@needs_root
@pytest.mark.parametrize("mode", [0o2775, 0o2770, 0o770], ids=oct)
def test_a_volume_of_root_that_the_group_may_write_is_used(volume: Path, mode: int) -> None:
    """As Kubernetes leaves every volume of a pod with `fsGroup`: chmod fails on it."""
    os.chown(volume, 0, GROUP)
    volume.chmod(mode)
    assert use_as(NOBODY, volume, (GROUP,)) == "used\n"
    assert volume.stat().st_mode & 0o7777 == mode
    assert {name: m for name, m in modes(volume).items() if m & 0o077} == {}


@needs_root
def test_a_volume_that_everybody_may_write_is_used_with_a_warning(volume: Path) -> None:
    """As `hostPath` and local volumes of Kubernetes often are; `fsGroup` does not reach those."""
    volume.chmod(0o777)
    said = use_as(NOBODY, volume)
    assert "used" in said
    assert "every user of this machine can replace files" in said


@needs_root
@pytest.mark.parametrize(("mode", "reason"), [(0o604, "lets every user read"), (0o640, "belongs to user 12345")])
def test_a_secret_that_a_stranger_put_into_an_open_folder_is_refused(volume: Path, mode: int, reason: str) -> None:
    volume.chmod(0o777)
    planted = volume / "secrets.json"
    planted.write_text(json.dumps({"owner": "known to the attacker"}))
    os.chown(planted, 12_345, NOBODY)
    planted.chmod(mode)
    printed = use_as(NOBODY, volume)
    assert "secrets.json" in printed
    assert reason in printed
    assert "used" not in printed.splitlines()


@needs_root
def test_modes_that_a_remount_opened_to_the_group_are_closed_again(volume: Path) -> None:
    """Kubernetes adds rw for the group to each file and rwx to each folder of a volume whenever a pod mounts it."""
    os.chown(volume, 0, GROUP)
    volume.chmod(0o2775)
    use_as(NOBODY, volume, (GROUP,))
    for entry in volume.rglob("*"):
        os.chown(entry, NOBODY, GROUP)
        entry.chmod(0o2770 if entry.is_dir() else 0o660)
    assert use_as(NOBODY, volume, (GROUP,)) == "used\n"
    assert modes(volume)["secrets.json"] == 0o600
    assert modes(volume)["logs"] == 0o700


@needs_root
@pytest.mark.parametrize(("owner", "mode"), [(0, 0o755), (12_345, 0o700), (0, 0o775)])
def test_a_folder_that_cannot_be_written_is_refused_with_its_owner_and_a_remedy(
    volume: Path, owner: int, mode: int
) -> None:
    os.chown(volume, owner, owner)
    volume.chmod(mode)
    said = use_as(NOBODY, volume)
    assert "cannot be used" in said
    assert "Permission denied" in said
    assert f"owner {owner}" in said
    assert f"Kairos runs as user {NOBODY}" in said
    assert "fsGroup" in said


def test_a_folder_of_this_user_is_closed_to_everybody_else(tmp_path: Path) -> None:
    for mode in (0o755, 0o777, 0o2770, 0o500):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        private_folder(folder)
        assert folder.stat().st_mode & 0o777 == 0o700, oct(mode)


def test_where_the_file_system_refuses_modes_a_closed_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FAT, SMB and some FUSE mounts do; no such file system can be counted on here."""
    tmp_path.chmod(0o755)
    _refuse_chmod(monkeypatch)
    with DataFolder(tmp_path) as folder:
        assert folder.secrets
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_secrets_that_the_file_system_opens_to_everybody_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DataFolder(tmp_path) as folder:
        assert folder.secrets
    (tmp_path / "secrets.json").chmod(0o644)
    _refuse_chmod(monkeypatch)
    with DataFolder(tmp_path) as folder, pytest.raises(DataFolderUnusable, match=r"every user read secrets\.json"):
        _ = folder.secrets


def test_a_new_secret_that_the_file_system_opens_is_refused_while_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_chmod(monkeypatch)
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: _opened(real_open(path, flags, mode)))
    with DataFolder(tmp_path) as folder, pytest.raises(DataFolderUnusable, match="every user read local-secret"):
        folder.write_secret("local-secret", "x")
    assert (tmp_path / "local-secret").read_text() == ""


def _opened(descriptor: int) -> int:
    """A new file as a file system without modes shows it."""
    if os.fstat(descriptor).st_size == 0:
        os.fchmod(descriptor, 0o644)
    return descriptor


def _refuse_chmod(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)


@needs_root
def test_a_read_only_volume_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    script = f'mount --bind {tmp_path}/data {tmp_path}/data && mount -o remount,ro,bind {tmp_path}/data && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", USE, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this root may not mount")
    assert "Read-only file system" in done.stdout
