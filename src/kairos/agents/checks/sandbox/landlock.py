"""Landlock: a process gives up access to files, TCP ports, and processes outside, for good, without any privilege.

`Documentation/userspace-api/landlock.rst`. Kairos needs version 6 of its interface (Linux 6.12), the first that also
keeps signals in: below it, code that runs as the daemon's user could stop the daemon. Standard library alone.
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
"""The version that keeps in all that the sandbox must."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE = (1 << bit for bit in (7, 8, 10, 12, 13, 14))
FILES = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version of the interface -> how many rights on files it knows; 16 from version 5 on."""
ALL_TCP, TCP_SINCE = 3, 4
"""Binding and connecting."""
ALL_SCOPES, SCOPES_SINCE = 3, 6
"""Abstract UNIX sockets and signals, to what is outside."""
READ = EXECUTE | READ_FILE | READ_DIR
WORK = (
    *(WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE),
    *(MAKE_DIR, MAKE_REG, MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE),
)
"""No EXECUTE: a program that its owner may not read would hide its memory and files from whoever counts them."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays allowed; nothing else does."""

    read: tuple[str, ...]
    """Files and folders, with all below, to read and to run."""
    work: tuple[str, ...]
    """Folders, with all below, to do anything in but run programs."""
    devices: tuple[str, ...]
    """Files to read and write."""


def version() -> int:
    """Of the kernel's interface; 0 where it has none, or does not let us use it."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(ASK_VERSION)))


def restrict(rules: Rules) -> None:
    """Put this process and all its children under the rules, as far as this kernel's version knows them.

    Places that do not exist are left out. Raises `OSError` where the kernel refuses.
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


def keep_signals_in() -> None:
    """No signal and no abstract socket reaches a process outside. Files stay as they are. Needs version 6."""
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
    """Needs `no_new_privs`."""
    if _call(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) != 0:
        raise _error("landlock_restrict_self")


def _call(number: int, *arguments: object) -> int:
    return _LIBC.syscall(ctypes.c_long(number), *arguments)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)
