"""Permissions of the data folder and its files.

Kubernetes volumes (`fsGroup`), many bind mounts and network file systems belong to another user and are writable by the
group; only their owner may change their mode. Such a folder is used as it is, and files that Kairos creates in it are
private. Secrets that every user could read are rejected.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path

from kairos.errors import KairosError

log = logging.getLogger(__name__)

PRIVATE, PASSED_THROUGH = 0o700, 0o710
"""`postgres_files.py` sets the second one if PostgreSQL's user must traverse the folder."""


class DataFolderUnusable(KairosError):
    """The data folder {path} cannot be used: {reason}. {remedy}"""

    status, code, exit_code = 500, "data_folder_unusable", 6


def private_folder(path: Path) -> Path:
    """Create a folder that only this user may enter, or make an existing folder of this user private.

    Raises `OSError` if it cannot be created or used.
    """
    path.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    if stat.S_IMODE(path.stat().st_mode) not in (PRIVATE, PASSED_THROUGH):
        with contextlib.suppress(OSError):
            path.chmod(PRIVATE)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))
    return path


def warn_if_replaceable(folder: Path) -> None:
    """Log a warning if every user of the machine can replace files in the folder, which Kairos could not change."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        log.warning(
            "every user of this machine can replace files in %s, which belongs to user %d: "
            "restrict it (chmod o-w), unless it is in a container or volume used by Kairos only",
            folder,
            folder.stat().st_uid,
        )


def close_secret(path: Path) -> None:
    """Make a file with secrets private. Raises `DataFolderUnusable` if it stays readable by every user, or another user
    may have created it."""
    status = path.stat()
    if status.st_mode & 0o077:
        with contextlib.suppress(OSError):
            path.chmod(0o600)
    if path.stat().st_mode & 0o007:
        raise DataFolderUnusable(
            path=path.parent,
            reason=f"its file system lets every user read {path.name}, which contains secrets",
            remedy="Mount it with private modes (SMB and FAT: uid=…,file_mode=0600,dir_mode=0700), or set `data_dir` "
            "to a folder on another file system",
        )
    if status.st_uid not in (os.geteuid(), 0) and path.parent.stat().st_mode & stat.S_IWOTH and os.geteuid() != 0:
        raise DataFolderUnusable(
            path=path.parent,
            reason=f"every user can write there, and {path.name} belongs to user {status.st_uid}",
            remedy=f"Remove {path.name} if Kairos did not create it, else start Kairos as user {status.st_uid}",
        )


def unusable(folder: Path, error: OSError) -> DataFolderUnusable:
    """The error, with the file, its owner and the user of this process."""
    where = Path(error.filename) if error.filename else folder
    reason = f"{where}: {error.strerror or error}"
    owner = _owner(where)
    return DataFolderUnusable(path=folder, reason=f"{reason}{owner}", remedy=_remedy(error, owner))


def _owner(path: Path) -> str:
    try:
        status = next(place for place in (path, *path.parents) if place.exists()).stat()
    except (OSError, StopIteration):
        return ""
    mode = stat.S_IMODE(status.st_mode)
    return (
        f" (owner {status.st_uid}, group {status.st_gid}, mode {mode:04o}; Kairos runs as user {os.geteuid()}, "
        f"groups {', '.join(map(str, sorted({os.getegid(), *os.getgroups()})))})"
    )


def _remedy(error: OSError, owner: str) -> str:
    if isinstance(error, PermissionError) and owner:
        return (
            "Change its owner or group to those of Kairos (chown, or fsGroup on Kubernetes), start Kairos as its "
            "owner, or set `data_dir`"
        )
    return "Check its owner and permissions, or set `data_dir`"
