"""Permissions of the data folder: volumes of other users, modes that cannot be changed, readable secrets."""

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
    """Return the output of a process that uses the folder as this user."""
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
def test_volume_of_root_that_the_group_may_write_is_used(volume: Path, mode: int) -> None:
    """Kubernetes prepares each volume of a pod with `fsGroup` like this. The process may not change its mode."""
    os.chown(volume, 0, GROUP)
    volume.chmod(mode)
    assert use_as(NOBODY, volume, (GROUP,)) == "used\n"
    assert volume.stat().st_mode & 0o7777 == mode
    assert {name: m for name, m in modes(volume).items() if m & 0o077} == {}


@needs_root
def test_volume_that_everybody_may_write_is_used_with_a_warning(volume: Path) -> None:
    """`hostPath` and local volumes of Kubernetes are often like this; `fsGroup` does not apply to them."""
    volume.chmod(0o777)
    output = use_as(NOBODY, volume)
    assert "used" in output
    assert "every user of this machine can replace files" in output


@needs_root
@pytest.mark.parametrize(("mode", "reason"), [(0o604, "lets every user read"), (0o640, "belongs to user 12345")])
def test_secret_that_another_user_put_into_an_open_folder_is_refused(volume: Path, mode: int, reason: str) -> None:
    volume.chmod(0o777)
    planted = volume / "secrets.json"
    planted.write_text(json.dumps({"owner": "known to the attacker"}))
    os.chown(planted, 12_345, NOBODY)
    planted.chmod(mode)
    output = use_as(NOBODY, volume)
    assert "secrets.json" in output
    assert reason in output
    assert "used" not in output.splitlines()


@needs_root
def test_modes_opened_by_a_remount_are_closed_again(volume: Path) -> None:
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
def test_folder_that_cannot_be_written_is_refused_with_its_owner_and_a_remedy(
    volume: Path, owner: int, mode: int
) -> None:
    os.chown(volume, owner, owner)
    volume.chmod(mode)
    output = use_as(NOBODY, volume)
    assert "cannot be used" in output
    assert "Permission denied" in output
    assert f"owner {owner}" in output
    assert f"Kairos runs as user {NOBODY}" in output
    assert "fsGroup" in output


def test_folder_of_this_user_is_closed_to_other_users(tmp_path: Path) -> None:
    for mode in (0o755, 0o777, 0o2770, 0o500):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        private_folder(folder)
        assert folder.stat().st_mode & 0o777 == 0o700, oct(mode)


def test_private_secrets_suffice_where_the_file_system_refuses_chmod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT, SMB and some FUSE mounts refuse chmod. No such file system is available here, so chmod is patched."""
    tmp_path.chmod(0o755)
    _refuse_chmod(monkeypatch)
    with DataFolder(tmp_path) as folder:
        assert folder.secrets
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_secrets_readable_by_everybody_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DataFolder(tmp_path) as folder:
        assert folder.secrets
    (tmp_path / "secrets.json").chmod(0o644)
    _refuse_chmod(monkeypatch)
    with DataFolder(tmp_path) as folder, pytest.raises(DataFolderUnusable, match=r"every user read secrets\.json"):
        _ = folder.secrets


def test_readable_new_secret_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse_chmod(monkeypatch)
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: _opened(real_open(path, flags, mode)))
    with DataFolder(tmp_path) as folder, pytest.raises(DataFolderUnusable, match="every user read local-secret"):
        folder.write_secret("local-secret", "x")
    assert (tmp_path / "local-secret").read_text() == ""


def _opened(descriptor: int) -> int:
    """Give a new file the mode that a file system without modes shows."""
    if os.fstat(descriptor).st_size == 0:
        os.fchmod(descriptor, 0o644)
    return descriptor


def _refuse_chmod(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)


@needs_root
def test_read_only_volume_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    script = f'mount --bind {tmp_path}/data {tmp_path}/data && mount -o remount,ro,bind {tmp_path}/data && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", USE, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this root may not mount")
    assert "Read-only file system" in done.stdout
