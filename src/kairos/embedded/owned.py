"""Wrapper that runs in a child before its program: `python owned.py PARENT SIGNAL UID:GID FOLDER PROGRAM…`.

It changes the user if requested, sets SIGNAL as the signal for the death of the parent, and executes the program. It is
a process of its own instead of a `preexec_fn`, because only exec is safe between fork and exec in a threaded daemon,
and because a change of user clears the death signal. Imports the standard library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, number, identity, folder, *program = arguments
    if identity != ":":
        _become(*map(int, identity.split(":")))
    os.chdir(folder)
    os.umask(0o077)
    _die_with(int(parent), int(number))
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


def _become(user: int, group: int) -> None:
    os.setgroups([])
    # Called as root: both change the real, effective and saved id. macOS has no setresuid.
    os.setgid(group)
    os.setuid(user)


def _die_with(parent: int, number: int) -> None:
    """Set the death signal. On systems without it, the next start on the data folder ends remaining processes."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    # If the parent died before the call above, no signal is sent.
    if os.getppid() != parent:
        sys.exit("the daemon is gone")


if __name__ == "__main__":
    main(sys.argv[1:])
