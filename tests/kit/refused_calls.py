"""Runs a command without some system calls, by seccomp: `python refused_calls.py NUMBERS COMMAND…`.

`NO_NAMESPACES` lists the calls that Docker's default profile refuses to a container without CAP_SYS_ADMIN. Uses only
the standard library. A separate program, because a process cannot remove its filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

X86 = platform.machine() == "x86_64"
NO_NAMESPACES = (272, 165, 166, 308, 155) if X86 else (97, 40, 39, 268, 41)
"""unshare, mount, umount2, setns, pivot_root."""
NO_LANDLOCK = (444, 445, 446)


def refuse(numbers: list[int]) -> None:
    """Make these calls fail with EPERM in this process and its children."""
    deny = [struct.pack("HBBI", 0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    program = b"".join(
        [
            struct.pack("HBBI", 0x20, 0, 0, 0),
            *deny,
            struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000),
            struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | errno.EPERM),
        ]
    )
    buffer = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, ctypes.addressof(buffer))), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    refuse([int(number) for number in sys.argv[1].split(",") if number])
    os.execvp(sys.argv[2], sys.argv[2:])
