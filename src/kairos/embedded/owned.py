"""What runs in a child before its program: `python owned.py PARENT SIGNAL UID:GID FOLDER PROGRAM…`.

It gives up root where asked, has the kernel send SIGNAL when the parent dies, and becomes the program. A process of
its own rather than a `preexec_fn`, because nothing but exec is safe between fork and exec in a daemon with threads,
and because a change of user clears the death signal, so it must be set after it. Standard library alone.
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
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def _die_with(parent: int, number: int) -> None:
    """Where the system has no such call, the next start on the data folder ends what was left."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the call above, and then no signal comes.
    if os.getppid() != parent:
        sys.exit("the daemon is gone")


if __name__ == "__main__":
    main(sys.argv[1:])
