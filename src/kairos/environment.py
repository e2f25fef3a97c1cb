"""Read the environment that the daemon was started with, and remove its secrets from it.

Programs of the same user can read the initial environment of a process in `/proc/PID/environ`, and every child inherits
the current one. `seal` moves the secrets into private memory, where `value` finds them. Before `seal`, and in programs
that never call it, `value` reads the environment.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|AUTH|_DSN$|_PAT$", re.IGNORECASE)
"""Names of variables that hold a secret, of Kairos or of any library."""
OURS, HARMLESS = "KAIROS_", frozenset({"KAIROS_CONFIG", "KAIROS_URL"})
WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")
SET_DUMPABLE = 4
ENV_START = 47
"""Index of env_start among the fields of `/proc/PID/stat` behind the name; env_end follows it (proc(5))."""

_sealed: dict[str, str] = {}


def value(name: str) -> str | None:
    """The value of a variable at the daemon's start, or None."""
    return _sealed.get(name, os.environ.get(name))


def names() -> frozenset[str]:
    """The names of all variables at the daemon's start."""
    return frozenset((*_sealed, *os.environ))


def seal(named: Iterable[str] = ()) -> None:
    """Remove secrets from the environment of this process: those named, Kairos' own, and those that look like one.

    Then protect the process from other programs of the same user (`PR_SET_DUMPABLE`), and overwrite the initial
    environment.
    """
    secrets = frozenset(named)
    for name in list(os.environ):
        if name in secrets or _is_secret(name, os.environ[name]):
            _sealed[name] = os.environ.pop(name)
    if sys.platform == "linux":
        _make_undumpable()
        _wipe()


def _is_secret(name: str, text: str) -> bool:
    if name in HARMLESS:
        return False
    return name.startswith(OURS) or bool(SECRET.search(name)) or bool(WITH_PASSWORD.search(text))


def _make_undumpable() -> None:
    """Make the process non-dumpable: `/proc/PID` belongs to root, no debugger can attach, and no core is written."""
    fault = ctypes.CDLL(None, use_errno=True).prctl(SET_DUMPABLE, *(ctypes.c_ulong(0),) * 4)
    if fault:
        log.warning("other programs of this user can inspect the daemon: prctl: %s", os.strerror(ctypes.get_errno()))


def _wipe() -> None:
    """Overwrite the initial environment, after copying each remaining variable by setting it again."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ENV_START]), int(fields[ENV_START + 1])
    except (OSError, ValueError, IndexError):
        log.warning("the initial environment of the daemon stays in memory: /proc is not readable")
        return
    for name, text in list(os.environ.items()):
        os.unsetenv(name)
        os.putenv(name, text)
    if start and end > start:
        ctypes.memset(start, 0, end - start)
