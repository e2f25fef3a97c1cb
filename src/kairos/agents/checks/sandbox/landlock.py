"""Landlock: irrevocably restricts a process's access to files, TCP ports and other processes, without privileges.

`Documentation/userspace-api/landlock.rst`. Kairos needs ABI version 6 (Linux 6.12), the first that also restricts
signals: without it, code that runs as the daemon's user could stop the daemon. Uses only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION, PATH_BENEATH = 1, 1
FULL = 6
"""The first ABI version that restricts everything that the sandbox requires."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE = (1 << bit for bit in (7, 8, 10, 12, 13, 14))
FILES = {1: 13, 2: 14, 3: 15, 4: 15}
"""ABI version -> number of file access rights; 16 from version 5 on."""
ALL_TCP, TCP_SINCE = 3, 4
"""Binding and connecting."""
ALL_SCOPES, SCOPES_SINCE = 3, 6
"""Abstract UNIX sockets and signals, to processes outside."""
READ = EXECUTE | READ_FILE | READ_DIR
WORK = (
    *(WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE),
    *(MAKE_DIR, MAKE_REG, MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE),
)
"""Without EXECUTE: a program that its owner cannot read would hide its memory and files from the resource monitor."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE


@dataclass(frozen=True, slots=True)
class Rules:
    """The allowed accesses; all others are denied."""

    read: tuple[str, ...]
    """Files and folders to read and execute, recursively."""
    work: tuple[str, ...]
    """Folders with all rights except execution, recursively."""
    devices: tuple[str, ...]
    """Files to read and write."""


def version() -> int:
    """Return the kernel's ABI version; 0 if Landlock is unavailable."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(ASK_VERSION)))


def restrict(rules: Rules) -> None:
    """Apply the rules to this process and its children, as far as this kernel supports them.

    Paths that do not exist are skipped. Raises `OSError` if the kernel refuses.
    """
    known = version()
    files = (1 << FILES.get(known, 16)) - 1
    ruleset = _ruleset(files, ALL_TCP * (known >= TCP_SINCE), ALL_SCOPES * (known >= SCOPES_SINCE))
    try:
        _allow(ruleset, rules.read, READ & files)
        _allow(ruleset, rules.work, sum(WORK) & files)
        _allow(ruleset, rules.devices, (READ_FILE | WRITE_FILE) & files)
        _enforce(ruleset)
    finally:
        os.close(ruleset)


def restrict_signals() -> None:
    """Block signals and abstract sockets to processes outside. File access is unchanged. Needs ABI version 6."""
    ruleset = _ruleset(0, 0, ALL_SCOPES)
    try:
        _enforce(ruleset)
    finally:
        os.close(ruleset)


def _ruleset(files: int, tcp: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    ruleset = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    if ruleset < 0:
        raise _error("landlock_create_ruleset")
    return ruleset


def _allow(ruleset: int, places: Iterable[str], rights: int) -> None:
    for place in places:
        try:
            beneath = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            allowed = rights if stat.S_ISDIR(os.fstat(beneath).st_mode) else rights & OF_FILES
            rule = struct.pack("=Qi", allowed, beneath)
            if _call(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint(0)) != 0:
                raise _error(f"landlock_add_rule for {place}")
        finally:
            os.close(beneath)


def _enforce(ruleset: int) -> None:
    """Enforce the ruleset. Requires `no_new_privs`."""
    if _call(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) != 0:
        raise _error("landlock_restrict_self")


def _call(number: int, *arguments: object) -> int:
    return _LIBC.syscall(ctypes.c_long(number), *arguments)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)
