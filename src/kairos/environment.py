"""The environment that the daemon was started with, and its secrets, which are taken out of it.

Programs of the same user can read the first environment of a process in `/proc/PID/environ`, and every child inherits
the present one. `seal` keeps the secrets in this process' memory alone, where `value` finds them; before it, and in
programs that never seal, `value` reads the environment.
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
"""Names of variables that hold a secret, whoever reads them."""
OURS, HARMLESS = "KAIROS_", frozenset({"KAIROS_CONFIG", "KAIROS_URL"})
WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")
SET_DUMPABLE = 4
ENV_START = 47
"""Of `/proc/PID/stat`, counted behind the name: where the first environment begins; its end comes next (proc(5))."""

_sealed: dict[str, str] = {}


def value(name: str) -> str | None:
    """What the daemon was started with under this name."""
    return _sealed.get(name, os.environ.get(name))


def names() -> frozenset[str]:
    """Of all variables that the daemon was started with."""
    return frozenset((*_sealed, *os.environ))


def seal(named: Iterable[str] = ()) -> None:
    """Take secrets out of the environment of this process: those named, Kairos' own, and what looks like one.

    Then nobody of the same user can look into the process (`PR_SET_DUMPABLE`), and the first environment is wiped.
    """
    secrets = frozenset(named)
    for name in list(os.environ):
        if name in secrets or _is_secret(name, os.environ[name]):
            _sealed[name] = os.environ.pop(name)
    if sys.platform == "linux":
        _close_to_others()
        _wipe()


def _is_secret(name: str, text: str) -> bool:
    if name in HARMLESS:
        return False
    return name.startswith(OURS) or bool(SECRET.search(name)) or bool(WITH_PASSWORD.search(text))


def _close_to_others() -> None:
    """`/proc/PID` belongs to root from now on, no debugger attaches, and no core is written."""
    fault = ctypes.CDLL(None, use_errno=True).prctl(SET_DUMPABLE, *(ctypes.c_ulong(0),) * 4)
    if fault:
        log.warning("other programs of this user can look into the daemon: prctl: %s", os.strerror(ctypes.get_errno()))


def _wipe() -> None:
    """Overwrite the first environment, once each variable that is kept has been set again, which copies it."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ENV_START]), int(fields[ENV_START + 1])
    except (OSError, ValueError, IndexError):
        log.warning("the first environment of the daemon stays in memory: /proc is not readable")
        return
    for name, text in list(os.environ.items()):
        os.unsetenv(name)
        os.putenv(name, text)
    if start and end > start:
        ctypes.memset(start, 0, end - start)
